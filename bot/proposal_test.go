package bot_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

const formType = "application/x-www-form-urlencoded"

// proposes has an administrator ask for what benefits them, and returns what
// waits for another then.
func (w *world) proposes(t *testing.T, user string) broker.Proposal {
	t.Helper()
	has(t, w.asks(t, user, "grant add staging-admin --group platform"), "this benefits you, so it waits for another administrator to confirm it", "Nothing was changed yet.")
	open, err := w.admin("root").OpenProposals(t.Context())
	if err != nil || len(open) != 1 {
		t.Fatalf("%d proposals, %v", len(open), err)
	}
	return open[0]
}

// clickBody is a click on a button by somebody of the workspace.
func clickBody(user, slackURL, action string) string {
	return url.Values{"payload": {fmt.Sprintf(`{"type":"block_actions","team":{"id":"T0SANDBOX"},"user":{"id":%q,"team_id":"T0SANDBOX"},"channel":{"id":"C1"},
		"trigger_id":"9.%s","response_url":%q,"actions":[{"action_id":%q}]}`, user, action, slackURL+"/actions/none", action)}}.Encode()
}

// clicks has a user press a button, wherever they see it.
func (w *world) clicks(t *testing.T, user, action string) {
	t.Helper()
	if code := w.posts(bot.PathInteractions, formType, clickBody(user, w.url, action)); code != 200 {
		t.Fatalf("status %d", code)
	}
	w.work()
}

// pressesAudit has a user press a button of the last message of the audit
// channel that has it, and returns what they see last.
func (w *world) pressesAudit(t *testing.T, user, action string) string {
	t.Helper()
	var with *sandbox.Message
	for _, m := range w.Channel("C9") {
		if strings.Contains(string(m.Blocks), action) {
			with = &m
		}
	}
	if with == nil {
		t.Fatalf("no message has the button %s", action)
	}
	if ack, err := w.Click(t.Context(), user, *with, action); err != nil || ack.Problem != "" {
		t.Fatalf("%s: %s, %v", action, ack.Problem, err)
	}
	w.work()
	return w.sees(user)
}

// TestProposal follows a change that benefits its author from the command to
// the second administrator's button.
func TestProposal(t *testing.T) {
	w := newAdminWorld(t, true)
	p := w.proposes(t, "U1")
	w.passOn(t)
	messages, _ := audit(w)
	has(t, messages[len(messages)-1], "# ⚠️ A change waits for a second administrator", "@here This benefits its author alice: alice gains staging-admin",
		"grant add. Another administrator must confirm it:", "*By* alice", "[* Confirm *]", "[! Reject !]")

	has(t, w.pressesAudit(t, "U2", "confirm:"+p.ID), "Only administrators of Starback can do that")
	has(t, w.pressesAudit(t, "U3", "reject:"+p.ID), "Starback does not know you yet.")
	w.clicks(t, "U1", "confirm:"+p.ID)
	has(t, w.sees("U1"), "That cannot be done.", "This needs another administrator than alice, who wants it.")
	has(t, w.asks(t, "U4", "can dana staging-admin"), "⛔")

	has(t, w.pressesAudit(t, "U4", "confirm:"+p.ID), "✅ `grant add`: done.", "staging-admin", "confirmed by you")
	has(t, w.asks(t, "U1", "can dana staging-admin"), "it needs approval")
	w.passOn(t)
	messages, replies := audit(w)
	all := strings.Join(messages, "\n")
	has(t, all, "✅ A proposed change was confirmed and carried out", "*Answered by* dana", "The policy was changed by a command", "confirmed by dana")
	has(t, strings.Join(replies, "\n"), "A proposed change was confirmed", "*By* dana")
	if strings.Contains(all, "Confirm *]") {
		t.Errorf("there is a button left:\n%s", all)
	}

	// Pressed once more by the same, and by another.
	w.clicks(t, "U4", "confirm:"+p.ID)
	has(t, w.sees("U4"), "You have confirmed this, and it was carried out.")
	w.clicks(t, "U4", "reject:"+p.ID)
	has(t, w.sees("U4"), "That cannot be done.", "This was done by dana already.")
	if got := w.mint.made; got != 0 {
		t.Errorf("%d credentials were made", got)
	}
}

// passOn passes on what is due until nothing is.
func (w *world) passOn(t *testing.T) {
	t.Helper()
	for range 3 {
		if err := w.due(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRejectedProposal(t *testing.T) {
	w := newAdminWorld(t, true)
	p := w.proposes(t, "U1")
	has(t, w.asks(t, "U4", "changes"), "1 change waits for a second administrator.", "alice wants grant add:", "alice gains staging-admin", "[! Reject !]")
	has(t, w.presses("U4", "reject:"+p.ID), "You have rejected this, and nothing was changed.")
	has(t, w.asks(t, "U4", "change reject "+p.ID[16:]), "You have rejected this, and nothing was changed.")
	has(t, w.asks(t, "U4", "change confirm "+p.ID[16:]), "This was rejected by dana already.")
	has(t, w.asks(t, "U4", "changes"), "No change waits")
	// It was answered before anybody was told: there is nothing to press.
	w.passOn(t)
	messages, replies := audit(w)
	has(t, messages[len(messages)-1], "A change waits for a second administrator")
	has(t, strings.Join(replies, "\n"), "A proposed change was rejected", "*By* dana")
	if strings.Contains(messages[len(messages)-1], "Confirm *]") {
		t.Error("there is a button left")
	}
}

// TestOwnProposal takes a proposal back, and asks for it anew.
func TestOwnProposal(t *testing.T) {
	w := newAdminWorld(t, true)
	p := w.proposes(t, "U1")
	has(t, w.asks(t, "U1", "change reject "+strings.ToLower(p.ID)), "You have rejected this")
	if again := w.proposes(t, "U1"); again.ID == p.ID {
		t.Error("the rejected proposal waits again")
	}
}

func TestLapsedProposal(t *testing.T) {
	w := newAdminWorld(t, true)
	p := w.proposes(t, "U1")
	w.passOn(t)
	w.clock.add(72 * time.Hour)
	has(t, w.pressesAudit(t, "U4", "confirm:"+p.ID), "This lapsed at 2026-11-26 12:00 UTC; it has to be asked for again.")
	messages, _ := audit(w)
	has(t, strings.Join(messages, "\n"), "⌛ A proposed change was not answered in time, and lapsed")
}

// TestRepeatedProposal carries a command out twice, which must not wait twice.
func TestRepeatedProposal(t *testing.T) {
	w := newAdminWorld(t, true)
	job := w.claims(t, "U1", "admin grant add staging-admin --group platform --until 30d")
	for range 2 {
		if err := w.worker.Do(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		has(t, w.sees("U1"), "it waits for another administrator to confirm it")
		w.clock.add(time.Minute)
	}
	if open, err := w.admin("root").OpenProposals(t.Context()); err != nil || len(open) != 1 {
		t.Errorf("%d proposals, %v", len(open), err)
	}
	// Somebody else's is another.
	has(t, w.asks(t, "U4", "grant add staging-admin --group platform --until 30d"), "it waits for another administrator")
	if open, err := w.admin("root").OpenProposals(t.Context()); err != nil || len(open) != 2 {
		t.Errorf("%d proposals, %v", len(open), err)
	}
}

// TestImpossibleProposal confirms what cannot be carried out any more.
func TestImpossibleProposal(t *testing.T) {
	w := newAdminWorld(t, true)
	has(t, w.asks(t, "U1", "grant add staging-admin --group second"), "done.")
	has(t, w.asks(t, "U1", "group add-member second alice"), "it waits for another administrator")
	open, err := w.admin("root").OpenProposals(t.Context())
	if err != nil || len(open) != 1 {
		t.Fatalf("%d proposals, %v", len(open), err)
	}
	has(t, w.asks(t, "U4", "group remove second"), "done.")
	has(t, w.asks(t, "U4", "change confirm "+open[0].ID), "That cannot be done.", "There is no group second.", "confirmed, but not carried out")
}

// TestTellProposalAgain has the second of two posts fail: the first is not
// posted again.
func TestTellProposalAgain(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	event := func(id string, name broker.EventName) broker.Notice {
		return broker.Notice{ID: id, Kind: broker.NoticeAudit, Event: &broker.Event{ID: id, Event: name, Time: w.clock.Now(), Actor: "alice", ProposalID: "01JDCKQ0000000000000000001"}}
	}
	telling := broker.Telling{Kind: broker.NoticeAudit, Notices: []broker.Notice{event("1", broker.EventProposed), event("2", broker.EventRejected)}}
	posts := 0
	w.SetFault(func(string) *sandbox.SlackFault {
		if posts++; posts == 2 {
			return &sandbox.SlackFault{Status: 503}
		}
		return nil
	})
	thread, err := w.client.Tell(t.Context(), telling)
	if !errors.Is(err, broker.ErrUnavailable) || thread == "" {
		t.Fatalf("thread %q, %v", thread, err)
	}
	telling.Thread = thread
	if again, err := w.client.Tell(t.Context(), telling); err != nil || again != thread {
		t.Fatalf("thread %q, %v", again, err)
	}
	if messages, replies := audit(w); len(messages) != 1 || len(replies) != 1 {
		t.Errorf("%d messages and %d replies", len(messages), len(replies))
	}
}
