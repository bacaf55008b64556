package story

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// An AuditLine is an audit line of the log, as far as the stories look at it.
type AuditLine struct {
	Kind          string `json:"kind"`
	Event         string `json:"event"`
	Actor         string `json:"actor"`
	Slack         string `json:"slack"`
	RequestID     string `json:"request_id"`
	SessionID     string `json:"session_id"`
	Role          string `json:"role"`
	AccountID     string `json:"account_id"`
	Ticket        string `json:"ticket"`
	Reason        string `json:"reason"`
	Decision      string `json:"decision"`
	Rule          string `json:"rule"`
	Outcome       string `json:"outcome"`
	AccessKeyID   string `json:"access_key_id"`
	PolicyVersion int64  `json:"policy_version"`
	ExpiresAt     string `json:"expires_at"`
}

// Trail returns the audit lines with this name in what was printed.
func Trail(printed, event string) []AuditLine {
	var out []AuditLine
	for line := range strings.Lines(printed) {
		var l AuditLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Kind == "starback.audit" && l.Event == event {
			out = append(out, l)
		}
	}
	return out
}

// Trail returns the audit lines of the log with this name.
func (h *House) Trail(event string) []AuditLine { return Trail(h.Printed(), event) }

// WaitForTrail waits until there are n audit lines of this name.
func (h *House) WaitForTrail(event string, n int) []AuditLine {
	h.T.Helper()
	h.Eventually(func() bool { return len(h.Trail(event)) >= n }, fmt.Sprintf("there are not %d %s in the log", n, event))
	return h.Trail(event)
}

// SessionOf returns what the trail says of the Session with these keys.
func (h *House) SessionOf(k Keys) AuditLine {
	h.T.Helper()
	for _, line := range h.Trail("session.issued") {
		if line.AccessKeyID == k["AWS_ACCESS_KEY_ID"] {
			return line
		}
	}
	h.T.Fatalf("the trail does not know %s\n%s", k["AWS_ACCESS_KEY_ID"], h.Printed())
	return AuditLine{}
}

// records returns every Event in the store, those in the index and those that
// still wait on their Request, and every attempt at a Session, by its ID.
func (h *House) records() ([]broker.Event, map[string]broker.Session) {
	h.T.Helper()
	events, sessions := map[string]broker.Event{}, map[string]broker.Session{}
	err := h.Store(h.T).Walk(h.T.Context(), store.Visitor{
		Event: func(e broker.Event) error {
			events[e.ID] = e
			return nil
		},
		Request: func(r broker.Request) error {
			for _, e := range r.Trail.Events {
				events[e.ID] = e
			}
			for _, s := range r.Sessions {
				sessions[s.ID] = s
			}
			return nil
		},
	})
	if err != nil {
		h.T.Fatal(err)
	}
	return slices.Collect(maps.Values(events)), sessions
}

// TrueTrail fails the test unless the trail in the store accounts for what
// happened: every Session that AWS was asked for has a recorded ask, every key
// that somebody was shown, or an application answered with, a recorded outcome of
// their own, and no ask showed more than one. Nothing of it holds a secret, nor does anything printed.
func (h *House) TrueTrail() {
	h.T.Helper()
	events, sessions := h.records()
	issued := map[string]broker.Event{} // by access key id
	for _, e := range events {
		if e.Event == broker.EventIssued {
			issued[e.AccessKeyID] = e
		}
	}
	for _, call := range h.AWS.Calls() {
		_, id, persons := strings.Cut(call.SessionName, "@")
		if _, ok := sessions[id]; persons && call.IssuedAccessKeyID != "" && !ok {
			h.T.Errorf("AWS issued %s to the session %s, which nobody is recorded to have asked for", call.IssuedAccessKeyID, id)
		}
	}
	shown := map[string]string{} // keys, by the ask
	for _, person := range people {
		user := person.ID
		for _, key := range h.Shown(user) {
			e, ok := issued[key]
			if !ok || e.Slack != (broker.SlackID{Team: Team, User: user}).String() {
				h.T.Errorf("%s was shown the key %s, and the trail says %+v", user, key, e)
			}
			ask := sessions[e.SessionID].Key
			if other := shown[ask]; other != "" && other != key {
				h.T.Errorf("one ask, of the session %s, showed both %s and %s", e.SessionID, other, key)
			}
			shown[ask] = key
		}
	}
	for _, key := range h.handed {
		e, ok := issued[key]
		if !ok || e.TokenID == "" || e.Slack != "" {
			h.T.Errorf("an application was answered with the key %s, and the trail says %+v", key, e)
		}
		ask := sessions[e.SessionID].Key
		if other := shown[ask]; other != "" {
			h.T.Errorf("one ask, of the session %s, was answered with both %s and %s", e.SessionID, other, key)
		}
		shown[ask] = key
	}
	h.NoLeaks()
}

// NoLeaks fails the test where a secret is in the store, or in what was printed.
func (h *House) NoLeaks(more ...string) {
	h.T.Helper()
	for where, text := range map[string]string{"the store": h.Kept(), "what was printed": h.Printed()} {
		for _, secret := range append(append([]string{sandbox.Marker, h.Slack.SigningSecret(), h.Slack.BotToken()}, h.Secrets...), more...) {
			if text == "" || strings.Contains(text, secret) {
				h.T.Errorf("a secret is in %s, or nothing is", where)
			}
		}
	}
}
