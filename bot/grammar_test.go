package bot

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
)

func TestParseCommand(t *testing.T) {
	role := func(name policy.RoleName, d time.Duration, words string) command {
		return command{verb: verbRole, role: name, duration: d, words: words}
	}
	for _, c := range []struct {
		text string
		want command
	}{
		{"", command{verb: verbForm}},
		{" \t\n", command{verb: verbForm}},
		{"help", command{verb: verbHelp}},
		{"HELP me", command{verb: verbHelp}},
		{"version", command{verb: verbVersion}},
		{"whoami", command{verb: verbWhoami}},
		{"roles", command{verb: verbRoles}},
		{"role", command{verb: verbRole}},

		{"sessions please", command{verb: verbSessions}},
		{"end", command{verb: verbEnd}},
		{"End 01jdck  ", command{verb: verbEnd, words: "01jdck"}},
		{"Renew", command{verb: verbRenew}},
		{"renew 2M9QXD", command{verb: verbRenew, words: "2M9QXD"}},
		{"role end", role("end", 0, "")},
		{"login ABCD-1234", command{verb: verbHelp, unknown: "login"}},
		{"whois ASIA", command{verb: verbHelp, unknown: "whois"}},
		{"audit user:bob", command{verb: verbHelp, unknown: "audit"}},

		{"why", command{verb: verbWhy}},
		{"WHY Prod-Admin please", command{verb: verbWhy, role: "prod-admin"}},
		{"role why", role("why", 0, "")},
		{"admin", command{verb: verbAdmin}},
		{"Admin user add Bob  --slack &lt;x&gt; <@U1|bob>", command{verb: verbAdmin, words: "user add Bob --slack <x> <@U1|bob>"}},
		{"admin help", command{verb: verbAdmin, words: "help"}},

		{"prod", role("prod", 0, "")},
		{"PROD-Readonly", role("prod-readonly", 0, "")},
		{"role prod", role("prod", 0, "")},
		{"role help", role("help", 0, "")},
		{"role role", role("role", 0, "")},
		{"role end 1h", role("end", time.Hour, "")},
		{"prod 1h", role("prod", time.Hour, "")},
		{"prod 30m", role("prod", 30*time.Minute, "")},
		{"prod 1H30M", role("prod", 90*time.Minute, "")},
		{"prod 1h INC-4711 checking  queue\tdepth", role("prod", time.Hour, "INC-4711 checking queue depth")},
		{"prod INC-4711 1h", role("prod", 0, "INC-4711 1h")},
		{"prod 1h 2h", role("prod", time.Hour, "2h")},
		{"prod 9999h99999m", role("prod", 9999*time.Hour+99999*time.Minute, "")},

		// What is no duration begins the words.
		{"prod 0m", role("prod", 0, "0m")},
		{"prod 0h0m x", role("prod", 0, "0h0m x")},
		{"prod 1", role("prod", 0, "1")},
		{"prod 1d", role("prod", 0, "1d")},
		{"prod 1.5h", role("prod", 0, "1.5h")},
		{"prod -1h", role("prod", 0, "-1h")},
		{"prod 30m1h", role("prod", 0, "30m1h")},
		{"prod 10000h", role("prod", 10000*time.Hour, "")}, // refused later, as more than the role allows
		{"prod 1000000h", role("prod", 0, "1000000h")},
		{"prod 90s", role("prod", 0, "90s")},
		{"prod h", role("prod", 0, "h")},

		// What Slack escapes comes back; what was typed that way stays.
		{"prod a &lt;b&gt; &amp; c", role("prod", 0, "a <b> & c")},
		{"prod &amp;lt;!channel&amp;gt;", role("prod", 0, "&lt;!channel&gt;")},
		{"prod <@U1> <!channel>", role("prod", 0, "<@U1> <!channel>")},

		// Lines, control and bidirectional characters do not survive.
		{"prod a\nb\u2028c\u0085d\u00a0e", role("prod", 0, "a b c d e")},
		{"pr\x00od\x1b 1\x7fh \u202eabc\u2066\u200f\ufeff", role("prod", time.Hour, "abc")},
		{"prod \U000e0001\U000e0041x", role("prod", 0, "x")},
		{"prod \xff\xfe!", role("prod", 0, "\uFFFD!")},
		{"\u202e\u2066", command{verb: verbForm}},
		{"\u202ehelp", command{verb: verbHelp}},
		{"prod 👩‍👩‍👧 ünï", role("prod", 0, "👩‍👩‍👧 ünï")},
	} {
		t.Run(c.text, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parseCommand(c.text), cmp.AllowUnexported(command{})); diff != "" {
				t.Errorf("parseCommand(%q) (-want +got):\n%s", c.text, diff)
			}
		})
	}
}

// TestReservedWordsAreNoVerbs keeps a word from being both.
func TestReservedWordsAreNoVerbs(t *testing.T) {
	for word := range reserved {
		if got := parseCommand(word); got.verb != verbHelp || got.unknown != word {
			t.Errorf("%s is a reserved word and understood as %+v", word, got)
		}
	}
}

// typeAgain writes a command as somebody would type it and Slack hand it over.
func typeAgain(c command) string {
	switch c.verb {
	case verbRole:
	case verbAdmin, verbEnd, verbRenew:
		return string(c.verb) + " " + escape(c.words)
	case verbWhy:
		return "why " + escape(string(c.role))
	default:
		return escape(firstOf(c.unknown, string(c.verb)))
	}
	words := []string{"role", escape(string(c.role))}
	if c.duration > 0 {
		hours := min(c.duration/time.Hour, 9999)
		words = append(words, fmt.Sprintf("%dh%dm", hours, (c.duration-hours*time.Hour)/time.Minute))
	}
	return strings.Join(append(words, escape(c.words)), " ")
}

func FuzzParseCommand(f *testing.F) {
	for _, seed := range append(nasty, "", "help", "role", "end x", "prod", "why Prod x", "admin user add bob --message “it’s  so”", "role help 1h x", "prod 9999h99999m INC-1 why", "prod 0m", "x &amp;lt;b",
		"İstanbul 1h ẞ", "prod \u202e1h\u202c", "prod 1h "+strings.Repeat("x ", 600)) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parseCommand(text)
		if strings.ContainsFunc(string(c.role), unicode.IsSpace) {
			t.Errorf("the role %q has space in it", c.role)
		}
		for _, s := range []string{string(c.role), c.words, c.unknown} {
			if !utf8.ValidString(s) {
				t.Errorf("not UTF-8: %q", s)
			}
			for _, r := range s {
				if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r != ' ' && unicode.IsSpace(r) {
					t.Errorf("%q holds %U", s, r)
				}
			}
		}
		if c.duration < 0 || c.duration > 9999*time.Hour+99999*time.Minute {
			t.Errorf("a duration of %s", c.duration)
		}
		if diff := cmp.Diff(c, parseCommand(typeAgain(c)), cmp.AllowUnexported(command{})); diff != "" {
			t.Errorf("%q is understood differently when typed again as %q (-first +again):\n%s", text, typeAgain(c), diff)
		}
	})
}
