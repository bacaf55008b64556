package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/starback/starback/broker"
)

// asked says whom the newest Telling for approvers asks, and how many could
// answer.
func (w *world) asked(t *testing.T) string {
	t.Helper()
	w.teller.told = nil
	w.due(t)
	said := "nobody is told"
	for _, telling := range w.teller.told {
		if telling.Kind == broker.NoticeApproval || telling.Kind == broker.NoticeRemind {
			var names []string
			for _, u := range telling.Approvers {
				names = append(names, string(u.Name))
			}
			said = fmt.Sprintf("%s of %d", strings.Join(names, " "), telling.Able)
		}
	}
	return said
}

// Whoever could not answer, for what Slack says of them, is not asked.
func TestWhoIsAsked(t *testing.T) {
	says := func(who broker.SlackID, what ...broker.Standing) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for _, s := range what {
				if err := w.StandingChanged(t.Context(), who, s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	knows := func(s broker.Standing) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) { w.directory.profile.Standing = s }
	}
	for _, tt := range []struct {
		name  string
		first func(*testing.T, *world)
		want  string
	}{
		{"all of the group", func(*testing.T, *world) {}, "ida lea mia of 3"},
		{"one has become a guest", says(lea, broker.Guest), "ida mia of 2"},
		{"one has left", says(mia, broker.Deleted), "ida lea of 2"},
		{"one is a bot", says(mia, broker.Bot), "ida lea of 2"},
		{"one is of another workspace now", says(mia, broker.Foreign), "ida lea of 2"},
		{"a guest who is a member again", says(lea, broker.Guest, broker.Active), "ida lea mia of 3"},
		{"all are guests", knows(broker.Guest), " of 0"},
		{"Slack knows nobody of them", knows(""), " of 0"},
		{"one is disabled", func(t *testing.T, w *world) { do(t, w.admin(w.tap), "user disable ida") }, "lea mia of 2"},
		{"one has no account", func(t *testing.T, w *world) {
			w.change(t, "ida", func(u *broker.User) { u.Slack = broker.SlackID{} })
		}, "lea mia of 2"},
		{"Slack does not say", func(_ *testing.T, w *world) { w.directory.err = errDown }, "ida lea mia of 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := pending(t, "guarded")
			tt.first(t, w)
			if got := w.asked(t); got != tt.want {
				t.Errorf("asked: %q, want %q", got, tt.want)
			}
		})
	}
}

// Slack is asked once of somebody of whom it has said nothing yet.
func TestStandingIsAskedOnce(t *testing.T) {
	w, r := pending(t, "doubly")
	before := len(w.directory.asked)
	w.asked(t)
	w.approve(t, lea, r)
	if got := w.asked(t); got != "ida mia of 2" {
		t.Errorf("asked: %q", got)
	}
	if n := len(w.directory.asked) - before; n != 3 {
		t.Errorf("Slack was asked %d times of three", n)
	}
}
