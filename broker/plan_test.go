package broker_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// plan plans a file.
func plan(t *testing.T, a *broker.Admin, file string) *broker.Plan {
	t.Helper()
	p, err := a.Plan(t.Context(), parse(t, file), false)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A file that lacks what commands have changed is not applied unasked. What it
// lacks can be merged into it, and then nothing of it is lost.
func TestApplyBehindCommands(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	do(t, admin, "group add data", "grant add readonly2 --group dev", "grant remove plain --group dev", "user disable alice", "group add-member sre erin")
	newer := replace(rules, "guarded:   {account: prod, iam_role: starback/ReadOnly, max_duration: 1h", "guarded:   {account: prod, iam_role: starback/ReadOnly, max_duration: 2h")

	p := plan(t, admin, newer)
	if p.Lacking == nil {
		t.Fatalf("plan %+v", p)
	}
	var lacks []string
	for _, d := range p.Lacking.Policy {
		lacks = append(lacks, d.String())
	}
	for _, u := range p.Lacking.Users {
		lacks = append(lacks, fmt.Sprintf("%s: %s", u.Name, u.Detail))
	}
	want := []string{
		"groups.data: added", "groups.dev.grants.plain: removed, was without end", "groups.dev.grants.readonly2: added, without end",
		"alice: enabled", "erin: groups",
	}
	if diff := cmp.Diff(want, lacks); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	err := admin.Apply(t.Context(), p, broker.ApplyOptions{AllowShrink: true})
	if !errors.Is(err, broker.ErrConflict) || !strings.Contains(err.Error(), "--overwrite") {
		t.Errorf("err = %v", err)
	}
	if u, err := w.store.User(t.Context(), "alice"); err != nil || u.Enabled {
		t.Errorf("alice is %+v, %v", u, err)
	}

	merged := replace(newer, "dev: {grants: [readonly, plain, ticketed]}", "dev: {grants: [readonly, readonly2, ticketed]}\n  data: {}")
	merged = replace(merged, "alice: {slack: T0AB/UALICE, groups: [dev]}", "alice: {slack: T0AB/UALICE, groups: [dev], disabled: true}")
	merged = replace(merged, "erin:  {email: erin@example.com, groups: [dev]}", "erin:  {email: erin@example.com, groups: [dev, sre]}")
	p = plan(t, admin, merged)
	if p.Lacking != nil || len(p.Users) != 0 || len(p.Policy) != 1 {
		t.Errorf("merged: %+v", p)
	}
	if err := admin.Apply(t.Context(), p, broker.ApplyOptions{}); err != nil {
		t.Error(err)
	}

	// From now on the file has the word again.
	p = plan(t, admin, replace(merged, ", disabled: true", ""))
	if p.Lacking != nil || len(p.Users) != 1 {
		t.Errorf("afterwards: %+v", p)
	}
}

// What is wrong with a file only beside what is stored is refused like what is
// wrong with it alone: with its place, its line, and what would mend it.
func TestPlanMistakes(t *testing.T) {
	more := func(entry string) string { return rules + entry }
	tests := []struct {
		name    string
		prepare []string // commands
		file    string
	}{
		{"no-admin", nil, without(rules, "admins]}\n") + "]}\n"},
		{"disabled-admin", nil, replace(rules, "groups: [admins]}", "groups: [admins], disabled: true}")},
		{"expired-admin", nil, replace(rules, "groups: [admins]}", "groups: [admins], expires: 2020-01-01}")},
		{"removed-user", []string{"user remove bob"}, rules},
		{"removed-group", []string{"group add data", "group remove data"}, replace(rules, "  leads: {}", "  leads: {}\n  data: {}")},
		{"outlasts", []string{"user renew alice --until 2099-06-30"}, more("  ci: {app: true, owner: alice, expires: 2099-07-01}\n")},
		{"slack-elsewhere", nil, replace(rules, "  bob:   {slack: T0AB/UBOB", "  dora:  {slack: T0AB/UBOB")},
		{"slack-kept", nil, replace(rules, "  bob:   {slack: T0AB/UBOB, groups: [sre]}", "  anna:  {slack: T0AB/UBOB}\n  bob:   {groups: [sre]}")},
		{"email-elsewhere", nil, replace(rules, "  erin:  {email", "  dora:  {email")},
		{"several", []string{"user remove bob", "group add data", "group remove data"},
			replace(replace(rules, "  leads: {}", "  leads: {}\n  data: {}"), "  erin:  {email", "  dora:  {email")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			do(t, w.admin(w.tap), tt.prepare...)
			w.tap.watch(nil, nil)
			_, err := w.admin(w.tap).Plan(t.Context(), parse(t, tt.file), false)
			var wrong policy.Errors
			if !errors.As(err, &wrong) || !errors.Is(err, broker.ErrInvalid) {
				t.Fatalf("err = %v", err)
			}
			golden, got := "testdata/plan/"+tt.name+".golden", wrong.Detail()+"\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if diff := cmp.Diff(string(want), got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			for _, e := range wrong {
				if e.Suggestion == "" || e.Source == "" {
					t.Errorf("%v: no line or no suggestion", e)
				}
			}
			if wrote := w.tap.wrote(); len(wrote) != 0 {
				t.Errorf("wrote %v", wrote)
			}
		})
	}
}

// Accounts in Slack may change hands within a file, and one whose user was
// removed is free.
func TestPlanAccountsMove(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	moved := replace(replace(rules, "slack: T0AB/UALICE", "slack: T0AB/UX"), "slack: T0AB/UBOB", "slack: T0AB/UALICE")
	if p := plan(t, admin, replace(moved, "slack: T0AB/UX", "slack: T0AB/UBOB")); len(p.Users) != 2 {
		t.Errorf("plan %+v", p.Users)
	}
	do(t, admin, "user remove bob")
	if p := plan(t, admin, replace(rules, "  bob:   {slack", "  dora:  {slack")); len(p.Users) != 1 {
		t.Errorf("a removed user's account: %+v", p.Users)
	}
}

// A person whom the file makes an application has no account in Slack any more,
// and so nobody speaks for the application there.
func TestApplyMakesAnApplication(t *testing.T) {
	w := newWorld(t)
	file := replace(rules, "bob:   {slack: T0AB/UBOB, groups", "bob:   {app: true, owner: alice, groups")
	w.apply(t, file)
	if u, err := w.store.User(t.Context(), "bob"); err != nil || !u.IsApp || !u.Slack.IsZero() {
		t.Errorf("bob is %+v, %v", u, err)
	}
	if me, err := w.on(w.tap).Whoami(t.Context(), bob, "1"); err == nil {
		t.Errorf("bob's account speaks for %s", me.User.Name)
	}
	if p := plan(t, w.admin(w.tap), file); p.Changes() {
		t.Errorf("again: %+v", p)
	}
}

// Overwriting undoes what commands have changed, knowingly.
func TestApplyOverwrites(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	do(t, admin, "group add data", "user disable alice")
	p := plan(t, admin, rules)
	if p.Lacking == nil || !strings.Contains(p.Lacking.YAML, "data") || !strings.Contains(p.Lacking.YAML, "alice") {
		t.Fatalf("plan %+v", p.Lacking)
	}
	if err := admin.Apply(t.Context(), p, broker.ApplyOptions{Overwrite: true}); err != nil {
		t.Fatal(err)
	}
	if u, err := w.store.User(t.Context(), "alice"); err != nil || !u.Enabled || u.Manual != nil {
		t.Errorf("alice is %+v, %v", u, err)
	}
	if _, doc, err := w.store.Head(t.Context()); err != nil || len(doc.Groups) != 4 || len(doc.Removed) != 1 {
		t.Errorf("groups %v, removed %v, %v", doc.Groups, doc.Removed, err)
	}
	if p := plan(t, admin, rules); p.Changes() {
		t.Errorf("again: %+v", p)
	}
}

// A rollback is a command: the file that was rolled back is not applied again
// unasked.
func TestApplyBehindRollback(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	newer := replace(rules, "dev: {grants: [readonly, plain, ticketed]}", "dev: {grants: [readonly, plain, ticketed, guarded]}")
	w.apply(t, newer)
	do(t, admin, "policy rollback 1")
	if p := plan(t, admin, newer); p.Lacking == nil {
		t.Errorf("plan %+v", p)
	}
	if p := plan(t, admin, rules); p.Lacking != nil || p.Changes() {
		t.Errorf("the older file: %+v", p)
	}
}

// What a plan means for people is said; and where it takes something from many
// of them, it has to be meant.
func TestPlanPeople(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	less := replace(rules, "dev: {grants: [readonly, plain, ticketed]}", "dev: {grants: [readonly, guarded]}")
	p := plan(t, admin, less)
	want := []string{"alice and erin gain guarded; lose plain and ticketed"}
	if diff := cmp.Diff(want, p.Impact.Lines(10)); diff != "" || p.Impact.Losing != 2 || p.Impact.People != 3 || p.Shrinks() {
		t.Errorf("impact %+v (-want +got):\n%s", p.Impact, diff)
	}

	do(t, admin, "user add dora --group dev", "user add emil --group dev")
	p = plan(t, admin, less)
	if !p.Shrinks() {
		t.Errorf("impact %+v", p.Impact)
	}
	if err := admin.Apply(t.Context(), p, broker.ApplyOptions{}); !errors.Is(err, broker.ErrConflict) || !strings.Contains(err.Error(), "4 of the 5 people who may ask for something would lose some of it") {
		t.Errorf("err = %v", err)
	}
	if err := admin.Apply(t.Context(), p, broker.ApplyOptions{AllowShrink: true}); err != nil {
		t.Error(err)
	}
}

// What a plan ends within days is taken from people too; what ends by itself is
// not the plan's doing.
func TestPlanEndsSoon(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	do(t, admin, "user add dora --group dev", "user add emil --group dev", "user add gil --group dev", "user add fay --group dev --until 3d")
	ends := func(in time.Duration) *broker.Plan {
		file := rules
		for _, name := range []string{"dora", "emil", "gil"} {
			file += fmt.Sprintf("  %s: {groups: [dev], expires: %s}\n", name, w.Now().Add(in).Format(time.RFC3339))
		}
		return plan(t, admin, file)
	}
	p := ends(24 * time.Hour)
	if p.Impact.Losing != 0 || p.Soon.Losing != 3 || !p.Shrinks() {
		t.Errorf("now %+v, soon %+v", p.Impact, p.Soon)
	}
	err := admin.Apply(t.Context(), p, broker.ApplyOptions{Overwrite: true})
	if !errors.Is(err, broker.ErrConflict) || !strings.Contains(err.Error(), "3 of the 6 people who may ask for something would lose some of it within 7 days") {
		t.Errorf("err = %v", err)
	}
	if p := ends(8 * 24 * time.Hour); p.Soon.Losing != 0 || p.Shrinks() {
		t.Errorf("in more than 7 days: %+v", p.Soon)
	}
}

// Whom an authoritative file does not name is switched off.
func TestPrune(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	do(t, admin, "user add dora --group dev")
	p, err := admin.Plan(t.Context(), parse(t, rules), true)
	if err != nil || len(p.Users) != 1 || p.Users[0].Detail != "enabled: true → false" {
		t.Fatalf("plan %+v, %v", p, err)
	}
	if err := admin.Apply(t.Context(), p, broker.ApplyOptions{Overwrite: true}); err != nil {
		t.Fatal(err)
	}
	if u, err := w.store.User(t.Context(), "dora"); err != nil || u.Enabled {
		t.Errorf("dora is %+v, %v", u, err)
	}
	// A file without users says nothing of users.
	without := rules[:strings.Index(rules, "users:")]
	p, err = admin.Plan(t.Context(), parse(t, without), true)
	if err != nil || len(p.Users) != 0 {
		t.Errorf("plan %+v, %v", p, err)
	}
}

// Users are told of the end of their access 7 days and 1 day before it, of the
// end as it is then, and the owner is told of an application's.
func TestExpiryNotices(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	do(t, admin, "user renew alice --until 30d", "user renew bob --until 3d", "user add ci --owner alice --until 8d")
	w.due(t)
	told := func() (lines []string) {
		t.Helper()
		w.teller.told = nil
		w.due(t)
		for _, telling := range w.teller.told {
			if telling.Kind != broker.NoticeExpiring {
				continue
			}
			for _, n := range telling.Notices {
				left := n.About.Sub(w.Now().Truncate(time.Hour))
				lines = append(lines, fmt.Sprintf("%s of %s, %s left", telling.To.Name, telling.User.Name, left.Truncate(24*time.Hour)))
			}
		}
		return lines
	}
	advance := func(days int, want ...string) {
		t.Helper()
		w.advance(time.Duration(days) * 24 * time.Hour)
		if diff := cmp.Diff(want, told()); diff != "" {
			t.Errorf("day %s (-want +got):\n%s", w.Now().Sub(began), diff)
		}
	}
	advance(1, "alice of ci, 168h0m0s left")     // day 1
	advance(1, "bob of bob, 24h0m0s left")       // day 2
	advance(0)                                   // once
	advance(5, "alice of ci, 24h0m0s left")      // day 7
	advance(15)                                  // day 22
	advance(1, "alice of alice, 168h0m0s left")  // day 23
	do(t, admin, "user renew alice --until 30d") // until day 53
	advance(6)                                   // day 29: renewed
	advance(17, "alice of alice, 168h0m0s left") // day 46
	do(t, admin, "user disable alice")           //
	advance(6)                                   // day 52: switched off
	if u, err := w.store.User(t.Context(), "alice"); err != nil || len(u.Trail.Notices) != 0 {
		t.Errorf("alice: %+v, %v", u.Trail, err)
	}
	do(t, admin, "user enable alice", "user renew alice --until 10d", "user remove alice")
	advance(9)
}
