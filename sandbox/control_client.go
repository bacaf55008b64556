package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Control drives a running workspace from another process, through the handler
// that [Slack.Control] returns. Its errors say what that handler answered.
type Control struct {
	Base string // such as "http://127.0.0.1:8080"
	HTTP *http.Client
}

// Type types text as a user, in a channel or, if it is empty, in the user's
// first one. It returns what the user then sees that is new, rendered.
func (c *Control) Type(ctx context.Context, as, channel, text string) ([]string, error) {
	return c.call(ctx, http.MethodPost, "/sandbox/type", controlType{As: as, Text: text, Channel: channel})
}

// Click clicks a button, by its action id or label, and returns what the user
// then sees that is new, rendered.
func (c *Control) Click(ctx context.Context, as, action string) ([]string, error) {
	return c.call(ctx, http.MethodPost, "/sandbox/click", controlClick{As: as, Action: action})
}

// Submit submits the form a user has open, with values as in [Slack.Submit], and
// returns what the user then sees that is new, rendered.
func (c *Control) Submit(ctx context.Context, as string, values map[string]string) ([]string, error) {
	return c.call(ctx, http.MethodPost, "/sandbox/submit", controlSubmit{As: as, Values: values})
}

// Channel returns the messages of a channel, by its name or id, rendered, oldest
// first.
func (c *Control) Channel(ctx context.Context, name string) ([]string, error) {
	return c.call(ctx, http.MethodGet, "/sandbox/channel/"+url.PathEscape(strings.TrimPrefix(name, "#")), nil)
}

func (c *Control) call(ctx context.Context, method, path string, in any) ([]string, error) {
	var body io.Reader
	if in != nil {
		body = bytes.NewReader(slackJSON(in))
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Base, "/")+path, body)
	if err != nil {
		return nil, fmt.Errorf("sandbox control: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("sandbox control: %w", err)
	}
	defer resp.Body.Close()
	var out controlAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, slackMaxBody)).Decode(&out); err != nil {
		return nil, fmt.Errorf("sandbox control: status %d: %w", resp.StatusCode, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(cmp.Or(out.Error, resp.Status))
	}
	return out.Messages, nil
}

// RenderOptions returns options that know the workspace's people, channels and
// user groups and its clock's reading.
func (s *Slack) RenderOptions() RenderOptions {
	return RenderOptions{
		Now: s.now(),
		User: func(id string) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			if u := s.users[id]; u != nil {
				return u.Name
			}
			return ""
		},
		Channel: func(id string) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			if c := s.channels[id]; c != nil {
				return c.Name
			}
			return ""
		},
		Group: func(id string) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.groups[id].Handle
		},
	}
}

// controlWait waits until a user sees something newer than a revision and then
// nothing more for a while, and returns it rendered. It gives up waiting at the
// bound, or when ctx ends, and returns what there is.
func (s *Slack) controlWait(ctx context.Context, userID string, after int) []string {
	ctx, cancel := context.WithTimeout(ctx, controlBound)
	defer cancel()
	latest := after
	var quiet <-chan time.Time
	for {
		s.mu.Lock()
		newest, changed := s.newest(userID), s.changed
		s.mu.Unlock()
		if newest > latest {
			latest = newest
			quiet = time.After(controlQuiet)
		}
		select {
		case <-changed:
			continue
		case <-quiet:
		case <-ctx.Done():
		}
		return s.controlShow(userID, after)
	}
}

// newest is the latest revision of anything a user sees, or no longer sees. The
// caller holds s.mu.
func (s *Slack) newest(userID string) int {
	latest := s.gone[userID]
	for _, m := range s.messages {
		if s.sees(userID, m) {
			latest = max(latest, m.revision)
		}
	}
	for _, v := range s.views {
		if v.User == userID {
			latest = max(latest, v.revision)
		}
	}
	return latest
}

// controlShow renders what a user sees that is newer than a revision: messages,
// then views.
func (s *Slack) controlShow(userID string, after int) []string {
	opts := s.RenderOptions()
	s.mu.Lock()
	if u := s.users[userID]; u != nil {
		if zone, err := time.LoadLocation(u.TZ); err == nil {
			opts.Location = zone // dates show in the reader's own time zone
		}
	}
	messages := s.seen(userID, after)
	var views []View
	for _, v := range s.views {
		if v.User == userID && v.revision > after {
			views = append(views, v.View)
		}
	}
	s.mu.Unlock()
	out := []string{}
	for _, m := range messages {
		out = append(out, Text(m, opts))
	}
	for _, v := range views {
		out = append(out, ViewText(v, opts))
	}
	return out
}

// controlButton returns the action id of the button with an action id or a
// label among blocks, or "" and the labels of the buttons there are.
func controlButton(blocks json.RawMessage, action string) (id string, labels []string) {
	var list []kitObject
	if len(blocks) > 0 && json.Unmarshal(blocks, &list) != nil {
		return "", nil
	}
	for _, b := range list {
		for _, e := range kitElements(b) {
			if e["type"] != "button" {
				continue
			}
			label, actionID := kitTextOf(e["text"]), fmt.Sprint(e["action_id"])
			if actionID == action || strings.EqualFold(label, action) {
				return actionID, nil
			}
			labels = append(labels, label)
		}
	}
	return "", labels
}

// controlList writes names for an error message.
func controlList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func controlWrite(w http.ResponseWriter, status int, a controlAnswer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(slackJSON(a)) // a caller that has gone away has nobody to tell
}
