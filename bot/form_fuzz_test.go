package bot

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// state is a view's state in which a role, a duration, a ticket and a reason
// were filled in.
func state(role, duration, ticket, reason string) string {
	text := func(s string) map[string]any { return map[string]any{actionInput: map[string]any{"value": s}} }
	option := func(action, s string) map[string]any {
		return map[string]any{action: map[string]any{"selected_option": map[string]any{"value": s}}}
	}
	b, err := json.Marshal(map[string]any{"values": map[string]any{
		blockRole: option(actionRole, role), blockDuration + role: option(actionInput, duration), blockTicket: text(ticket), blockReason: text(reason),
	}})
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

// FuzzViewState reads what Slack could say was filled in. Whatever it is, what
// comes of it is clean text, and the command that stands for it asks for the
// same and nothing else.
func FuzzViewState(f *testing.F) {
	for _, seed := range []string{
		state("prod-admin", "1h30m", "INC-4711", "checking\nthe queue"), state("prod-readonly", "8h", "", ""), state("", "", "", ""),
		state("a b", "1h", "x", "y"), state("PROD", "0m", "t", "1h why"), state("x", "1h", "&lt;!channel&gt;", "<!here> &amp; \u202e more"),
		`{"values":{"role":{"role":{"selected_option":null}},"reason":{"input":{"value":null}}}}`, `{"values":null}`, `{}`, `null`, `[]`, `{"values":{"role":[]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var v seenView
		if json.Unmarshal(raw, &v.State) != nil {
			return
		}
		d := v.draft()
		for _, s := range []string{string(d.role), d.ticket, d.reason, d.words()} {
			if !utf8.ValidString(s) || cleanText(s) != s || strings.Join(strings.Fields(s), " ") != s {
				t.Fatalf("%q is not clean", s)
			}
		}
		if d.role == "" && d.duration != 0 || d.duration < 0 || d.duration%time.Minute != 0 {
			t.Fatalf("a duration of %s for %q", d.duration, d.role)
		}
		if d.role == "" || d.duration == 0 {
			return // which is not submitted
		}
		c := parseCommand(d.text())
		if c.verb != verbRole || c.role != d.role || c.duration != d.duration || c.words != d.words() {
			t.Fatalf("%+v became %q, which is read as %+v", d, d.text(), c)
		}
	})
}
