package broker_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// What secret scanners look for.
var tokenPattern = regexp.MustCompile(`^starback_[0-9A-Za-z]{48}$`)

func TestCreateToken(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	do(t, admin, "user add ci --owner alice", "grant add readonly --user ci")
	made, token, err := admin.CreateToken(t.Context(), broker.TokenWish{User: "ci", Label: "pipeline", Life: time.Hour, Roles: []policy.RoleName{"readonly"}})
	if err != nil {
		t.Fatal(err)
	}
	if !tokenPattern.MatchString(token.Reveal()) || !made.Expires.Equal(began.Add(time.Hour)) || made.CreatedBy != "os:root" {
		t.Errorf("made %+v", made)
	}
	if id, err := broker.ParseToken(token); err != nil || id != made.ID {
		t.Errorf("its ID is %q, %v", id, err)
	}
	if facts, err := w.store.IdentifyToken(t.Context(), made.ID); err != nil || facts.User.Name != "ci" || facts.Owner.Name != "alice" || facts.Policy == nil {
		t.Errorf("facts %+v, %v", facts, err)
	}
	w.due(t)
	raw, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(w.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	secret := token.Reveal()[len(broker.TokenPrefix)+12:]
	for name, text := range map[string]string{"the store": string(raw) + string(wal), "the log": w.journal.String()} {
		if strings.Contains(text, secret) {
			t.Errorf("the token is in %s", name)
		}
		if !strings.Contains(text, made.ID) {
			t.Errorf("%s does not name it", name)
		}
	}

	// Revoked, it stays listed until it would have expired.
	do(t, admin, "token revoke ci "+made.ID)
	u, err := w.store.User(t.Context(), "ci")
	if err != nil || len(u.Tokens) != 1 || u.Tokens[0].Live(w.Now()) || !made.Live(w.Now()) || made.Live(w.Now().Add(time.Hour)) {
		t.Errorf("tokens %+v, %v", u.Tokens, err)
	}
}

// A token lasts no longer than the Policy and its user allow, and nothing is
// given that was not asked for.
func TestTokenRefused(t *testing.T) {
	any := broker.TokenWish{User: "alice", AnyRole: true}
	with := func(change func(*broker.TokenWish)) broker.TokenWish {
		wish := any
		change(&wish)
		return wish
	}
	for _, tt := range []struct {
		name string
		wish broker.TokenWish
		want string
	}{
		{"for nothing", broker.TokenWish{User: "alice"}, "either for named roles or for any role"},
		{"for both", with(func(w *broker.TokenWish) { w.Roles = []policy.RoleName{"plain"} }), "either for named roles or for any role"},
		{"an unknown role", broker.TokenWish{User: "alice", Roles: []policy.RoleName{"plane"}}, "there is no role plane; did you mean plain?"},
		{"too long", with(func(w *broker.TokenWish) { w.Life = 91 * 24 * time.Hour }), "the policy lets a token last 90d at most"},
		{"a negative life", with(func(w *broker.TokenWish) { w.Life = -1 }), "negative"},
		{"nobody's", with(func(w *broker.TokenWish) { w.User = "alise" }), "there is no user alise; did you mean alice?"},
		{"a disabled user's", with(func(w *broker.TokenWish) { w.User = "erin" }), "erin is switched off or expired"},
		{"an unknown capability", with(func(w *broker.TokenWish) { w.May = []broker.Capability{"all"} }), `"all" is not one of administer, approve, tokens`},
		{"an application that approves", with(func(w *broker.TokenWish) { w.User, w.May = "ci", []broker.Capability{broker.MayApprove} }), "can neither approve nor administer"},
		{"a long label", with(func(w *broker.TokenWish) { w.Label = strings.Repeat("x", 65) }), "longer than 64 characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			admin := w.admin(w.tap)
			do(t, admin, "user disable erin", "user add ci --owner alice")
			w.tap.watch(nil, nil)
			_, token, err := admin.CreateToken(t.Context(), tt.wish)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !token.IsZero() {
				t.Errorf("err = %v", err)
			}
			if wrote := w.tap.wrote(); len(wrote) != 0 {
				t.Errorf("wrote %v", wrote)
			}
		})
	}
}

// A token that may more than request benefits whoever makes it for themselves,
// or for an application of theirs. That is loud; where it takes two
// administrators, another has to make it.
func TestTokenForOneself(t *testing.T) {
	may := func(c ...broker.Capability) []broker.Capability { return c }
	for _, tt := range []struct {
		name string
		user policy.UserName
		may  []broker.Capability
		loud string
		two  error // where it takes two administrators
	}{
		{"to request", "root", nil, "", nil},
		{"to administer", "root", may(broker.MayAdminister), "This benefits its author root: whoever bears this token of root may administer.", broker.ErrDenied},
		{"to approve", "root", may(broker.MayApprove), "This benefits its author root: whoever bears this token of root may approve.", broker.ErrDenied},
		{"an application's, to make others", "robot", may(broker.MayMakeTokens), "This benefits its author root: whoever bears this token of robot may make tokens.", broker.ErrDenied},
		{"an application's, to request", "robot", nil, "", nil},
		{"another's", "bob", may(broker.MayApprove, broker.MayAdminister), "Whoever bears this token of bob may administer, approve.", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wish := broker.TokenWish{User: tt.user, AnyRole: true, May: tt.may}
			w := newWorld(t)
			do(t, w.admin(w.tap), "user add robot --owner root")
			w.due(t)
			if _, _, err := w.admin(w.tap).As(rootHerself).CreateToken(t.Context(), wish); err != nil {
				t.Fatal(err)
			}
			w.due(t)
			found, err := w.store.Events(t.Context(), broker.EventQuery{Actor: "root"})
			if err != nil || len(found) != 1 || found[0].Event != broker.EventTokenCreated || found[0].Loud != tt.loud {
				t.Errorf("events %+v, %v", found, err)
			}

			w, first, second := twoAdmins(t)
			do(t, w.admin(w.tap), "user add robot --owner root")
			w.tap.watch(nil, nil)
			_, token, err := first.CreateToken(t.Context(), wish)
			if !errors.Is(err, tt.two) || token.IsZero() != (tt.two != nil) {
				t.Errorf("err = %v", err)
			}
			if tt.two == nil {
				return
			}
			if !strings.Contains(err.Error(), "another administrator has to make it (two_admins)") {
				t.Errorf("err = %v", err)
			}
			if wrote := w.tap.wrote(); len(wrote) != 0 {
				t.Errorf("wrote %v", wrote)
			}
			if _, _, err := second.CreateToken(t.Context(), wish); err != nil {
				t.Errorf("made by another: %v", err)
			}
		})
	}
}

func TestTokensAreBounded(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	wish := broker.TokenWish{User: "alice", AnyRole: true, Life: time.Hour}
	for range 20 {
		if _, _, err := admin.CreateToken(t.Context(), wish); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := admin.CreateToken(t.Context(), wish); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("err = %v", err)
	}
	w.advance(time.Hour)
	made, _, err := admin.CreateToken(t.Context(), wish)
	if err != nil {
		t.Fatal(err)
	}
	u, err := w.store.User(t.Context(), "alice")
	if err != nil || len(u.Tokens) != 1 || u.Tokens[0].ID != made.ID {
		t.Errorf("tokens %+v, %v", u.Tokens, err)
	}
	// A Token ends with its user at the latest.
	do(t, admin, "user renew alice --until 30m")
	if made, _, err = admin.CreateToken(t.Context(), wish); err != nil || !made.Expires.Equal(w.Now().Add(30*time.Minute)) {
		t.Errorf("made %+v, %v", made, err)
	}
}

func TestParseToken(t *testing.T) {
	w := newWorld(t)
	_, token, err := w.admin(w.tap).CreateToken(t.Context(), broker.TokenWish{User: "alice", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	good := token.Reveal()
	for i := range good {
		other := byte('x')
		if good[i] == other {
			other = 'y'
		}
		bad := good[:i] + string(other) + good[i+1:]
		if _, err := broker.ParseToken(broker.NewSecret(bad)); !errors.Is(err, broker.ErrInvalid) || strings.Contains(err.Error(), bad) {
			t.Errorf("a slip at %d is not noticed: %v", i, err)
		}
	}
	for _, bad := range []string{"", "starback_", good[:len(good)-1], good + "0", strings.Replace(good, "starback", "Starback", 1)} {
		if _, err := broker.ParseToken(broker.NewSecret(bad)); !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("starback_" + strings.Repeat("0", 48))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := broker.ParseToken(broker.NewSecret(s))
		if (err == nil) != (len(id) == 12) || err == nil && !tokenPattern.MatchString(s) {
			t.Errorf("%q: %q, %v", s, id, err)
		}
	})
}

func FuzzParseCommand(f *testing.F) {
	for _, c := range broker.Commands {
		f.Add(c.Example)
	}
	f.Add("user add --group")
	f.Add("grant add x --user=y --until 90d --until 91d")
	f.Fuzz(func(t *testing.T, s string) {
		ch, err := broker.ParseCommand(strings.Fields(s))
		if err != nil && (!errors.Is(err, broker.ErrInvalid) || ch.Op != "" && err.Error() == "") {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// Every Command's own example is one.
func TestCommandExamples(t *testing.T) {
	for _, c := range broker.Commands {
		example, _, _ := strings.Cut(c.Example, " --message")
		if ch, err := broker.ParseCommand(strings.Fields(example)); err != nil || ch.Op != c.Op {
			t.Errorf("%s: %+v, %v", c.Example, ch, err)
		}
	}
}

func TestParseCommandRefuses(t *testing.T) {
	for words, want := range map[string]string{
		"":                                      "What is to be done?",
		"user":                                  "What is to be done?",
		"user ad alice":                         `There is no command "user ad". Did you mean "user add"?`,
		"user disable":                          "user disable needs a user. As in: user disable alice",
		"user add A":                            `"A" is not a user's name`,
		"user disable alice alice":              "alice is named twice.",
		"group add data more":                   `group add takes no "more".`,
		"user add alice --grup dev":             "user add has no option --grup. Did you mean --group?",
		"user add alice --slack":                "--slack needs a value.",
		"user add alice --slack=":               "--slack needs a value.",
		"user add alice --slack U1":             `"U1" is not an account in Slack`,
		"user add dora --email dora":            `"dora" is not an e-mail address, as in alice@example.com.`,
		"user add dora --email d,r@b.c":         `"d,r@b.c" is not an e-mail address`,
		"user add ci --owner bob --email a@b.c": "An application has no account in Slack and no address",
		"user bind alice":                       "To which account?",
		"grant add plain":                       "To whom? Give either --group or --user.",
		"grant add plain --group a --user bo":   "To whom? Give either --group or --user.",
		"grant add plain --until soon":          `"soon" is not a date such as 2027-06-30`,
		"user renew bob --until 1d --until 2d":  "--until is given twice.",
		"policy rollback x":                     `"x" is not the number of a version.`,
		"policy rollback 0":                     `"0" is not the number of a version.`,
	} {
		if _, err := broker.ParseCommand(strings.Fields(words)); !errors.Is(err, broker.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", words, err)
		}
	}
}
