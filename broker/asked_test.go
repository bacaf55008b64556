package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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
		if telling.Kind == broker.NoticeApproval || telling.Kind == broker.NoticeRemind || telling.Kind == broker.NoticeEscalate {
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

// escalating is a world in which Bob has asked for a role whose rule for
// approval is this one, of two hours.
func escalating(t *testing.T, rule string) (*world, broker.Request) {
	t.Helper()
	w := newWorld(t)
	w.apply(t, replace(approvals, "approval: {by: [leads], within: 2h, claim_within: 1h}", "approval: {within: 2h, "+rule+"}"))
	ask := w.ask("1", "guarded")
	ask.Caller = bob
	_, err := w.Issue(t.Context(), ask)
	var waiting *broker.Waiting
	if !errors.As(err, &waiting) {
		t.Fatalf("err = %v", err)
	}
	return w, waiting.Request
}

// A second group may answer from the beginning, and is asked to once the first
// has had its time.
func TestEscalation(t *testing.T) {
	w, r := escalating(t, "by: [leads], escalate_to: [admins], escalate_after: 40m")
	if got := w.asked(t); got != "ida lea mia of 4" {
		t.Errorf("asked at first: %s", got)
	}
	w.advance(39 * time.Minute)
	if got := w.asked(t); got != "ida lea mia of 4" {
		t.Errorf("reminded: %s", got)
	}
	w.advance(time.Minute)
	if got := w.asked(t); got != "ida lea mia root of 4" {
		t.Errorf("escalated: %s", got)
	}
	if r := w.approve(t, person("UROOT"), r); r.State != broker.StateApproved {
		t.Errorf("request %+v", r)
	}
}

// It escalates once, and not to remind as well; and not at all what was answered.
func TestEscalatesOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer bool
		want   string
	}{
		{"unanswered", false, "remind remind escalate"},
		{"answered", true, ""},
	} {
		w, r := escalating(t, "by: [leads], escalate_to: [admins]") // after half of the time
		w.due(t)
		if tt.answer {
			w.approve(t, lea, r)
		}
		w.teller.told = nil
		var kinds []string
		for range 7 {
			w.advance(15 * time.Minute)
			w.due(t)
		}
		for _, telling := range w.teller.told {
			if telling.Kind == broker.NoticeRemind || telling.Kind == broker.NoticeEscalate {
				kinds = append(kinds, string(telling.Kind))
			}
		}
		if got := strings.Join(kinds, " "); got != tt.want {
			t.Errorf("%s: told %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Whoever is in a group that is not asked yet counts among those who could
// answer, and a group that nobody is in counts for nothing.
func TestEscalationOfNobody(t *testing.T) {
	w, _ := escalating(t, "by: [dev], escalate_to: [leads], escalate_after: 40m")
	w.change(t, "alice", func(u *broker.User) { u.Groups = nil })
	w.change(t, "erin", func(u *broker.User) { u.Groups = nil })
	if got := w.asked(t); got != " of 3" {
		t.Errorf("asked at first: %s", got)
	}
	w.advance(40 * time.Minute)
	if got := w.asked(t); got != "ida lea mia of 3" {
		t.Errorf("escalated: %s", got)
	}
}
