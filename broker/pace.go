package broker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/starback/starback/broker/policy"
)

const (
	// paceKept is how many answers a Pace keeps. Our own choice.
	paceKept = 20
	// paceFrom is how many answers make a habit: of fewer, nothing is said.
	paceFrom = 3
)

// A Pace is how long people took of late to answer what was asked of a Role. It
// is told to whoever asks, and decides nothing. It is one item.
type Pace struct {
	Role    policy.RoleName `json:"role"`
	Answers []PaceAnswer    `json:"answers,omitempty"` // the newest, the oldest of them first
	Version int64           `json:"-"`                 // 0: not stored yet
}

// A PaceAnswer is a Request that people have approved or denied.
type PaceAnswer struct {
	RequestID string        `json:"request_id"`
	At        time.Time     `json:"at"`   // when the last of them did
	Took      time.Duration `json:"took"` // since it was asked
}

// count adds an answer, and says whether that makes a difference. However often
// and in whatever order answers are counted, the newest are kept, each once.
func (p *Pace) count(a PaceAnswer) bool {
	if slices.ContainsFunc(p.Answers, func(b PaceAnswer) bool { return b.RequestID == a.RequestID }) {
		return false
	}
	all := append(slices.Clone(p.Answers), a)
	slices.SortFunc(all, func(a, b PaceAnswer) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.RequestID, b.RequestID))
	})
	p.Answers = all[max(0, len(all)-paceKept):]
	return len(all) <= paceKept || all[0].RequestID != a.RequestID
}

// Usual is how long an answer usually takes: the median. It is zero where there
// are too few to tell.
func (p Pace) Usual() time.Duration {
	n := len(p.Answers)
	if n < paceFrom {
		return 0
	}
	var took []time.Duration
	for _, a := range p.Answers {
		took = append(took, a.Took)
	}
	slices.Sort(took)
	return (took[(n-1)/2] + took[n/2]) / 2
}

// Pace returns the Pace of a Role.
func (b *Broker) Pace(ctx context.Context, role policy.RoleName) (Pace, error) {
	return b.Paces.Pace(ctx, role)
}

// pace has the sweep count how long it took until people had answered.
func (r *Request) pace(now time.Time) {
	r.Trail.Notices = append(r.Trail.Notices, Notice{ID: "pace", Kind: NoticePace, Due: now})
}

// keepPace counts how long people took to answer a Request.
func (b *Broker) keepPace(ctx context.Context, r Request) error {
	if len(r.Approvals) == 0 {
		return nil
	}
	last := r.Approvals[len(r.Approvals)-1].At
	for range changeTries {
		p, err := b.Paces.Pace(ctx, r.Role)
		if err != nil {
			return err
		}
		p.Role = r.Role
		if !p.count(PaceAnswer{RequestID: r.ID, At: last, Took: last.Sub(r.AskedAt)}) {
			return nil
		}
		if _, err = b.Paces.PutPace(ctx, p); !isConflict(err) {
			return err
		}
	}
	return fmt.Errorf("the pace of %s keeps changing: %w", r.Role, ErrConflict)
}
