package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// rootHerself is the administrator root, at work through Slack.
var rootHerself = broker.Author{Name: "root", User: "root", Slack: broker.SlackID{Team: "T0AB", User: "UROOT"}}

// change reads a command.
func change(t *testing.T, words string) broker.Change {
	t.Helper()
	ch, err := broker.ParseCommand(strings.Fields(words))
	if err != nil {
		t.Fatalf("%s: %v", words, err)
	}
	return ch
}

// do carries out commands that must succeed, and returns what the last did.
func do(t *testing.T, a *broker.Admin, commands ...string) (done broker.Done) {
	t.Helper()
	for _, words := range commands {
		var err error
		if done, err = a.Do(t.Context(), change(t, words)); err != nil {
			t.Fatalf("%s: %v", words, err)
		}
	}
	return done
}

// minute prints a moment as the trail does: to the minute if that is all.
func minute(t time.Time) string {
	return strings.Replace(t.UTC().Format("2006-01-02 15:04:05 MST"), ":00 UTC", " UTC", 1)
}

// Each command changes what it says, and says what it changed.
func TestDo(t *testing.T) {
	inADay := minute(began.Add(24 * time.Hour))
	for _, tt := range []struct {
		name   string
		before []string
		words  string
		want   []string
	}{
		{"a person", nil, "user add dora --slack T0AB/UDORA --group dev --until 1d",
			[]string{"dora: enabled: true; expires: " + inADay + "; groups: dev; slack: T0AB/UDORA"}},
		{"a removed user's address", []string{"user remove erin"}, "user add dora --email Erin@Example.com --until 1d",
			[]string{"dora: enabled: true; expires: " + inADay + "; e-mail: erin@example.com"}},
		{"an application", []string{"user renew bob --until 1d"}, "user add ci --owner bob",
			[]string{"ci: enabled: true; expires: " + inADay + "; application of: bob"}},
		{"switched off", nil, "user disable alice bob", []string{"alice: enabled: true → false", "bob: enabled: true → false"}},
		{"switched on", []string{"user disable alice"}, "user enable alice", []string{"alice: enabled: false → true"}},
		{"renewed", []string{"user renew alice --until 1h"}, "user renew alice --until 2099-01-01T12:00:00Z", []string{
			"alice: expires: " + minute(began.Add(time.Hour)) + " → 2099-01-01 12:00 UTC"}},
		{"an application with its owner", []string{"user renew bob --until 1h", "user add ci --owner bob"}, "user renew bob ci --until 2099-01-01T12:00:00Z", []string{
			"bob: expires: " + minute(began.Add(time.Hour)) + " → 2099-01-01 12:00 UTC", "ci: expires: " + minute(began.Add(time.Hour)) + " → 2099-01-01 12:00 UTC"}},
		{"bound", nil, "user bind erin --slack T0AB/UERIN", []string{"erin: slack: none → T0AB/UERIN"}},
		{"bound to another", nil, "user bind alice --slack T0AB/UOTHER", []string{"alice: slack: T0AB/UALICE → T0AB/UOTHER"}},
		{"removed", nil, "user remove alice", []string{"alice: enabled: true → false; groups: dev → none; slack: T0AB/UALICE → none; removed"}},
		{"a group", nil, "group add data", []string{"groups.data: added"}},
		{"a member", nil, "group add-member sre alice erin", []string{"alice: groups: dev → dev, sre", "erin: groups: dev → dev, sre"}},
		{"one who is a member", nil, "group add-member dev alice", nil},
		{"a member less", nil, "group remove-member dev alice", []string{"alice: groups: dev → none"}},
		{"a grant", nil, "grant add readonly2 --group dev", []string{"groups.dev.grants.readonly2: added, without end"}},
		{"a grant that is there", nil, "grant add readonly --group dev", nil},
		{"a grant less", nil, "grant remove readonly --group dev", []string{"groups.dev.grants.readonly: removed, was without end"}},
		{"a user's grant", nil, "grant add readonly2 --user bob --until 2099-01-01T12:00:00Z", []string{"bob: grants: none → readonly2 until 2099-01-01 12:00 UTC"}},
		{"a user's grant less", []string{"grant add readonly2 --user bob"}, "grant remove readonly2 --user bob", []string{"bob: grants: readonly2 → none"}},
		{"a grant that is not there", nil, "grant remove guarded --group dev", nil},
		{"a user's grant that is not there", nil, "grant remove guarded --user alice", nil},
		{"no member", nil, "group remove-member sre alice", nil},
		{"no administrators", nil, "admins remove leads", nil},
		{"administrators", nil, "admins add leads", []string{"admins.leads: added"}},
		{"administrators less", []string{"admins add leads"}, "admins remove leads", []string{"admins.leads: removed"}},
		{"back", []string{"group add data", "grant add plain --group data"}, "policy rollback 2", []string{"groups.data.grants.plain: removed, was without end"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			admin := w.admin(w.tap)
			do(t, admin, tt.before...)
			done := do(t, admin, tt.words)
			if diff := cmp.Diff(tt.want, done.Detail); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if done.Same != (tt.want == nil) {
				t.Errorf("done %+v", done)
			}
			w.tap.watch(nil, nil)
			again, err := admin.Do(t.Context(), change(t, tt.words))
			if wrote := w.tap.wrote(); len(wrote) > 0 || err == nil && !again.Same {
				t.Errorf("a second time: %+v, %v, wrote %v", again, err, wrote)
			}
		})
	}
}

// Whoever takes access from a person is told which applications lose theirs.
func TestBereft(t *testing.T) {
	for _, tt := range []struct{ words, want string }{
		{"user remove alice", "alice answers for these applications, which lose their access too: ci, nightly"},
		{"user disable bob alice", "alice answers for these applications, which lose their access too: ci, nightly"},
		{"user remove alice ci", "alice answers for these applications, which lose their access too: nightly"},
		{"user disable bob", ""},
		{"user disable ci", ""},
		{"user renew alice --until 1h", ""},
		{"group remove-member dev alice", ""},
	} {
		t.Run(tt.words, func(t *testing.T) {
			w := newWorld(t)
			admin := w.admin(w.tap)
			do(t, admin, "user add nightly --owner alice", "user add ci --owner alice", "user add off --owner alice", "user disable off")
			if done := do(t, admin, tt.words); strings.Join(done.Bereft, "; ") != tt.want {
				t.Errorf("bereft: %q", done.Bereft)
			}
			if done := do(t, admin, "user disable bob"); done.Bereft != nil {
				t.Errorf("nothing of that: %q", done.Bereft)
			}
		})
	}
}

// What makes no sense is refused in a sentence, and nothing is written.
func TestDoRefuses(t *testing.T) {
	for _, tt := range []struct {
		words string
		is    error
		want  string
	}{
		{"user add alice", broker.ErrConflict, "there is a user alice already"},
		{"user add gone", broker.ErrInvalid, "the name gone was a removed user's and is never used again"},
		{"user add dora --group sr", broker.ErrNotFound, "there is no group sr; did you mean sre?"},
		{"user add dora --slack T0AB/UBOB", broker.ErrConflict, "the account T0AB/UBOB in Slack is bob's"},
		{"user add dora --email Erin@Example.com", broker.ErrConflict, "the address erin@example.com is erin's"},
		{"user add ci --owner nobody", broker.ErrInvalid, "the owner nobody is not a person here"},
		{"user add ci --owner alice --until 2099-01-01", broker.ErrInvalid, "alice answers for ci and has access until"},
		{"user add dora --until 2001-01-01", broker.ErrInvalid, "has passed already; to switch a user off, disable them"},
		{"user disable alise", broker.ErrNotFound, "there is no user alise; did you mean alice?"},
		{"user enable gone", broker.ErrNotFound, "there is no user gone"},
		{"user disable root", broker.ErrInvalid, "nobody would be left in an admin group (admins)"},
		{"user remove root", broker.ErrInvalid, "nobody would be left"},
		{"user renew root --until 1h", broker.ErrInvalid, "nobody would be left"},
		{"group remove-member admins root", broker.ErrInvalid, "nobody would be left"},
		{"admins remove admins", broker.ErrInvalid, "admins"},
		{"group remove admins", broker.ErrInvalid, "admins"},
		{"group remove leads", broker.ErrInvalid, "guarded"},
		{"group add old", broker.ErrInvalid, "never used again"},
		{"group add-member nope alice", broker.ErrNotFound, "there is no group nope"},
		{"grant add prod --group dev", broker.ErrNotFound, "no role"},
		{"grant add plain --group leads --until 2001-01-01", broker.ErrInvalid, "2001-01-02 00:00 UTC has passed already; to take a grant back, remove it"},
		{"grant add readonly --group dev --until 2001-01-01", broker.ErrInvalid, "has passed already"},
		{"grant add plain --user bob --until 2001-01-01", broker.ErrInvalid, "has passed already"},
		{"grant remove guardde --group dev", broker.ErrNotFound, "`dev` has no grant of `guardde`"},
		{"grant remove guardde --user alice", broker.ErrNotFound, "there is no role guardde; did you mean guarded?"},
		{"grant remove guarded --group deb", broker.ErrNotFound, "there is no group `deb`; did you mean `dev`?"},
		{"group remove-member deb alice", broker.ErrNotFound, "there is no group deb; did you mean dev?"},
		{"admins remove laeds", broker.ErrNotFound, "there is no group `laeds`; did you mean `leads`?"},
		{"grant add nope --user alice", broker.ErrNotFound, "there is no role nope"},
		{"policy rollback 99", broker.ErrNotFound, "there is no version 99 of the policy; the newest is 3"},
		{"token revoke alice ABCDEFGHIJKL", broker.ErrNotFound, "alice has no token ABCDEFGHIJKL"},
		{"user bind bob --slack T0AB/UALICE", broker.ErrConflict, "the account T0AB/UALICE in Slack is alice's"},
	} {
		t.Run(tt.words, func(t *testing.T) {
			w := newWorld(t)
			admin := w.admin(w.tap)
			do(t, admin, "user add gone --email gone@example.com", "user remove gone", "group add old", "group remove old")
			w.tap.watch(nil, nil)
			_, err := admin.Do(t.Context(), change(t, tt.words))
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v", err)
			}
			if wrote := w.tap.wrote(); len(wrote) != 0 {
				t.Errorf("wrote %v", wrote)
			}
		})
	}
}

// A user who is disabled gets nothing at the next request, whoever answers it.
func TestDisabledAtOnce(t *testing.T) {
	w := newWorld(t)
	w.mustIssue(t, w.ask("1", "readonly"))
	other := broker.NewAdmin(w.open(t), w.Now, nonsense{}, root)
	do(t, other, "user disable alice")
	if _, err := w.Issue(t.Context(), w.ask("2", "readonly")); rule(err) != policy.RuleUserDisabled {
		t.Errorf("err = %v", err)
	}
	do(t, other, "user enable alice")
	w.mustIssue(t, w.ask("3", "readonly"))
}

// nonsense is a source of random bytes that are not.
type nonsense struct{}

func (nonsense) Read(p []byte) (int, error) { return len(p), nil }

// A change by command is on the trail, with what was and what is, and is
// passed on to the audit channel.
func TestDoTrail(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap).As(rootHerself)
	do(t, admin, "group add-member sre alice", "grant add readonly2 --group sre --until 2099-01-01", "user renew alice --until 2099-01-01")
	w.due(t)
	found, err := w.store.Events(t.Context(), broker.EventQuery{Actor: "root"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range found {
		got = append(got, fmt.Sprintf("%s %s %s %s v%d: %s", e.Event, e.Actor, e.Slack, e.Subject, e.PolicyVersion, e.Detail))
	}
	want := []string{
		"user.changed root T0AB/UROOT alice v0: groups: dev → dev, sre",
		"policy.changed root T0AB/UROOT  v2: groups.sre.grants.readonly2: added, until 2099-01-01",
		"user.renewed root T0AB/UROOT alice v0: expires: " + minute(began.Add(90*24*time.Hour)) + " → 2099-01-02 00:00 UTC",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if told := len(w.teller.notices()); told != 3 {
		t.Errorf("%d were told", told)
	}
}

// A change that benefits its author is loud; another is not.
func TestLoud(t *testing.T) {
	for _, tt := range []struct{ words, want string }{
		{"group add-member dev root", "This benefits its author root: root gains plain, readonly, ticketed."},
		{"grant add readonly2 --user root", "This benefits its author root: root gains readonly2."},
		{"grant add plain --group admins", "This benefits its author root: root gains plain."},
		{"group add-member leads root", "This benefits its author root: root may approve requests for escalated, guarded."},
		{"group add-member nights root", "This benefits its author root: root may approve requests for escalated."},
		{"group add-member leads robot", ""}, // an application may not approve
		{"group add-member leads bob", ""},
		{"user renew root --until 2099-01-01", "This benefits its author root: the access of root ends later: 2099-01-02 00:00 UTC."},
		{"grant add plain --user robot", "This benefits its author root: robot gains plain."},
		{"group add-member admins bob", "bob becomes an administrator."},
		{"admins add leads", "The members of leads become administrators."},
		{"user bind alice --slack T0AB/UOTHER", "alice is another account in Slack from now on: T0AB/UOTHER."},
		{"user bind erin --slack T0AB/UERIN", ""},
		{"group add-member dev bob", ""},
		{"grant add plain --group leads", ""},
		{"user renew alice --until 2099-01-01", ""},
		{"user disable alice", ""},
		{"grant remove readonly --group dev", ""},
	} {
		t.Run(tt.words, func(t *testing.T) {
			w := newWorld(t)
			w.apply(t, replace(replace(rules, "  leads: {}\n", "  leads: {}\n  nights: {}\n"), "settings:",
				"  escalated: {account: prod, iam_role: starback/ReadOnly, max_duration: 1h, approval: {by: [leads], escalate_to: [nights]}}\nsettings:"))
			do(t, w.admin(w.tap), "user add robot --owner root")
			w.due(t)
			done := do(t, w.admin(w.tap).As(rootHerself), tt.words)
			if done.Loud != tt.want || done.Proposal != nil {
				t.Errorf("loud %q, proposal %v", done.Loud, done.Proposal)
			}
			w.due(t)
			found, err := w.store.Events(t.Context(), broker.EventQuery{Actor: "root"})
			if err != nil || len(found) != 1 || found[0].Loud != tt.want {
				t.Errorf("events %+v, %v", found, err)
			}
		})
	}
}

// twoAdmins is a world in which a change that benefits its author needs
// another administrator.
func twoAdmins(t *testing.T) (w *world, first, second *broker.Admin) {
	t.Helper()
	w = newWorld(t)
	w.apply(t, replace(replace(rules, "{bind_by_email: true}", "{bind_by_email: true, two_admins: true}"), "bob:   {slack: T0AB/UBOB, groups: [sre]}", "bob:   {slack: T0AB/UBOB, groups: [sre, admins]}"))
	return w, w.admin(w.tap).As(rootHerself), w.admin(w.tap).As(broker.Author{Name: "bob", User: "bob", Slack: bob})
}

func TestTwoAdmins(t *testing.T) {
	w, first, second := twoAdmins(t)
	holds := func(want bool) {
		t.Helper()
		x, err := first.Can(t.Context(), "root", "plain", time.Time{})
		if err != nil || (x.Effect == policy.Allow) != want {
			t.Errorf("root may ask for plain: %+v, %v", x, err)
		}
	}
	w.due(t)
	w.advance(time.Second)
	done := do(t, first, "group add-member dev root")
	holds(false)
	if done.Proposal == nil || done.Proposal.Benefit != "root gains plain, readonly, ticketed" || done.Proposal.State != broker.ProposalWaiting {
		t.Fatalf("done %+v", done)
	}
	id := done.Proposal.ID
	if again := do(t, first, "group add-member dev root"); again.Proposal == nil || again.Proposal.ID != id {
		t.Errorf("the same again: %+v", again.Proposal)
	}
	for name, author := range map[string]broker.Author{
		"the author":           rootHerself,
		"at the command line":  {Name: "root@laptop", User: "root"},
		"with another account": {Name: "root", User: "other"},
	} {
		if _, err := first.As(author).Confirm(t.Context(), id); !errors.Is(err, broker.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	holds(false)
	if open, err := second.OpenProposals(t.Context()); err != nil || len(open) != 1 || open[0].ID != id {
		t.Errorf("open: %+v, %v", open, err)
	}
	w.advance(time.Second)
	done, err := second.Confirm(t.Context(), id[20:])
	if err != nil || len(done.Detail) != 1 {
		t.Errorf("confirmed: %+v, %v", done, err)
	}
	holds(true)
	if _, err := second.Confirm(t.Context(), id); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("confirmed twice: %v", err)
	}
	w.due(t)
	found, err := w.store.Events(t.Context(), broker.EventQuery{Since: began.Add(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range found {
		got = append(got, fmt.Sprintf("%s by %s: %s", e.Event, e.Actor, e.Detail))
	}
	want := []string{
		"change.proposed by root: group add-member. Another administrator must confirm it: root: groups: admins → admins, dev",
		"change.confirmed by bob: group add-member: root: groups: admins → admins, dev",
		"user.changed by root: groups: admins → admins, dev (confirmed by bob)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A proposal that was rejected, or that lapsed, is of no use any more.
func TestProposalEnds(t *testing.T) {
	w, first, second := twoAdmins(t)
	rejected := do(t, first, "group add-member dev root").Proposal
	if _, err := second.Reject(t.Context(), rejected.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Confirm(t.Context(), rejected.ID); !errors.Is(err, broker.ErrConflict) || !strings.Contains(err.Error(), "this was rejected by bob already") {
		t.Errorf("err = %v", err)
	}
	lapsed := do(t, first, "group add-member dev root").Proposal
	w.advance(72 * time.Hour)
	if _, err := second.Confirm(t.Context(), lapsed.ID); !errors.Is(err, broker.ErrConflict) || !strings.Contains(err.Error(), "this lapsed at") {
		t.Errorf("err = %v", err)
	}
	if open, err := first.OpenProposals(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open: %+v, %v", open, err)
	}
	if _, err := second.Confirm(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAV"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("err = %v", err)
	}
}

// Two administrators cannot be switched off by one, nor the rule of two, nor a
// file be applied, where it benefits the one.
func TestTwoAdminsCannotBeTurnedOffByOne(t *testing.T) {
	_, first, _ := twoAdmins(t)
	without := replace(rules, "groups: [sre]}", "groups: [sre, admins]}")
	plan, err := first.Plan(t.Context(), parse(t, without), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Apply(t.Context(), plan, broker.ApplyOptions{AllowShrink: true, Overwrite: true}); !errors.Is(err, broker.ErrDenied) || !strings.Contains(err.Error(), "no second administrator is needed any more") {
		t.Errorf("err = %v", err)
	}
	done := do(t, first, "policy rollback 1")
	if done.Proposal == nil {
		t.Errorf("a rollback: %+v", done)
	}
}

// Two administrators who take each other's rights at the same moment do not
// leave nobody.
func TestLastAdminRace(t *testing.T) {
	for name, pair := range map[string][2]string{
		"disable": {"user disable root", "user disable bob"},
		"leave":   {"group remove-member admins root", "group remove-member admins bob"},
		"remove":  {"user remove root", "group remove-member admins bob"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			do(t, w.admin(w.tap), "group add-member admins bob")
			meet := meeting(t)
			admins := [2]*broker.Admin{}
			for i := range admins {
				s := &tap{SQLite: w.open(t)}
				first := true
				s.watch(func(call string, _ int) error {
					if call == "PutUser" && first {
						first = false
						meet()
					}
					return nil
				}, nil)
				admins[i] = w.admin(s)
			}
			var both sync.WaitGroup
			var errs [2]error
			for i, words := range pair {
				both.Go(func() { _, errs[i] = admins[i].Do(t.Context(), change(t, words)) })
			}
			both.Wait()
			if errs[0] == nil && errs[1] == nil {
				t.Error("both went through")
			}
			left := 0
			for _, name := range []policy.UserName{"root", "bob"} {
				m, err := admins[0].User(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				if m.Admin {
					left++
				}
			}
			if left == 0 {
				t.Errorf("nobody administers: %v, %v", errs[0], errs[1])
			}
		})
	}
}

// What was confirmed is what is carried out: a change that comes to something
// else by then has to be asked for again, and a confirmed one is used once.
func TestConfirmedIsWhatWasShown(t *testing.T) {
	w, first, second := twoAdmins(t)
	do(t, first, "group add bait", "grant add readonly2 --group bait")
	p := do(t, first, "group add-member bait root").Proposal
	if p == nil || p.Benefit != "root gains readonly2" {
		t.Fatalf("proposal %+v", p)
	}
	do(t, first, "grant add plain --group bait")
	if _, err := second.Confirm(t.Context(), p.ID); !errors.Is(err, broker.ErrConflict) || !strings.Contains(err.Error(), "not what was proposed any more") {
		t.Errorf("err = %v", err)
	}
	again := do(t, first, "group add-member bait root").Proposal
	if again == nil || again.ID == p.ID || again.Benefit != "root gains plain, readonly2" {
		t.Fatalf("asked for again: %+v", again)
	}
	if _, err := second.Confirm(t.Context(), again.ID); err != nil {
		t.Fatal(err)
	}
	w.due(t)
	do(t, second, "group remove-member bait root")
	if _, err := second.Confirm(t.Context(), again.ID); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("used twice: %v", err)
	}
}

// What an author's application gets, and what becomes of a role that they hold,
// benefits them as well.
func TestBenefitIsWide(t *testing.T) {
	_, first, _ := twoAdmins(t)
	do(t, first, "group add bots", "user add rootbot --owner root --group bots")
	if done := do(t, first, "grant add plain --group bots"); done.Proposal == nil || done.Proposal.Benefit != "rootbot gains plain" {
		t.Errorf("done %+v", done)
	}

	if done := do(t, first, "group add-member leads root"); done.Proposal == nil || done.Proposal.Benefit != "root may approve requests for guarded" {
		t.Errorf("done %+v", done)
	}

	_, first, second := twoAdmins(t)
	p := do(t, first, "group add-member dev root").Proposal
	if _, err := second.Confirm(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	file := replace(replace(rules, "{bind_by_email: true}", "{bind_by_email: true, two_admins: true}"), "readonly:  {account: prod, iam_role: starback/ReadOnly", "readonly:  {account: prod, iam_role: starback/Plain")
	plan, err := first.Plan(t.Context(), parse(t, file[:strings.Index(file, "users:")]), false)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan.Benefit, "a role of theirs changes: roles.readonly.iam_role") {
		t.Errorf("benefit %q", plan.Benefit)
	}
	if err := first.Apply(t.Context(), plan, broker.ApplyOptions{}); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("err = %v", err)
	}

	file = replace(replace(rules, "{bind_by_email: true}", "{bind_by_email: true, two_admins: true}"), "approval: {by: [leads]}", "approval: {by: [leads], escalate_to: [admins]}")
	if plan, err = first.Plan(t.Context(), parse(t, file[:strings.Index(file, "users:")]), false); err != nil {
		t.Fatal(err)
	}
	if plan.Benefit != "root may approve requests for guarded" {
		t.Errorf("benefit %q", plan.Benefit)
	}
}

// A second administrator has to agree to what ends later as to what is new: a
// grant of one's own, of a group, and of an application of one's own.
func TestTwoAdminsLonger(t *testing.T) {
	t.Parallel()
	_, first, second := twoAdmins(t)
	for _, command := range []string{
		"user add ci --owner root --until 2027-01-01T00:00:00Z", "grant add plain --user root --until 2h",
		"grant add guarded --group admins --until 2027-01-01T00:00:00Z", "grant add readonly --user ci --until 2h",
	} {
		do(t, second, command)
	}
	for _, tt := range []struct{ command, benefit string }{
		{"grant add plain --user root --until 2099-01-01T00:00:00Z", "root may ask for plain longer: until 2099-01-01 00:00 UTC"},
		{"grant add plain --user root", "root may ask for plain without an end"},
		{"grant add guarded --group admins", "root may ask for guarded without an end"},
		{"grant add readonly --user ci", "ci may ask for readonly without an end"},
		{"grant add plain --user root --until 1h", ""},
		{"grant add guarded --user root --until 1h", ""}, // they have it longer already
		{"grant add guarded --group leads", ""},
	} {
		done := do(t, first, tt.command)
		if got := done.Proposal; (got != nil) != (tt.benefit != "") || got != nil && got.Benefit != tt.benefit {
			t.Errorf("%s: proposed %+v, want a benefit %q", tt.command, got, tt.benefit)
		}
	}

	plan, err := first.Plan(t.Context(), parse(t, replace(replace(rules, "{bind_by_email: true}", "{bind_by_email: true, two_admins: true}"), "admins: {}", "admins: {grants: [guarded]}")), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Apply(t.Context(), plan, broker.ApplyOptions{Overwrite: true}); !errors.Is(err, broker.ErrDenied) || plan.Benefit != "root may ask for guarded without an end" {
		t.Errorf("a file: %v, a benefit %q", err, plan.Benefit)
	}
}

// What is to last so long lasts from when it was proposed, whenever the second
// administrator agrees.
func TestTwoAdminsSoLong(t *testing.T) {
	t.Parallel()
	w, first, second := twoAdmins(t)
	for _, command := range []string{
		"grant add plain --user root --until 90d", "grant add readonly --group admins --until 90d", "user renew root --until 390d",
		"user renew root --until 395d", "user add ci --owner root --group dev",
	} {
		p := do(t, first, command).Proposal
		if p == nil {
			t.Fatalf("%s: nothing is proposed", command)
		}
		w.advance(time.Minute)
		done, err := second.Confirm(t.Context(), p.ID)
		if diff := cmp.Diff(p.Detail, done.Detail); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", command, err, diff)
		}
	}
}
