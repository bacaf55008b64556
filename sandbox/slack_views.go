package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// slackViewDepth is how many modals may lie on top of one another.
const slackViewDepth = 3

// View is a modal, or an app home, as its user sees it now.
type View struct {
	ID, Hash                                string // the hash changes with every update
	User                                    string
	Type                                    string // "modal" or "home"
	CallbackID, ExternalID, PrivateMetadata string
	Title, Submit, Close                    string // plain text; empty in a home
	Blocks                                  json.RawMessage
	Updated                                 int // how many times it was changed
	// Errors holds what the app answered to the last submission, by block_id.
	Errors map[string]string
}

// slackView is a View with what the workspace keeps about it.
type slackView struct {
	View
	notifyOnClose, clearOnClose bool
	root, previous              string // view ids; previous is empty for the lowest
	state                       map[string]map[string]any
	revision                    int
}

// slackViewInput is a view as an app sends it.
type slackViewInput struct {
	Type            string
	Title           kitText
	Submit          kitText
	Close           kitText
	Blocks          json.RawMessage
	CallbackID      string `json:"callback_id"`
	ExternalID      string `json:"external_id"`
	PrivateMetadata string `json:"private_metadata"`
	NotifyOnClose   bool   `json:"notify_on_close"`
	ClearOnClose    bool   `json:"clear_on_close"`
}

// Views returns what a user has open, lowest first: their app home, if it was
// published, and modals in the order they were opened.
func (s *Slack) Views(userID string) []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []View
	for _, v := range s.views {
		if v.User == userID {
			out = append(out, v.View)
		}
	}
	return out
}

func (s *Slack) viewsOpen(_ *http.Request, a slackArgs) slackAnswer {
	return s.viewFromTrigger(a, false)
}

func (s *Slack) viewsPush(_ *http.Request, a slackArgs) slackAnswer {
	return s.viewFromTrigger(a, true)
}

// viewFromTrigger opens a modal, or pushes one onto the user's stack. A view
// that is refused does not use up the trigger id. The caller holds s.mu.
func (s *Slack) viewFromTrigger(a slackArgs, push bool) slackAnswer {
	in, refusal := s.readView(a.raw("view"), "modal", "")
	if refusal != nil {
		return *refusal
	}
	user, code := s.redeem(a.str("trigger_id"))
	if code != "" {
		return slackError(code)
	}
	top := s.topModal(user)
	switch {
	case push && top == nil:
		return slackError("not_found")
	case push && s.depth(top) >= slackViewDepth:
		return slackError("push_limit_reached")
	}
	if !push {
		top = nil
	}
	v := s.addView(user, in, top)
	return slackOK(map[string]any{"view": s.viewObject(v)})
}

// addView puts a view on top of another, or on its own. The caller holds s.mu.
func (s *Slack) addView(user string, in slackViewInput, below *slackView) *slackView {
	v := &slackView{View: View{ID: s.next("V"), User: user}}
	v.root = v.ID
	if below != nil {
		v.root, v.previous = below.root, below.ID
	}
	s.views = append(s.views, v)
	s.setView(v, in)
	return v
}

func (s *Slack) viewsPublish(_ *http.Request, a slackArgs) slackAnswer {
	user := a.str("user_id")
	if s.users[user] == nil {
		return slackError("user_not_found")
	}
	in, refusal := s.readView(a.raw("view"), "home", "")
	if refusal != nil {
		return *refusal
	}
	for _, v := range s.views {
		if v.User != user || v.Type != "home" {
			continue
		}
		if h := a.str("hash"); h != "" && h != v.Hash {
			return slackError("hash_conflict")
		}
		v.Updated++
		s.setView(v, in)
		return slackOK(map[string]any{"view": s.viewObject(v)})
	}
	return slackOK(map[string]any{"view": s.viewObject(s.addView(user, in, nil))})
}

func (s *Slack) viewsUpdate(_ *http.Request, a slackArgs) slackAnswer {
	var v *slackView
	for _, o := range s.views {
		if o.ID == a.str("view_id") || o.ExternalID != "" && o.ExternalID == a.str("external_id") {
			v = o
		}
	}
	if v == nil {
		return slackError("not_found")
	}
	if h := a.str("hash"); h != "" && h != v.Hash {
		return slackError("hash_conflict")
	}
	in, refusal := s.readView(a.raw("view"), v.Type, v.ID)
	if refusal != nil {
		return *refusal
	}
	v.Updated++
	s.setView(v, in)
	return slackOK(map[string]any{"view": s.viewObject(v)})
}

// readView checks a view that an app sent. self is the id of the view it
// replaces, if any. The caller holds s.mu.
func (s *Slack) readView(raw json.RawMessage, kind, self string) (slackViewInput, *slackAnswer) {
	var in slackViewInput
	problems := ValidateView(raw)
	if len(problems) == 0 {
		if err := json.Unmarshal(raw, &in); err != nil {
			problems = []string{err.Error()}
		} else if in.Type != kind {
			problems = []string{"must be a " + kind + " [json-pointer:/view/type]"}
		}
	}
	if len(problems) > 0 {
		refusal := slackError("invalid_arguments", problems...)
		return in, &refusal
	}
	for _, o := range s.views {
		if in.ExternalID != "" && o.ExternalID == in.ExternalID && o.ID != self {
			refusal := slackError("duplicate_external_id")
			return in, &refusal
		}
	}
	return in, nil
}

// setView gives a view its content and a new hash. The caller holds s.mu.
func (s *Slack) setView(v *slackView, in slackViewInput) {
	v.Type, v.CallbackID, v.ExternalID = in.Type, in.CallbackID, in.ExternalID
	v.PrivateMetadata, v.Title, v.Submit, v.Close = in.PrivateMetadata, in.Title.Text, in.Submit.Text, in.Close.Text
	v.notifyOnClose, v.clearOnClose = in.NotifyOnClose, in.ClearOnClose
	v.Blocks = s.identify(in.Blocks)
	if state, _, err := slackState(v.Blocks, v.state, nil); err == nil {
		v.state = state
	}
	v.Errors = nil
	v.Hash = s.timestamp() + "." + s.next("h")
	v.revision = s.announce()
}

// topModal is the modal a user looks at, or nil. The caller holds s.mu.
func (s *Slack) topModal(userID string) *slackView {
	for _, v := range slices.Backward(s.views) {
		if v.User == userID && v.Type == "modal" {
			return v
		}
	}
	return nil
}

// depth is how many modals a stack holds, up to and with v. The caller holds
// s.mu.
func (s *Slack) depth(v *slackView) int {
	n := 0
	for _, o := range s.views {
		if o.root == v.root {
			n++
		}
	}
	return n
}

// openView returns a user's open view. The caller holds s.mu.
func (s *Slack) openView(userID, viewID string) (*slackView, error) {
	for _, v := range s.views {
		if v.ID == viewID && v.User == userID {
			return v, nil
		}
	}
	return nil, fmt.Errorf("sandbox: user %s has no open view %s", userID, viewID)
}

// viewObject is a view as the Web API and interactions describe it. The caller
// holds s.mu.
func (s *Slack) viewObject(v *slackView) map[string]any {
	values := v.state
	if values == nil {
		values = map[string]map[string]any{}
	}
	plain := func(text string) any {
		if text == "" {
			return nil
		}
		return map[string]any{"type": "plain_text", "text": text, "emoji": true}
	}
	blocks := v.Blocks
	if blocks == nil {
		blocks = json.RawMessage("[]")
	}
	return map[string]any{
		"id": v.ID, "team_id": s.teamID, "type": v.Type, "hash": v.Hash, "blocks": blocks,
		"title": plain(v.Title), "submit": plain(v.Submit), "close": plain(v.Close),
		"callback_id": v.CallbackID, "external_id": v.ExternalID, "private_metadata": v.PrivateMetadata,
		"notify_on_close": v.notifyOnClose, "clear_on_close": v.clearOnClose,
		"root_view_id": v.root, "previous_view_id": slackOrNull(v.previous),
		"app_id": s.appID, "bot_id": s.botID, "state": map[string]any{"values": values},
	}
}

// ClickView delivers a user's click on a button inside a view they have open.
// It carries no response URL, as in Slack.
func (s *Slack) ClickView(ctx context.Context, userID, viewID, actionID string) (Ack, error) {
	s.mu.Lock()
	v, err := s.openView(userID, viewID)
	var action map[string]any
	if err == nil {
		action, err = s.action(v.Blocks, actionID, "")
	}
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	payload := s.interaction("block_actions", userID)
	payload["container"] = map[string]any{"type": "view", "view_id": v.ID}
	payload["view"], payload["actions"] = s.viewObject(v), []any{action}
	s.mu.Unlock()
	return s.interact(ctx, payload)
}
