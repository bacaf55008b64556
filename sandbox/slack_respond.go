package sandbox

import (
	"encoding/json"
	"net/http"
	"time"
)

// A response URL may be used five times, within thirty minutes of the action
// that it came with.
const (
	slackLinkUses = 5
	slackLinkLife = 30 * time.Minute
)

// slackLink is one response URL.
type slackLink struct {
	user, channel string
	made          time.Time
	uses          int
	original      *slackMessage // what replace_original and delete_original act on; nil until there is one
	thread        string        // where the message that was clicked is, when it is a reply
}

// slackResponse is what an app sends to a response URL, or answers a command
// with.
type slackResponse struct {
	Text            string          `json:"text"`
	Blocks          json.RawMessage `json:"blocks"`
	ResponseType    string          `json:"response_type"`
	ReplaceOriginal bool            `json:"replace_original"`
	DeleteOriginal  bool            `json:"delete_original"`
	ThreadTS        string          `json:"thread_ts"`
	Attachments     []any           `json:"attachments"` // not implemented, so refused
}

// link makes a response URL of a kind, "commands" or "actions", for a user in a
// channel. The caller holds s.mu.
func (s *Slack) link(kind string, l slackLink) (string, *slackLink) {
	l.made = s.now()
	path := "/" + kind + "/" + s.teamID + "/" + s.next("") + "/" + s.secret()
	s.links[path] = &l
	return s.ownURL + path, &l
}

// respond handles a post to a response URL.
func (s *Slack) respond(r *http.Request, body []byte) slackAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[r.URL.Path]
	switch {
	case l == nil:
		return slackAnswer{status: http.StatusNotFound, text: "no_service"}
	case r.Method != http.MethodPost:
		return slackAnswer{status: http.StatusMethodNotAllowed, text: "method_not_allowed"}
	case s.now().Sub(l.made) >= slackLinkLife:
		return slackAnswer{status: http.StatusNotFound, text: "expired_url"}
	case l.uses >= slackLinkUses:
		return slackAnswer{status: http.StatusNotFound, text: "used_url"}
	}
	var p slackResponse
	if json.Unmarshal(body, &p) != nil {
		return slackAnswer{status: http.StatusBadRequest, text: "invalid_payload"}
	}
	if code := s.apply(l, p); code != "" {
		return slackAnswer{status: http.StatusBadRequest, text: code}
	}
	l.uses++
	return slackAnswer{text: "ok"}
}

// apply does what a response asks for and returns Slack's error code, or "". A
// replacement keeps the original's visibility. The caller holds s.mu.
func (s *Slack) apply(l *slackLink, p slackResponse) string {
	original := l.original
	if original != nil && s.find(original.Channel, original.TS) != original {
		original = nil
	}
	if p.DeleteOriginal {
		if original == nil {
			return "message_not_found"
		}
		s.remove(original)
		return ""
	}
	if len(p.Attachments) > 0 {
		return "invalid_attachments"
	}
	content := slackContent{text: p.Text, blocks: p.Blocks, thread: p.ThreadTS}
	if code, _ := s.check(content); code != "" {
		return code
	}
	if p.ReplaceOriginal && original != nil {
		s.edit(original, content)
		return ""
	}
	reader := l.user
	switch p.ResponseType {
	case "", "ephemeral":
	case "in_channel":
		reader = ""
	default:
		return "invalid_response_type"
	}
	if content.thread == "" {
		content.thread = l.thread
	}
	m := s.postApp(l.channel, reader, content)
	if l.original == nil {
		l.original = m
	}
	return ""
}
