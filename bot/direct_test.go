package bot_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

// now is a message as it stands now.
func (w *world) now(t *testing.T, m sandbox.Message) sandbox.Message {
	t.Helper()
	for _, other := range w.Channel(m.Channel) {
		if other.TS == m.TS {
			return other
		}
	}
	t.Fatal("the message is gone")
	return sandbox.Message{}
}

// tellRefresh follows the message that tells a requester to reveal, to each end
// that their request can have. The button goes, and what they are told besides
// comes as ever.
func tellRefresh(t *testing.T, begin beginning) {
	again := "If you still need it, ask again: /starback one"
	for name, c := range map[string]struct {
		ends func(*testing.T, *world, broker.Request)
		says []string // in the message
		told int      // messages besides
	}{
		"withdrawn": {func(t *testing.T, w *world, r broker.Request) {
			has(t, w.late(t, "U1", "withdraw", r.ID), "is withdrawn.")
		}, []string{"☑️ Your request for one in prod (111122223333) is withdrawn."}, 0},
		"lapsed": {func(_ *testing.T, w *world, _ broker.Request) { w.clock.add(time.Hour) },
			[]string{"⌛ Your request for one", "has lapsed: approved by lea, and not revealed in time.", again}, 1},
		"ended": {func(t *testing.T, w *world, _ broker.Request) {
			has(t, bare(w.asks(t, "U2", "end user alice")), "alice")
		}, []string{"⚠️ Your request for one", "does not hold any more: it was ended, with all that you held."}, 1},
		"void": {func(t *testing.T, w *world, _ broker.Request) {
			w.apply(strings.Replace(approvalPolicy, "starback/Admin", "starback/Owner", 1))
			w.does(t, "U1", w.direct(t, "U1"), "reveal", "")
		}, []string{"⚠️ Your request for one", "does not hold any more: an approval does not count any more.", again}, 1},
		"over": {func(t *testing.T, w *world, _ broker.Request) {
			w.does(t, "U1", w.direct(t, "U1"), "reveal", "")
			w.clock.add(2 * time.Hour)
		}, []string{"☑️ Your request for one", "is over since", again}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			w.endsThrough(&revoker{})
			w.asksFor(t, "one 1h INC-1 x")
			w.votes(t, "U4", "approve")
			dm := w.direct(t, "U1")
			has(t, w.shows(dm), "[ Reveal ]")
			r := w.stored(t, w.post(t))
			before := len(w.Channel(dm.Channel))
			c.ends(t, w, r)
			w.passOn(t)
			w.passOn(t)
			has(t, w.shows(w.now(t, dm)), c.says...)
			if text := w.shows(w.now(t, dm)); strings.Contains(text, "Reveal ]") || strings.Contains(text, "Renew ]") {
				t.Errorf("a button stays:\n%s", text)
			}
			if got := len(w.Channel(dm.Channel)) - before; got != c.told {
				t.Errorf("%d messages besides, want %d", got, c.told)
			}
		})
	}
}

// TestRefreshFails holds that a message that is gone, or cannot be changed any
// more, is no failure, and that everything else is tried again.
func TestRefreshFails(t *testing.T) {
	for name, c := range map[string]struct {
		fault sandbox.SlackFault
		again bool
	}{
		"it was deleted":           {sandbox.SlackFault{Error: "message_not_found"}, false},
		"it is another bot's":      {sandbox.SlackFault{Error: "cant_update_message"}, false},
		"it is too old":            {sandbox.SlackFault{Error: "edit_window_closed"}, false},
		"there is nobody any more": {sandbox.SlackFault{Error: "channel_not_found"}, false},
		"Slack is down":            {sandbox.SlackFault{Status: http.StatusServiceUnavailable}, true},
		"Slack asks for patience":  {sandbox.SlackFault{Status: http.StatusTooManyRequests, RetryAfter: time.Minute}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newApprovalWorld(t)
			w.asksFor(t, "one 1h INC-1 x")
			w.votes(t, "U4", "approve")
			dm, r := w.direct(t, "U1"), w.stored(t, w.post(t))
			if _, err := w.broker.Withdraw(t.Context(), r.Slack, r.ID, w.clock.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			w.SetFault(func(method string) *sandbox.SlackFault {
				if method == "chat.update" {
					return &c.fault
				}
				return nil
			})
			if err := w.due(); err != nil && !errors.Is(err, broker.ErrUnavailable) {
				t.Fatal(err)
			}
			w.SetFault(nil)
			left := false
			for _, n := range w.stored(t, w.post(t)).Trail.Notices {
				left = left || n.Kind == broker.NoticeOver
			}
			if left != c.again {
				t.Errorf("it is tried again: %v, want %v", left, c.again)
			}
			w.clock.add(2 * time.Minute)
			w.passOn(t)
			if withdrawn := strings.Contains(w.shows(w.now(t, dm)), "is withdrawn."); withdrawn != c.again {
				t.Errorf("it says so in the end: %v", withdrawn)
			}
		})
	}
}
