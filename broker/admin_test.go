package broker_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// empty is a store in which nothing is.
func empty(t *testing.T) *store.SQLite {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "empty.db"), store.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// wrote lists the calls of a tap that write.
func (t *tap) wrote() []string {
	return slices.DeleteFunc(t.made(), func(c string) bool { return !strings.HasPrefix(c, "Put") })
}

// deaths is a store that dies at its kth write, before it is done or after.
func deaths(k int, after bool) (before, lost func(string, int) error) {
	writes := 0
	die := func(call string, _ int) error {
		if strings.HasPrefix(call, "Put") {
			if writes++; writes >= k {
				return errDown
			}
		}
		return nil
	}
	if after {
		return nil, die
	}
	return die, nil
}

func TestInit(t *testing.T) {
	w := newWorld(t)
	w.tap = &tap{SQLite: empty(t)}
	admin := w.admin(w.tap)
	user, err := admin.Init(t.Context(), "carol", erin)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := w.tap.Identify(t.Context(), erin)
	if err != nil || facts.User.ID != user.ID || facts.PolicyVersion != 1 {
		t.Errorf("facts %+v, %v", facts, err)
	}
	me, err := w.on(w.tap).Whoami(t.Context(), erin, "1")
	if err != nil || !me.Admin || !me.User.Expires.Equal(began.Add(90*24*time.Hour)) {
		t.Errorf("the first administrator: %+v, %v", me, err)
	}
	if _, err := admin.Init(t.Context(), "dave", bob); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("a second time: %v", err)
	}
}

// Init cut off at any write can be repeated, and then there is one
// administrator, who is bound.
func TestInitCutOff(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for k := 1; k <= 3; k++ {
			w := newWorld(t)
			w.tap = &tap{SQLite: empty(t)}
			admin := w.admin(w.tap)
			w.tap.watch(deaths(k, after))
			if _, err := admin.Init(t.Context(), "carol", erin); !errors.Is(err, broker.ErrUnavailable) {
				t.Errorf("write %d: err = %v", k, err)
			}
			w.tap.watch(nil, nil)
			_, err := admin.Init(t.Context(), "carol", erin)
			if complete := after && k == 3; complete != errors.Is(err, broker.ErrConflict) || !complete && err != nil {
				t.Errorf("after dying at write %d: %v", k, err)
			}
			if me, err := w.on(w.tap).Whoami(t.Context(), erin, "1"); err != nil || !me.Admin {
				t.Errorf("after dying at write %d (done: %v): %v", k, after, err)
			}
		}
	}
}

// changed is the rules with something taken away, something given, somebody
// new, and two people's identities exchanged.
const changed = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  admins: {}
  dev: {grants: [plain]}
  sre: {grants: [readonly]}
admins: [admins]
roles:
  readonly: {account: prod, iam_role: starback/ReadOnly, max_duration: 8h}
  plain:    {account: prod, iam_role: starback/Plain, max_duration: 3h}
users:
  alice: {slack: T0AB/UBOB, groups: [dev, sre], grants: [{role: plain, until: 2099-01-01T12:00:30+02:00}]}
  bob:   {slack: T0AB/UALICE, groups: [dev, admins]}
  erin:  {disabled: true}
  frank: {slack: T0AB/UFRANK, groups: [dev]}
  root:  {slack: T0AB/UROOT, groups: [admins, sre]}
`

// slackers are everybody who might get something.
var slackers = []string{"UALICE", "UBOB", "UERIN", "UFRANK", "UROOT"}

// rights lists what each person may ask for: the person, the user they act as
// and the role; "admin" for an administrator.
func rights(t *testing.T, s broker.Ledger) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, person := range slackers {
		facts, err := s.Identify(t.Context(), broker.SlackID{Team: "T0AB", User: person})
		if err != nil {
			t.Fatal(err)
		}
		u, i := facts.User, facts.Identity
		if i.User != u.Name || i.UserID != u.ID || u.Slack != i.Slack || u.ID == "" {
			continue
		}
		for _, r := range policy.Askable(facts.Policy, u.Subject(broker.User{}), began) {
			out[fmt.Sprintf("%s as %s: %s (%v, approval: %v)", person, u.Name, r.Name, r.MaxDuration, r.Approval != nil)] = true
		}
		if policy.IsAdmin(facts.Policy, u.Subject(broker.User{}), began) {
			out[person+" as "+string(u.Name)+": admin"] = true
		}
	}
	return out
}

// What is taken from a user is taken in the first write, with what is given
// left for the last.
func TestApplyTakesAwayFirst(t *testing.T) {
	later := began.Add(time.Hour).Format(time.RFC3339)
	w := newWorld(t)
	w.change(t, "alice", func(u *broker.User) { u.Grants = []policy.Grant{{Role: "guarded"}} })
	w.tap.watch(nth("PutPolicy", 1), nil)
	file := replace(replace(rules, "alice: {slack: T0AB/UALICE, groups: [dev]}",
		"alice: {slack: T0AB/UALICE, groups: [sre], grants: [readonly2], expires: "+later+"}"), "max_duration: 2h", "max_duration: 1h")
	if _, err := applied(t.Context(), w.admin(w.tap), parse(t, file), ""); !errors.Is(err, broker.ErrUnavailable) {
		t.Fatal(err)
	}
	u, err := w.store.User(t.Context(), "alice")
	if err != nil || len(u.Groups) != 0 || len(u.Grants) != 0 || !u.Expires.Equal(began.Add(time.Hour)) || !u.Enabled || u.Slack != alice {
		t.Errorf("user %+v, %v", u, err)
	}
}

// While the one Policy gives way to the other, nobody is known by an address that
// they lose, nor bound by it for good; and nobody answers for an application that
// changes hands, so that neither owner has it under the other's Policy.
func TestApplyTakesAddressesAndOwners(t *testing.T) {
	w := newWorld(t)
	apps := replace(rules, "  root:  {", "  robot: {app: true, owner: alice, groups: [dev]}\n  root:  {")
	w.apply(t, without(apps, "settings: {bind_by_email: true}\n"))
	w.tap.watch(nil, nth("PutPolicy", 1))
	file := replace(replace(apps, "email: erin@example.com", "email: erin@example.org"), "owner: alice", "owner: bob")
	if _, err := applied(t.Context(), w.admin(w.tap), parse(t, replace(file, "bob:   {", "bob:   {disabled: true, ")), ""); !errors.Is(err, broker.ErrUnavailable) {
		t.Fatal(err)
	}
	if u, err := w.store.User(t.Context(), "erin"); err != nil || u.Email != "" {
		t.Errorf("half-way, erin is known by %q, %v", u.Email, err)
	}
	if u, err := w.store.User(t.Context(), "robot"); err != nil || u.Owner != "" {
		t.Errorf("half-way, %q answers for robot, %v", u.Owner, err)
	}
	w.tap.watch(nil, nil)
	w.apply(t, file)
	if u, err := w.store.User(t.Context(), "erin"); err != nil || u.Email != "erin@example.org" {
		t.Errorf("erin is known by %q, %v", u.Email, err)
	}
	if u, err := w.store.User(t.Context(), "robot"); err != nil || u.Owner != "bob" {
		t.Errorf("%q answers for robot, %v", u.Owner, err)
	}
}

// The order is: take away, then the Policy, then give.
func TestApplyOrder(t *testing.T) {
	w := newWorld(t)
	var order []string
	w.tap.watch(nil, func(call string, _ int) error {
		if strings.HasPrefix(call, "Put") {
			order = append(order, call)
		}
		return nil
	})
	w.apply(t, changed)
	at := slices.Index(order, "PutPolicy")
	give := slices.Index(order, "PutIdentity")
	if at < 3 || give < at || slices.Contains(order[at+1:], "PutPolicy") {
		t.Errorf("order %v", order)
	}
}

func TestPlanIsWhatApplyDoes(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	plan, err := admin.Plan(t.Context(), parse(t, changed), false)
	if err != nil {
		t.Fatal(err)
	}
	if wrote := w.tap.wrote(); len(wrote) != 0 {
		t.Errorf("Plan wrote: %v", wrote)
	}
	if plan.PolicyVersion != 2 || !plan.PolicyChanged || len(plan.Policy) == 0 || !plan.Changes() {
		t.Errorf("plan %+v", plan)
	}
	want := map[policy.UserName]string{
		"alice": "user.changed: groups: dev → dev, sre; grants: none → plain until 2099-01-01 10:00:30 UTC; slack: T0AB/UALICE → T0AB/UBOB",
		"bob":   "user.changed: groups: sre → admins, dev; slack: T0AB/UBOB → T0AB/UALICE",
		"erin":  "user.disabled: enabled: true → false; groups: dev → none; e-mail: erin@example.com → none",
		"frank": "user.created: enabled: true; expires: " + began.Add(90*24*time.Hour).Format("2006-01-02 15:04:05 MST") + "; groups: dev; slack: T0AB/UFRANK",
		"root":  "user.changed: groups: admins → admins, sre",
	}
	got := map[policy.UserName]string{}
	for _, u := range plan.Users {
		got[u.Name] = string(u.Event) + ": " + strings.Replace(u.Detail, ":00 UTC; groups: dev; slack: T0AB/UFRANK", " UTC; groups: dev; slack: T0AB/UFRANK", 1)
	}
	want["frank"] = strings.Replace(want["frank"], ":00 UTC", " UTC", 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := admin.Apply(t.Context(), plan, broker.ApplyOptions{AllowShrink: true}); err != nil {
		t.Fatal(err)
	}

	// The same again changes nothing, and writes nothing.
	w.tap.watch(nil, nil)
	plan, err = applied(t.Context(), admin, parse(t, changed), "the same")
	if err != nil || plan.Changes() || plan.PolicyVersion != 2 || len(plan.Impact.Changes) != 0 {
		t.Errorf("again: %+v, %v", plan, err)
	}
	if wrote := w.tap.wrote(); len(wrote) != 0 {
		t.Errorf("the same file wrote: %v", wrote)
	}
}

func TestApplyTrail(t *testing.T) {
	w := newWorld(t)
	w.apply(t, replace(rules, "root:  {", "dora: {groups: [dev]}\n  root:  {"))
	w.due(t)
	found, err := w.store.Events(t.Context(), broker.EventQuery{Actor: "os:root", Since: began})
	if err != nil {
		t.Fatal(err)
	}
	found = slices.DeleteFunc(found, func(e broker.Event) bool { return e.Subject != "dora" })
	if len(found) != 1 {
		t.Fatalf("events %+v", found)
	}
	last := found[0]
	if last.Event != broker.EventUserCreated || last.Outcome != "ok" ||
		!strings.HasPrefix(last.Detail, "enabled: true; expires: ") || !strings.HasSuffix(last.Detail, "; groups: dev (a change)") {
		t.Errorf("event %+v", last)
	}
	if slices.ContainsFunc(w.teller.told, func(told broker.Telling) bool { return told.Request != nil }) {
		t.Error("a change of a user is told of as a request")
	}
}

// A file that another administrator was quicker than changes nothing after the
// point where the two meet.
func TestApplyConflict(t *testing.T) {
	w := newWorld(t)
	w.tap.watch(func(call string, n int) error {
		if call == "PutPolicy" && n == 1 {
			if _, err := applied(t.Context(), w.admin(&tap{SQLite: w.store}), parse(t, without(rules, "settings: {bind_by_email: true}\n")), "quicker"); err != nil {
				t.Error(err)
			}
		}
		return nil
	}, nil)
	_, err := applied(t.Context(), w.admin(w.tap), parse(t, changed), "slower")
	if !errors.Is(err, broker.ErrConflict) {
		t.Errorf("err = %v", err)
	}
	if head, _, err := w.store.Head(t.Context()); err != nil || head.Message != "quicker" {
		t.Errorf("head %+v, %v", head, err)
	}
}

// A server that runs passes Trails on, and people choose their shells, while an
// administrator applies: that is no conflict, and nothing of it is lost.
func TestApplyBesideARunningServer(t *testing.T) {
	w := newWorld(t)
	w.tap.watch(func(call string, n int) error {
		if call == "PutUser" && n <= 2 {
			w.change(t, "bob", func(u *broker.User) { u.Shell = broker.Shells[n] })
		}
		return nil
	}, nil)
	w.apply(t, replace(rules, "  bob:   {slack: T0AB/UBOB", "  bob:   {disabled: true, slack: T0AB/UBOB"))
	bob, err := w.store.User(t.Context(), "bob")
	if err != nil || bob.Enabled || bob.Shell != broker.Shells[2] {
		t.Errorf("bob is %+v, %v", bob, err)
	}
}

// An unlisted store does not list its users: there may be very many.
type unlisted struct{ *tap }

func (unlisted) Users(context.Context, func(broker.User) bool) error { return errDown }

// Whose an account in Slack is, is found by the binding that both sides name,
// without a look at everybody.
func TestUserOf(t *testing.T) {
	w := newWorld(t)
	do(t, w.admin(w.tap), "user bind bob --slack T0AB/UMOVED")
	half := broker.SlackID{Team: "T0AB", User: "UHALF"}
	w.change(t, "alice", func(u *broker.User) { u.Slack = half })
	a := w.admin(w.tap)
	a.Users = unlisted{w.tap}
	for _, c := range []struct {
		name, slack string
		want        policy.UserName
	}{
		{"bound", "T0AB/UMOVED", "bob"},
		{"moved away from", bob.String(), ""},
		{"named by the user alone", half.String(), ""},
		{"named by the account alone", alice.String(), ""},
		{"unknown", "T0AB/UNOBODY", ""},
	} {
		id, err := broker.ParseSlackID(c.slack)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.UserOf(t.Context(), id)
		if got != c.want || errors.Is(err, broker.ErrNotFound) != (c.want == "") {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}
