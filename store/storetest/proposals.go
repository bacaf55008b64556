package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// testProposals tests the changes that wait for a second administrator.
func testProposals(t *testing.T, open func(*testing.T) Store) {
	testKind(t, open, func(s Store) kind[broker.Proposal] {
		return kind[broker.Proposal]{
			put:   s.PutProposal,
			get:   func(ctx context.Context) (broker.Proposal, error) { return s.Proposal(ctx, "01P") },
			fresh: func() broker.Proposal { return aProposal("01P") },
			mark:  func(p *broker.Proposal, w string) { p.AnswerBy += " " + w },
			marks: func(p broker.Proposal) []string {
				return strings.Fields(p.AnswerBy)
			},
			version: func(p *broker.Proposal) *int64 { return &p.Version },
		}
	})
	cases(t, open, []promise{
		{"none are listed at first", func(t *testing.T, s Store) {
			if all := proposals(t, s); len(all) != 0 {
				t.Errorf("there are %d", len(all))
			}
		}},
		{"all of them in order of ID, whatever has become of them", func(t *testing.T, s Store) {
			states := []broker.ProposalState{
				broker.ProposalWaiting, broker.ProposalConfirmed, broker.ProposalDone, broker.ProposalRejected,
			}
			want := make([]broker.Proposal, 50)
			together(len(want), func(i int) {
				p := aProposal(fmt.Sprintf("01P%03d", i))
				p.State = states[i%len(states)]
				var err error
				if want[i], err = s.PutProposal(t.Context(), p); err != nil {
					t.Error(err)
				}
			})
			wantSame(t, proposals(t, s), want)
			want[7].State = broker.ProposalRejected
			want[7] = must(s.PutProposal(t.Context(), want[7]))(t)
			wantSame(t, proposals(t, s), want)
		}},
		{"listing stops when told to, and may change what it lists", func(t *testing.T, s Store) {
			for _, id := range []string{"01C", "01A", "01B"} {
				must(s.PutProposal(t.Context(), aProposal(id)))(t)
			}
			var ids []string
			wantNoErr(t, s.Proposals(t.Context(), func(p broker.Proposal) bool {
				p.State = broker.ProposalDone
				must(s.PutProposal(t.Context(), p))(t)
				ids = append(ids, p.ID)
				return len(ids) < 2
			}))
			wantSame(t, ids, []string{"01A", "01B"})
			if got := must(s.Proposal(t.Context(), "01B"))(t).State; got != broker.ProposalDone {
				t.Errorf("state %q, want %q", got, broker.ProposalDone)
			}
		}},
	})
}

// proposals lists all of them.
func proposals(t *testing.T, s Store) (all []broker.Proposal) {
	t.Helper()
	wantNoErr(t, s.Proposals(t.Context(), func(p broker.Proposal) bool {
		all = append(all, p)
		return true
	}))
	return all
}

// aProposal is a change that alice wants.
func aProposal(id string) broker.Proposal {
	return broker.Proposal{
		ID: id, Change: broker.Change{Op: broker.OpGrantAdd, Role: "prod-admin", Until: broker.When{For: time.Hour}},
		Author: "alice", User: "alice", MadeAt: clock, Expires: clock.Add(72 * time.Hour), State: broker.ProposalWaiting,
		Trail: broker.Trail{Events: []broker.Event{anEvent("e1")}, Notices: []broker.Notice{aNotice("n1", clock)}},
	}
}
