package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// controlQuiet is how long nothing new must be seen before an answer is
	// taken to be complete.
	controlQuiet = 300 * time.Millisecond
	// controlBound is the longest wait for an answer.
	controlBound = 10 * time.Second
)

// controlType is the body of POST /sandbox/type.
type controlType struct {
	As      string `json:"as"`      // a user's name or id
	Text    string `json:"text"`    // as typed; /starback runs the command
	Channel string `json:"channel"` // a name or id; empty means the user's first channel
}

// controlClick is the body of POST /sandbox/click.
type controlClick struct {
	As     string `json:"as"`
	Action string `json:"action"` // an action_id or a button's label
}

// controlSubmit is the body of POST /sandbox/submit.
type controlSubmit struct {
	As     string            `json:"as"`
	Values map[string]string `json:"values"` // as in Slack.Submit
}

// controlAnswer is the body of every answer.
type controlAnswer struct {
	Messages []string `json:"messages"`
	Error    string   `json:"error,omitempty"`
}

// Control returns a handler through which another process drives the
// workspace, with JSON bodies:
//
//   - POST /sandbox/type {"as","text","channel"} types as a user;
//   - POST /sandbox/click {"as","action"} clicks the newest button the user sees
//     that has this action id or label, in their topmost modal or in messages;
//   - POST /sandbox/submit {"as","values"} submits the user's topmost modal;
//   - POST /sandbox/choose {"as","action","value"} chooses from a menu in it;
//   - POST /sandbox/shortcut {"as","callback"} chooses a global shortcut;
//   - GET /sandbox/channel/NAME shows a channel.
//
// All but the last answer {"messages":[…]} with what the user then sees that is
// new, rendered, once something is and 300 ms passed quietly, or after 10 s. A
// request that makes no sense is answered 400 or 404 with {"error"}. Requests
// with an Origin header are refused: no web page may drive the workspace.
func (s *Slack) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sandbox/type", controlDo(s, s.controlType))
	mux.HandleFunc("POST /sandbox/click", controlDo(s, s.controlClick))
	mux.HandleFunc("POST /sandbox/submit", controlDo(s, s.controlSubmit))
	mux.HandleFunc("POST /sandbox/choose", controlDo(s, s.controlChoose))
	mux.HandleFunc("POST /sandbox/shortcut", controlDo(s, s.controlShortcut))
	mux.HandleFunc("GET /sandbox/channel/{name}", s.controlChannel)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" {
			controlWrite(w, http.StatusForbidden, controlAnswer{Error: "requests from web pages are refused"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// errControlUnknown is for names that nothing has.
var errControlUnknown = errors.New("unknown")

// controlDo handles a request that acts as a user: it decodes, acts, waits for
// what the user then sees, and answers with it. act returns the user's id.
func controlDo[T any](s *Slack, act func(context.Context, T) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in T
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, slackMaxBody))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			controlWrite(w, http.StatusBadRequest, controlAnswer{Error: "body: " + err.Error()})
			return
		}
		s.mu.Lock()
		before := s.revision
		s.mu.Unlock()
		userID, err := act(r.Context(), in)
		switch {
		case errors.Is(err, errControlUnknown):
			controlWrite(w, http.StatusNotFound, controlAnswer{Error: err.Error()})
		case err != nil:
			controlWrite(w, http.StatusBadRequest, controlAnswer{Error: err.Error()})
		default:
			controlWrite(w, http.StatusOK, controlAnswer{Messages: s.controlWait(r.Context(), userID, before)})
		}
	}
}

func (s *Slack) controlType(ctx context.Context, in controlType) (string, error) {
	s.mu.Lock()
	u, err := s.controlUser(in.As)
	var c *SlackChannel
	if err == nil {
		c, err = s.controlFind(u, in.Channel)
	}
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	command, text, _ := strings.Cut(strings.TrimSpace(in.Text), " ")
	switch {
	case command == "/starback":
		_, err = s.Command(ctx, u.ID, c.ID, strings.TrimSpace(text))
	case strings.HasPrefix(command, "/"):
		err = fmt.Errorf("%w command %s: there is /starback", errControlUnknown, command)
	case command == "":
		err = errors.New("nothing was typed")
	default:
		_, err = s.Say(u.ID, c.ID, in.Text)
	}
	return u.ID, err
}

func (s *Slack) controlClick(ctx context.Context, in controlClick) (string, error) {
	s.mu.Lock()
	u, err := s.controlUser(in.As)
	if err != nil {
		s.mu.Unlock()
		return "", err
	}
	top, seen := s.topModal(u.ID), s.seen(u.ID, 0)
	s.mu.Unlock()

	var labels []string
	if top != nil {
		if top.Submit != "" && strings.EqualFold(top.Submit, in.Action) {
			_, err := s.Submit(ctx, u.ID, top.ID, nil)
			return u.ID, err
		}
		id, there := controlButton(top.Blocks, in.Action)
		if id != "" {
			_, err := s.ClickView(ctx, u.ID, top.ID, id)
			return u.ID, err
		}
		labels = append(labels, there...)
	}
	for _, m := range slices.Backward(seen) {
		id, there := controlButton(m.Blocks, in.Action)
		if id != "" {
			_, err := s.Click(ctx, u.ID, m, id)
			return u.ID, err
		}
		labels = append(labels, there...)
	}
	slices.Sort(labels)
	return "", fmt.Errorf("%w button %q: %s sees %s", errControlUnknown, in.Action, u.Name,
		controlList(slices.Compact(labels)))
}

func (s *Slack) controlSubmit(ctx context.Context, in controlSubmit) (string, error) {
	s.mu.Lock()
	u, err := s.controlUser(in.As)
	var top *slackView
	if err == nil {
		if top = s.topModal(u.ID); top == nil {
			err = fmt.Errorf("%s has no form open", u.Name)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	_, err = s.Submit(ctx, u.ID, top.ID, in.Values)
	return u.ID, err
}

func (s *Slack) controlChannel(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	s.mu.Lock()
	c := s.channels[name]
	if c == nil {
		c = s.channelNamed(name)
	}
	var names []string
	for _, c := range s.channels {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	s.mu.Unlock()
	if c == nil {
		slices.Sort(names)
		controlWrite(w, http.StatusNotFound, controlAnswer{
			Error: fmt.Sprintf("unknown channel %q: there is %s", name, controlList(names))})
		return
	}
	messages := []string{}
	opts := s.RenderOptions()
	for _, m := range s.Channel(c.ID) {
		messages = append(messages, Text(m, opts))
	}
	controlWrite(w, http.StatusOK, controlAnswer{Messages: messages})
}

// controlUser returns the user with a name or id. The caller holds s.mu.
func (s *Slack) controlUser(as string) (*SlackUser, error) {
	if u := s.users[as]; u != nil {
		return u, nil
	}
	if u := s.userNamed(as); u != nil {
		return u, nil
	}
	var names []string
	for _, u := range s.users {
		if !u.Bot {
			names = append(names, u.Name)
		}
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%w user %q: there is %s", errControlUnknown, as, controlList(names))
}

// controlFind returns the channel with a name or id that a user is in; for an
// empty name, the user's first by name. The caller holds s.mu.
func (s *Slack) controlFind(u *SlackUser, name string) (*SlackChannel, error) {
	var theirs []string
	var first *SlackChannel
	name = strings.TrimPrefix(name, "#")
	for _, c := range s.channels {
		if !slices.Contains(c.Members, u.ID) {
			continue
		}
		if name != "" && (c.ID == name || c.Name == name) {
			return c, nil
		}
		if c.Name != "" {
			theirs = append(theirs, c.Name)
			if first == nil || cmp.Compare(c.Name, first.Name) < 0 {
				first = c
			}
		}
	}
	if name == "" && first != nil {
		return first, nil
	}
	slices.Sort(theirs)
	return nil, fmt.Errorf("%w channel %q: %s is in %s", errControlUnknown, name, u.Name, controlList(theirs))
}
