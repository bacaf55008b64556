package bot_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// TestWhy asks for explanations of one's own access.
func TestWhy(t *testing.T) {
	w := newAdminWorld(t, false)
	expire := broker.Change{Op: broker.OpGrantAdd, Role: "staging-admin", Users: []policy.UserName{"alice"}, Until: broker.When{For: time.Hour}}
	if _, err := w.admin("root").Do(t.Context(), expire); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, user, text string
		want             []string
	}{
		{"held", "U1", "prod-readonly", []string{"✅ You may ask for `prod-readonly`, for up to 8h.", "(rule `grant.held`)", "`alice ∈ dev → prod-readonly` until"}},
		{"by a cascade", "U2", "Prod-Readonly", []string{"✅ You may", "`bob ∈ sre → prod-admin → includes prod-readonly` until"}},
		{"with conditions", "U2", "prod-admin", []string{"✅ You may", "A request needs: - a ticket that matches `[A-Z]+-[0-9]+`"}},
		{"with approval", "U1", "staging-admin", []string{"⏳ You may ask for `staging-admin`, for up to 1h, but it needs approval", "1 approval from sre (not your own)"}},
		{"never granted", "U1", "prod-admin", []string{"There is no role `prod-admin` that you may ask for."}},
		{"not there", "U1", "prod-admix", []string{"There is no role `prod-admix` that you may ask for."}},
		{"a near miss", "U1", "prod-readnoly", []string{"Did you mean `prod-readonly`?"}},
		{"no role", "U1", "", []string{"Why which role? You may ask for `prod-readonly`, `staging-admin`."}},
		{"too long", "U1", strings.Repeat("x", 65), []string{"the name of a role has at most 63"}},
		{"unknown", "U3", "prod-readonly", []string{"Starback does not know you yet.", "Your Slack id is `T0SANDBOX/U3`"}},
		{"unknown, no role", "U3", "", []string{"Starback does not know you yet."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(w.Seen(c.user))
			has(t, w.types(c.user, "why "+c.text), c.want...)
			if got := len(w.Seen(c.user)) - before; got != 1 {
				t.Errorf("%d messages", got)
			}
		})
	}
	w.clock.add(2 * time.Hour)
	has(t, w.types("U1", "why staging-admin"), "⛔ You may not ask for `staging-admin`.", "(rule `grant.expired`)", "ended", "renew the grant of staging-admin to the user")
}

// TestWhyGivesNothingAway holds that a role somebody was never granted gets
// word for word the answer of one that does not exist, and of a request.
func TestWhyGivesNothingAway(t *testing.T) {
	w := newAdminWorld(t, false)
	hidden := w.types("U1", "why prod-admin")
	missing := strings.ReplaceAll(w.types("U1", "why nope-admin"), "nope-admin", "prod-admin")
	if hidden != missing {
		t.Errorf("one that is there:\n%s\none that is not:\n%s", hidden, missing)
	}
	if refused := w.types("U1", "prod-admin"); !strings.HasPrefix(refused, hidden) {
		t.Errorf("a request is refused with:\n%s\nand why says:\n%s", refused, hidden)
	}
}

// TestEnding tells people that their access ends: a week before, and a day
// before; and an application's owner.
func TestEnding(t *testing.T) {
	w := newAdminWorld(t, false)
	ask := func(text string) { t.Helper(); has(t, w.asks(t, "U1", text), "✅") }
	ask("user renew bob --until 2026-12-03")
	ask("user renew ci-deploy --until 2026-12-03")
	w.passOn(t)
	if n := len(w.Seen("U2")); n != 0 {
		for _, m := range w.Seen("U2") {
			if strings.HasPrefix(m.Channel, "D") {
				t.Fatal("told too early")
			}
		}
	}
	w.clock.now = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	w.passOn(t)
	told := w.told("U2")
	if len(told) != 2 {
		t.Fatalf("told %q", told)
	}
	has(t, strings.Join(told, "\n"), "Your access to Starback ends Dec 4 at 12:00 AM (within 7 days). To keep it, ask an administrator to type `/starback admin user renew bob`.",
		"The access to Starback of `ci-deploy`, an application that you answer for, ends Dec 4 at 12:00 AM (within 7 days).")

	// Renewed, there is no second word.
	ask("user renew bob --until 2026-12-30")
	ask("user renew ci-deploy --until 2026-12-30")
	ask("user renew bob --until 2026-12-03")
	w.clock.now = time.Date(2026, 12, 3, 0, 0, 0, 0, time.UTC)
	w.passOn(t)
	told = w.told("U2")
	if len(told) != 3 {
		t.Fatalf("told %q", told)
	}
	has(t, told[2], "Your access to Starback ends tomorrow at 12:00 AM (within 24 hours).")
}

// told are the direct messages to a user, rendered.
func (w *world) told(user string) (texts []string) {
	for _, m := range w.Seen(user) {
		if strings.HasPrefix(m.Channel, "D") {
			texts = append(texts, sandbox.Text(m, w.RenderOptions()))
		}
	}
	return texts
}

// TestEndingUndeliverable has Slack refuse the message: one refused for good
// counts as told, and any other is tried again.
func TestEndingUndeliverable(t *testing.T) {
	user := broker.User{Name: "alice", Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Slack: broker.SlackID{Team: "T0SANDBOX", User: "U1"}}
	telling := broker.Telling{Kind: broker.NoticeExpiring, User: &user, To: &user, Notices: []broker.Notice{{About: user.Expires, Due: user.Expires.AddDate(0, 0, -7)}}}
	w := newWorld(t, store.SQLiteOptions{})
	for _, c := range []struct {
		fault sandbox.SlackFault
		want  error // nil: it counts as told
	}{
		{sandbox.SlackFault{Error: "user_disabled"}, nil},
		{sandbox.SlackFault{Error: "cannot_dm_bot"}, nil},
		{sandbox.SlackFault{Error: "channel_not_found"}, nil},
		{sandbox.SlackFault{Error: "invalid_auth"}, broker.ErrUnavailable},
		{sandbox.SlackFault{Error: "msg_blocks_too_long"}, broker.ErrUnavailable},
		{sandbox.SlackFault{Status: 503}, broker.ErrUnavailable},
		{sandbox.SlackFault{Drop: true}, broker.ErrUnavailable},
	} {
		t.Run(fmt.Sprint(c.fault), func(t *testing.T) {
			w.fails(c.fault, "chat.postMessage")
			if _, err := w.client.Tell(t.Context(), telling); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	w.fails(sandbox.SlackFault{RetryAfter: 7 * time.Second}, "chat.postMessage")
	var patience *broker.Patience
	if _, err := w.client.Tell(t.Context(), telling); !errors.As(err, &patience) || patience.After != 7*time.Second {
		t.Errorf("%v", err)
	}
	if told := w.told("U1"); len(told) != 0 {
		t.Errorf("told %q", told)
	}
}
