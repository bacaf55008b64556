package sandbox

import (
	"context"
	"fmt"
	"net/http"
)

// controlChoice is the body of POST /sandbox/choose.
type controlChoice struct {
	As     string `json:"as"`
	Action string `json:"action"` // an action_id
	Value  string `json:"value"`  // of the option
}

func (s *Slack) controlChoose(ctx context.Context, in controlChoice) (string, error) {
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
	_, err = s.ChooseView(ctx, u.ID, top.ID, in.Action, in.Value)
	return u.ID, err
}

// controlShortcut is the body of POST /sandbox/shortcut.
type controlShortcut struct {
	As       string `json:"as"`
	Callback string `json:"callback"` // a callback_id
}

func (s *Slack) controlShortcut(ctx context.Context, in controlShortcut) (string, error) {
	s.mu.Lock()
	u, err := s.controlUser(in.As)
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	_, err = s.Shortcut(ctx, u.ID, in.Callback)
	return u.ID, err
}

// Choose chooses an option, by its value, in a menu of the form a user has
// open, as [Slack.ChooseView] does, and returns what the user then sees that is
// new, rendered.
func (c *Control) Choose(ctx context.Context, as, action, value string) ([]string, error) {
	return c.call(ctx, http.MethodPost, "/sandbox/choose", controlChoice{As: as, Action: action, Value: value})
}

// Shortcut chooses one of the app's global shortcuts and returns what the user
// then sees that is new, rendered.
func (c *Control) Shortcut(ctx context.Context, as, callback string) ([]string, error) {
	return c.call(ctx, http.MethodPost, "/sandbox/shortcut", controlShortcut{As: as, Callback: callback})
}
