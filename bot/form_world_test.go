package bot_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// newFormWorld is a world with forms, in which Starback has met alice.
func newFormWorld(t *testing.T) *world { return newFormWorldOn(t, onSQLite) }

func newFormWorldOn(t *testing.T, open opener) *world {
	t.Helper()
	w := newWorldOn(t, open)
	w.front.View, w.front.Views = &broker.View{Reader: w.store, Now: w.clock.Now}, w.client
	w.types("U1", "whoami")
	return w
}

// modal is the one modal that a user has open.
func (w *world) modal(user string) sandbox.View {
	w.t.Helper()
	views := w.Views(user)
	if len(views) != 1 {
		w.t.Fatalf("%s has %d views open", user, len(views))
	}
	return views[0]
}

// shownTo is that modal, rendered.
func (w *world) shownTo(user string) string {
	w.t.Helper()
	return sandbox.ViewText(w.modal(user), w.RenderOptions())
}

// chooses has a user choose a role in the form.
func (w *world) chooses(user, role string) string {
	w.t.Helper()
	if ack, err := w.ChooseView(w.t.Context(), user, w.modal(user).ID, "role", role); err != nil || ack.Problem != "" {
		w.t.Fatalf("choosing %s: %s, %v", role, ack.Problem, err)
	}
	return w.shownTo(user)
}

// submits has a user submit the form with values, by their inputs' blocks.
func (w *world) submits(user string, values map[string]string) string {
	w.t.Helper()
	if ack, err := w.Submit(w.t.Context(), user, w.modal(user).ID, values); err != nil || ack.Problem != "" {
		w.t.Fatalf("submitting %q: %s, %v", values, ack.Problem, err)
	}
	return w.shownTo(user)
}

// nowhere fails if a secret stands in a message, to whomever.
func (w *world) nowhere() {
	w.t.Helper()
	for _, user := range []string{"U1", "U2", "U3"} {
		for _, m := range w.Seen(user) {
			if strings.Contains(m.Text+string(m.Blocks), sandbox.Marker) {
				w.t.Errorf("a message to %s holds a secret: %s", user, m.Text)
			}
		}
	}
}

// tellForm fills in a form, and gets credentials in it.
func tellForm(t *testing.T, begin beginning) {
	w := begin(t)
	before := len(w.Seen("U1"))
	w.sends("U1", "")
	has(t, w.shownTo("U1"), "Role: [ Type part of a role or an account v ]")
	offered, err := w.Suggest(t.Context(), "U1", w.modal("U1").ID, "role", "prod")
	if err != nil {
		t.Fatal(err)
	}
	want := []sandbox.Option{{Group: "prod (111122223333)", Text: "prod-admin", Value: "prod-admin"}, {Group: "prod (111122223333)", Text: "prod-readonly", Value: "prod-readonly"}}
	if diff := cmp.Diff(want, offered); diff != "" {
		t.Errorf("offered (-want +got):\n%s", diff)
	}
	has(t, w.chooses("U1", "prod-admin"), "Role: [ prod-admin v ]", "Issued at once.", "For how long: [ 1h v ]", "Ticket: ________", "Reason: ________")
	has(t, w.submits("U1", map[string]string{"ticket": "inc 7", "reason": " \n"}), "! ticket: This is not a ticket", "! reason: This role needs a reason.")
	has(t, w.submits("U1", map[string]string{"duration:prod-admin": "30m", "ticket": "INC-7", "reason": "looking\n<!here> & there"}), "Working on it…")
	w.work()
	has(t, bare(w.shownTo("U1")), "prod-admin in prod (111122223333)", "export AWS_ACCESS_KEY_ID='ASIA0000000000000001'", sandbox.Marker, "[ Close ]")
	w.nowhere()
	if n := len(w.Seen("U1")); n != before {
		t.Errorf("a form was answered with %d messages", n-before)
	}

	// New keys for another shell take their place.
	if _, err := w.ClickView(t.Context(), "U1", w.modal("U1").ID, "shell:fish"); err != nil {
		t.Fatal(err)
	}
	w.work()
	has(t, w.shownTo("U1"), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000002'", "These are new keys.")
	w.nowhere()

	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	found, err := w.store.Events(t.Context(), broker.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(e broker.Event) bool { return e.Event == broker.EventIssued })
	if i < 0 {
		t.Fatalf("nothing was issued: %+v", found)
	}
	e := found[i]
	if e.Role != "prod-admin" || e.Ticket != "INC-7" || e.Reason != "looking <!here> & there" || e.Duration != 1800 {
		t.Errorf("the trail says %+v", e)
	}
	r, err := w.store.Request(t.Context(), e.RequestID)
	if err != nil || r.Surface != broker.SurfaceForm {
		t.Errorf("the request came by %s, %v", r.Surface, err)
	}
}

// TestFormForCommand opens the form for a command that lacks something, and
// only for that. It is the whole answer.
func TestFormForCommand(t *testing.T) {
	for text, want := range map[string]string{
		"prod-admin":                  "Ticket: ________",
		"prod-admin 30m":              "For how long: [ 30m v ]",
		"prod-admin 30m INC-7":        "Ticket: INC-7",
		"prod-admin 30m why not":      "Reason: why not",
		"prod-admin INC-7 why not":    "",
		"prod-admin 3h":               "", // is refused, with the most there is
		"prod-readonly":               "",
		"staging-admin":               "", // was not granted
		"prod-admni":                  "",
		"role prod-admin INC-7 w <&>": "",
		"role":                        "Role: [ Type part",
		"roles":                       "",
		"why prod-admin":              "",
	} {
		t.Run(text, func(t *testing.T) {
			w := newFormWorld(t)
			before := len(w.Seen("U1"))
			w.sends("U1", text)
			w.work()
			if want != "" {
				has(t, w.shownTo("U1"), want)
				before--
			} else if n := len(w.Views("U1")); n != 0 {
				t.Errorf("%d views are open", n)
			}
			if n := len(w.Seen("U1")); n != before+1 {
				t.Errorf("%d answers", n-before)
			}
		})
	}
}

// TestFormTooLate says in words what a command lacks when it is too late to
// open the form.
func TestFormTooLate(t *testing.T) {
	w := newFormWorld(t)
	w.sends("U1", "prod-admin 30m")
	w.clock.add(3 * time.Second)
	w.work()
	has(t, bare(w.sees("U1")), "prod-admin needs a ticket")
	if n := len(w.Views("U1")); n != 0 {
		t.Errorf("%d views are open", n)
	}
}

// TestWithoutForms answers as before where no form can be shown.
func TestWithoutForms(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*world)
		bare   string
		forms  int // for a command that lacks something
	}{
		"no views":   {func(w *world) { w.front.Views = nil }, "gives you short-term AWS credentials", 0},
		"no view":    {func(w *world) { w.front.View = nil }, "gives you short-term AWS credentials", 0},
		"Slack down": {func(w *world) { w.fails(sandbox.SlackFault{Status: 500}, "views.open") }, "You may ask for 2 roles.", 0},
		"too late":   {func(w *world) { w.fails(sandbox.SlackFault{Error: "expired_trigger_id"}, "views.open") }, "You may ask for 2 roles.", 0},
		"store down": {func(w *world) { w.front.View = &broker.View{Reader: down{}, Now: w.clock.Now} }, "You may ask for 2 roles.", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFormWorld(t)
			tt.change(w)
			has(t, bare(w.types("U1", "")), tt.bare)
			said := bare(w.types("U1", "prod-admin 30m"))
			if tt.forms == 0 {
				has(t, said, "prod-admin needs a ticket")
			}
			if n := len(w.Views("U1")); n != tt.forms {
				t.Errorf("%d views are open, want %d", n, tt.forms)
			}
		})
	}
}

// down is a store that does not answer.
type down struct{ broker.Reader }

func (down) Identify(_ context.Context, _ broker.SlackID) (broker.Facts, error) {
	return broker.Facts{}, errors.New("the store is down")
}

// tellShortcuts opens a form from Slack's shortcuts, and from a message.
func tellShortcuts(t *testing.T, begin beginning) {
	w := begin(t)
	if ack, err := w.Shortcut(t.Context(), "U1", "request_access"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	has(t, w.shownTo("U1"), "Role: [ Type part of a role or an account v ]", "Reason (optional): ________")
	if _, err := w.CloseView(t.Context(), "U1", w.modal("U1").ID); err != nil {
		t.Fatal(err)
	}

	about, err := w.Say("U2", "C1", "the queue is stuck")
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := w.MessageShortcut(t.Context(), "U1", about, "request_access_message"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	link := "https://sandbox.slack.com/archives/C1/p" + strings.ReplaceAll(about.TS, ".", "")
	has(t, w.shownTo("U1"), "Reason (optional): "+link)
	w.chooses("U1", "prod-readonly")
	w.submits("U1", nil)
	w.work()
	has(t, bare(w.shownTo("U1")), "prod-readonly in prod (111122223333)")
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	found, err := w.store.Events(t.Context(), broker.EventQuery{})
	if err != nil || !slices.ContainsFunc(found, func(e broker.Event) bool { return e.Event == broker.EventIssued && e.Reason == link }) {
		t.Errorf("the trail does not hold the link: %v", err)
	}
	leadsTo(t, w, "C9", link)

	// Somebody whom Starback has not met yet, and somebody it does not know.
	for user, want := range map[string]string{"U2": "Role: [ Type part of a role or an account v ]", "U3": "Starback does not know you yet."} {
		if ack, err := w.Shortcut(t.Context(), user, "request_access"); err != nil || ack.Problem != "" {
			t.Fatal(ack.Problem, err)
		}
		has(t, w.shownTo(user), "Working on it…")
		w.work()
		has(t, w.shownTo(user), want)
	}
	if ack, err := w.Shortcut(t.Context(), "U1", "something_else"); err != nil || ack.Problem != "" || len(w.Views("U1")) != 1 {
		t.Errorf("a shortcut that is not ours: %s, %v", ack.Problem, err)
	}

	w.front.View = &broker.View{Reader: down{}, Now: w.clock.Now}
	if _, err := w.CloseView(t.Context(), "U1", w.modal("U1").ID); err != nil {
		t.Fatal(err)
	}
	if ack, err := w.Shortcut(t.Context(), "U1", "request_access"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	has(t, w.shownTo("U1"), "Starback cannot reach its store")
}

// A crowd is a Reader by which everybody in dev may ask for thousands of roles.
type crowd struct {
	broker.Reader
	policy *policy.Document
}

func (c crowd) Identify(ctx context.Context, id broker.SlackID) (broker.Facts, error) {
	facts, err := c.Reader.Identify(ctx, id)
	facts.Policy = c.policy
	return facts, err
}

// TestThousandsOfRoles finds one of 10,000 roles while the person types.
func TestThousandsOfRoles(t *testing.T) {
	w := newFormWorld(t)
	many := &policy.Document{Groups: map[policy.GroupName]policy.Group{}, Roles: map[policy.RoleName]*policy.Role{}}
	var grants []policy.Grant
	for i := range 10_000 {
		name := policy.RoleName(fmt.Sprintf("role-%05d", i))
		many.Roles[name] = &policy.Role{
			Name: name, Account: policy.AccountName(fmt.Sprintf("account-%03d", i%400)), AccountID: fmt.Sprintf("%012d", i%400),
			MaxDuration: time.Hour, DefaultDuration: time.Hour,
		}
		grants = append(grants, policy.Grant{Role: name})
	}
	many.Groups["dev"] = policy.Group{Name: "dev", Grants: grants}
	w.front.View.Reader = crowd{w.store, many}
	w.sends("U1", "")
	has(t, w.shownTo("U1"), "You may ask for 10000 roles: type to find yours.")
	for typed, want := range map[string]int{"": 100, "role-0": 100, "role-0999": 10, "account-399": 25, "role-09999": 1, "rloe-09999": 1, "nobody": 0} {
		began := time.Now()
		offered, err := w.Suggest(t.Context(), "U1", w.modal("U1").ID, "role", typed)
		if err != nil || len(offered) != want {
			t.Errorf("%q is offered %d roles, %v; want %d", typed, len(offered), err, want)
		}
		if took := time.Since(began); took > 2*time.Second { // of the 3 s that Slack waits
			t.Errorf("%q took %s", typed, took)
		}
	}
	has(t, w.chooses("U1", "role-09999"), "Role: [ role-09999 v ]", "Issued at once.")
}
