package bot

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
)

// What Slack sends, as far as it is read. The deprecated fields token and
// user_name are not.

// A slash is a slash command.
type slash struct {
	TeamID       string `json:"team_id"`
	EnterpriseID string `json:"enterprise_id"`
	ChannelID    string `json:"channel_id"`
	UserID       string `json:"user_id"`
	Text         string `json:"text"`
	ResponseURL  string `json:"response_url"`
	TriggerID    string `json:"trigger_id"`
}

// caller is who typed it. On Enterprise Grid the team is only where it was
// typed, and the enterprise is what stays.
func (c slash) caller() broker.SlackID {
	return broker.SlackID{Team: firstOf(c.EnterpriseID, c.TeamID), User: c.UserID}
}

// check refuses a command that lacks what everything else hangs on.
func (c slash) check() error {
	if _, err := broker.ParseSlackID(c.caller().String()); err != nil {
		return errors.New("the command does not say who typed it")
	}
	if c.TriggerID == "" || len(c.TriggerID) > 255 {
		return errors.New("the command has no usable trigger_id")
	}
	return nil
}

// parseSlash reads a command's form.
func parseSlash(body []byte) (slash, error) {
	form, err := parseForm(body)
	if err != nil {
		return slash{}, err
	}
	c := slash{
		TeamID: form.Get("team_id"), EnterpriseID: form.Get("enterprise_id"), ChannelID: form.Get("channel_id"),
		UserID: form.Get("user_id"), Text: form.Get("text"), ResponseURL: form.Get("response_url"), TriggerID: form.Get("trigger_id"),
	}
	return c, c.check()
}

// parseForm reads a form in which every field stands once and is UTF-8. A
// second value of a field could be read differently by two readers.
func parseForm(body []byte) (url.Values, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the form cannot be read")
	}
	for name, values := range form {
		if len(values) != 1 {
			return nil, fmt.Errorf("the form has a field %d times", len(values))
		}
		if name != "text" && !utf8.ValidString(values[0]) {
			return nil, errors.New("the form is not UTF-8")
		}
	}
	return form, nil
}

// isSSLCheck says whether Slack is only looking at the certificate.
func isSSLCheck(kind string, body []byte) bool {
	if kind != "application/x-www-form-urlencoded" || len(body) > 1024 {
		return false
	}
	form, err := parseForm(body)
	return err == nil && form.Get("ssl_check") == "1"
}

// An interaction is something done with a message or a view.
type interaction struct {
	Type string `json:"type"`
	User struct {
		ID     string `json:"id"`
		TeamID string `json:"team_id"`
	} `json:"user"`
	Team struct {
		ID     string `json:"id"`
		Domain string `json:"domain"`
	} `json:"team"`
	Enterprise struct {
		ID string `json:"id"`
	} `json:"enterprise"`
	Channel struct {
		ID string `json:"id"`
	} `json:"channel"`
	TriggerID   string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
	Actions     []struct {
		ActionID       string `json:"action_id"`
		Value          string `json:"value"`
		SelectedOption choice `json:"selected_option"`
	} `json:"actions"`
	View       seenView `json:"view"`        // what it was done in, if that is a modal
	CallbackID string   `json:"callback_id"` // of a shortcut
	MessageTS  string   `json:"message_ts"`  // of the message that it was chosen on
	ActionID   string   `json:"action_id"`   // of the menu that somebody types into
	Value      string   `json:"value"`       // what they have typed
}

// acts says whether the interaction is of a kind that something is done about.
func (p interaction) acts() bool {
	switch p.Type {
	case "block_actions", "block_suggestion", "shortcut", "message_action", "view_submission":
		return true
	default:
		return false
	}
}

// A choice is what was chosen from a menu.
type choice struct {
	Value string `json:"value"`
}

// caller is who did it: on Enterprise Grid by the enterprise, elsewhere by the
// person's own team, which for an outsider in a shared channel is not ours.
func (p interaction) caller() broker.SlackID {
	return broker.SlackID{Team: firstOf(p.Enterprise.ID, p.User.TeamID), User: p.User.ID}
}

// parseInteractionForm reads the form around an interaction.
func parseInteractionForm(body []byte) (interaction, error) {
	form, err := parseForm(body)
	if err != nil {
		return interaction{}, err
	}
	return parseInteraction([]byte(form.Get("payload")))
}

func parseInteraction(payload []byte) (interaction, error) {
	var p interaction
	if !utf8.Valid(payload) || json.Unmarshal(payload, &p) != nil {
		return interaction{}, errors.New("the payload cannot be read")
	}
	if p.acts() {
		if _, err := broker.ParseSlackID(p.caller().String()); err != nil || p.User.TeamID == "" {
			return interaction{}, errors.New("the payload does not say who acted")
		}
		if p.Type != "block_suggestion" && (p.TriggerID == "" || len(p.TriggerID) > 255) {
			return interaction{}, errors.New("the payload has no usable trigger_id")
		}
	}
	return p, nil
}

// A slackEvent is an event of the Events API, with its wrapper.
type slackEvent struct {
	Type         string `json:"type"`
	Challenge    string `json:"challenge"`
	TeamID       string `json:"team_id"`
	EnterpriseID string `json:"enterprise_id"`
	EventID      string `json:"event_id"`
	Event        struct {
		Type string     `json:"type"`
		User slack.User `json:"-"`
	} `json:"event"`
}

func parseEvent(body []byte) (slackEvent, error) {
	var e slackEvent
	if !utf8.Valid(body) || json.Unmarshal(body, &e) != nil || e.Type == "" {
		return slackEvent{}, errors.New("the event cannot be read")
	}
	if e.Type == "url_verification" && len(e.Challenge) > 1024 {
		return slackEvent{}, errors.New("the challenge is too long")
	}
	if e.Event.Type != "user_change" {
		return e, nil
	}
	var change struct {
		Event struct {
			User slack.User `json:"user"`
		} `json:"event"`
	}
	if json.Unmarshal(body, &change) != nil || change.Event.User.ID == "" || e.EventID == "" {
		return slackEvent{}, errors.New("the event does not say who changed")
	}
	e.Event.User = change.Event.User
	return e, nil
}

// firstOf returns the first of values that is not empty.
func firstOf(values ...string) string {
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" {
			return v
		}
	}
	return ""
}
