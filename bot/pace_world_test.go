package bot_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// TestFormSaysHowSoon has three requests answered, and looks at the form after
// each. A command that lacks its ticket opens the same.
func TestFormSaysHowSoon(t *testing.T) {
	w := newApprovalWorld(t)
	form := func() string {
		t.Helper()
		w.sends("U1", "")
		w.work() // what was not known to the View
		text := w.chooses("U1", "one")
		if _, err := w.CloseView(t.Context(), "U1", w.modal("U1").ID); err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(bare(text)), " ")
	}
	for _, c := range []struct {
		answer func()
		after  time.Duration
		want   string
	}{
		{func() {}, 0, "Needs 1 approval from leads. For how long"},
		{func() { w.votes(t, "U4", "approve") }, 4 * time.Minute, "Needs 1 approval from leads. For how long"},
		{func() {}, 2 * time.Hour, "Needs 1 approval from leads. For how long"}, // and lapses
		{func() { w.votes(t, "U5", "approve") }, 50 * time.Minute, "Needs 1 approval from leads. For how long"},
		{func() { w.votes(t, "U6", "approve") }, 6 * time.Minute, "Needs 1 approval from leads; usually answered in 6 min. For how long"},
	} {
		w.asksFor(t, "one 1h INC-1 x")
		w.clock.add(c.after)
		c.answer()
		w.passOn(t)
		has(t, form(), c.want)
	}
	w.types("U1", "one 1h")
	has(t, w.shownTo("U1"), "usually answered in 6 min")
}

// paceless is a Reader that cannot read how soon requests are answered.
type paceless struct{ broker.Reader }

func (paceless) Pace(context.Context, policy.RoleName) (broker.Pace, error) {
	return broker.Pace{}, errors.New("the store is down")
}

// TestFormDoesWithout shows the form where only that cannot be read.
func TestFormDoesWithout(t *testing.T) {
	w := newApprovalWorld(t)
	w.types("U1", "whoami")
	w.front.View.Reader = paceless{w.store}
	w.sends("U1", "")
	has(t, bare(w.chooses("U1", "one")), "Needs 1 approval from leads. For how long")
	if !strings.Contains(w.log.String(), "could not read how soon a role's requests are answered") {
		t.Error("nobody is told why")
	}
}
