package policy_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration // 0: refused
	}{
		{"30m", 30 * time.Minute},
		{"2h", 2 * time.Hour},
		{"1h30m", 90 * time.Minute},
		{"1h0m", time.Hour},
		{"90m", 90 * time.Minute},
		{"99999h99999m", 99999*time.Hour + 99999*time.Minute},
		{"", 0}, {"0m", 0}, {"0h0m", 0}, {"1d", 0}, {"1d2h", 0}, {"30", 0}, {"30s", 0}, {"1.5h", 0}, {"-1h", 0},
		{"+1h", 0}, {"1h ", 0}, {" 1h", 0}, {"1H", 0}, {"30m1h", 0}, {"1h1h", 0}, {"h", 0}, {"100000h", 0}, {"1h\n", 0},
		{"١h", 0},
	} {
		t.Run(c.in, func(t *testing.T) {
			got, err := policy.ParseDuration(c.in)
			if got != c.want || (err == nil) != (c.want > 0) {
				t.Errorf("ParseDuration = %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestSplitTicket(t *testing.T) {
	pattern, err := policy.NewPattern("[A-Z]+-[0-9]+|hotfix")
	if err != nil {
		t.Fatal(err)
	}
	with, without := &policy.Role{Ticket: pattern}, &policy.Role{}
	for _, c := range []struct {
		name                  string
		role                  *policy.Role
		words, ticket, reason string
	}{
		{"a ticket and a reason", with, "INC-1 disk is full", "INC-1", "disk is full"},
		{"a ticket alone", with, "INC-1", "INC-1", ""},
		{"a reason alone", with, "disk is full", "", "disk is full"},
		{"a ticket further on", with, "see INC-1", "", "see INC-1"},
		{"a ticket with a tail", with, "INC-1: disk", "", "INC-1: disk"},
		{"the other half of the pattern", with, "hotfix it", "hotfix", "it"},
		{"half of a word", with, "hotfixes it", "", "hotfixes it"},
		{"space around", with, " \tINC-1\n disk  is\tfull ", "INC-1", "disk  is\tfull"},
		{"nothing", with, "  ", "", ""},
		{"no rule", without, "INC-1 disk", "", "INC-1 disk"},
		{"no role", nil, "INC-1 disk", "", "INC-1 disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ticket, reason := c.role.SplitTicket(c.words)
			if ticket != c.ticket || reason != c.reason {
				t.Errorf("SplitTicket = %q, %q; want %q, %q", ticket, reason, c.ticket, c.reason)
			}
		})
	}
}

func TestSuggest(t *testing.T) {
	names := []policy.RoleName{"prod-readonly", "prod-admin", "dev", "ops", "staging-admin", "staging"}
	for _, c := range []struct{ word, want string }{
		{"prod-admin", "prod-admin"},
		{"prod-admn", "prod-admin"},
		{"prod-amdin", "prod-admin"},
		{"porduadmin", "prod-admin"},
		{"Prod-Admin", "prod-admin"},
		{"prod-read", "prod-readonly"},
		{"prod-readwrite", ""},
		{"prod", "prod-admin"},
		{"stagin", "staging"},
		{"staging-admins", "staging-admin"},
		{"dve", "dev"},
		{"de", "dev"},
		{"dog", ""},
		{"pr", ""},
		{"", ""},
		{"something else", ""},
		{strings.Repeat("x", 3000), ""},
	} {
		t.Run(c.word, func(t *testing.T) {
			got, ok := policy.Suggest(c.word, names)
			if string(got) != c.want || ok != (c.want != "") {
				t.Errorf("Suggest = %q, %v; want %q", got, ok, c.want)
			}
		})
	}
}

// TestSuggestOrder checks that the order of the names does not matter and that
// what is suggested is one of them.
func TestSuggestOrder(t *testing.T) {
	word := rapid.StringMatching(`[a-c-]{1,8}`)
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(word, 0, 6).Draw(t, "names")
		meant := word.Draw(t, "word")
		got, ok := policy.Suggest(meant, names)
		again, okAgain := policy.Suggest(meant, mix(t, names))
		if got != again || ok != okAgain {
			t.Fatalf("Suggest(%q) = %q, %v; shuffled %q, %v", meant, got, ok, again, okAgain)
		}
		for _, name := range names {
			if name == meant && got != meant {
				t.Fatalf("Suggest(%q) = %q: not the name itself", meant, got)
			}
		}
	})
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a|b", "a", true},
		{"a|b", "ab", false},
		{"a|b", "xb", false},
		{"^a$", "a", true},
		{"(?m)a", "a\nb", false},
		{"a", "a\n", false},
		{"a*", "", false},
		{"(?i)inc-[0-9]+", "INC-7", true},
	} {
		t.Run(c.pattern+" "+c.s, func(t *testing.T) {
			p, err := policy.NewPattern(c.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Match(c.s); got != c.want {
				t.Errorf("Match = %v, want %v", got, c.want)
			}
		})
	}
	for _, bad := range []string{"[", "a)(b", "(", `\`, `\Qa`, "a{2000}"} {
		if p, err := policy.NewPattern(bad); err == nil {
			t.Errorf("NewPattern(%q) = %v, want an error", bad, p)
		}
	}
	if new(policy.Pattern).Match("a") || (*policy.Pattern)(nil).Match("a") {
		t.Error("the zero Pattern matches")
	}
}
