package broker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// proposalLife is how long a Proposal waits for a second administrator.
const proposalLife = 72 * time.Hour

// A Proposal is a Change that waits for a second administrator, since it
// benefits the one who wants it and the Policy asks for two.
type Proposal struct {
	ID       string          `json:"id"` // a ULID
	Change   Change          `json:"change"`
	Detail   []string        `json:"detail,omitempty"` // what changes, in words
	Benefit  string          `json:"benefit"`          // what it gives its author, in words
	Author   string          `json:"author"`           // as the trail names them
	User     policy.UserName `json:"user,omitempty"`   // the author's own
	MadeAt   time.Time       `json:"made_at"`
	Expires  time.Time       `json:"expires"` // when it lapses
	State    ProposalState   `json:"state"`
	AnswerBy string          `json:"answer_by,omitempty"`

	Version int64 `json:"-"` // 0: not stored yet
	Trail   Trail `json:"trail,omitzero"`
}

// A ProposalState is how far a Proposal has come.
type ProposalState string

// The states. A confirmed Proposal is carried out at once; one that was cut
// off there can be confirmed again.
const (
	ProposalWaiting   ProposalState = "waiting"
	ProposalConfirmed ProposalState = "confirmed"
	ProposalDone      ProposalState = "done"
	ProposalRejected  ProposalState = "rejected"
)

// Open says whether the Proposal can still be answered at now.
func (p Proposal) Open(now time.Time) bool {
	return (p.State == ProposalConfirmed || p.State == ProposalWaiting) && now.Before(p.Expires)
}

// propose writes down a Change for a second administrator. One that waits for
// the same is not made again.
func (a *Admin) propose(ctx context.Context, ch Change, s state, benefit string, now time.Time) (Proposal, error) {
	open, err := a.OpenProposals(ctx)
	if err != nil {
		return Proposal{}, err
	}
	for _, p := range open {
		if p.State == ProposalWaiting && p.Author == a.Author.Name && reflect.DeepEqual(p.Change, ch) && (&confirmation{of: p}).covers(s, benefit) {
			return p, nil
		}
	}
	p := Proposal{
		ID: a.newID(now), Change: ch, Detail: s.detail(), Benefit: benefit, Author: a.Author.Name, User: a.Author.User,
		MadeAt: now, Expires: now.Add(proposalLife), State: ProposalWaiting,
	}
	return a.putProposal(ctx, p, EventProposed, fmt.Sprintf("%s. Another administrator must confirm it: %s", ch.Op, strings.Join(shortened(p.Detail, 10), "; ")), now)
}

func (a *Admin) putProposal(ctx context.Context, p Proposal, name EventName, detail string, now time.Time) (Proposal, error) {
	e := Event{
		ID: a.newID(now), Event: name, Time: now, Actor: a.Author.Name, Slack: a.Author.Slack.String(),
		ProposalID: p.ID, Detail: detail, Outcome: OutcomeOK,
	}
	if name == EventProposed {
		e.Loud = fmt.Sprintf("This benefits its author %s: %s.", p.Author, p.Benefit)
	}
	p.Trail.Events, p.Trail.Notices = slices.Clone(p.Trail.Events), slices.Clone(p.Trail.Notices)
	p.Trail.add(e, now)
	stored, err := a.Proposals.PutProposal(ctx, p)
	a.news(err)
	return stored, err
}

// Proposal returns the Proposal whose ID is, or ends with, id: the last
// characters are enough where they are one's alone.
func (a *Admin) Proposal(ctx context.Context, id string) (Proposal, error) {
	id = strings.ToUpper(id)
	var found []Proposal
	if len(id) >= minProposalID {
		err := a.Proposals.Proposals(ctx, func(p Proposal) bool {
			if strings.HasSuffix(p.ID, id) {
				found = append(found, p)
			}
			return true
		})
		if err != nil {
			return Proposal{}, err
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Proposal{}, fmt.Errorf("there is no proposal %s: %w", id, ErrNotFound)
	default:
		return Proposal{}, fmt.Errorf("%d proposals end with %s; give more of it: %w", len(found), id, ErrInvalid)
	}
}

// minProposalID is how much of an ID names a Proposal at the least.
const minProposalID = 6

// OpenProposals returns the Proposals that wait for an answer, oldest first.
func (a *Admin) OpenProposals(ctx context.Context) ([]Proposal, error) {
	now := a.now()
	var open []Proposal
	err := a.Proposals.Proposals(ctx, func(p Proposal) bool {
		if p.Open(now) {
			open = append(open, p)
		}
		return true
	})
	return open, err
}

// Confirm carries out another administrator's Proposal, as things are now.
func (a *Admin) Confirm(ctx context.Context, id string) (Done, error) {
	p, err := a.answer(ctx, id, ProposalConfirmed, EventConfirmed)
	if err != nil {
		return Done{}, err
	}
	done, err := a.As(Author{Name: p.Author, User: p.User}).do(ctx, p.Change, &confirmation{by: a.Author.Name, of: p})
	if err != nil {
		return done, err
	}
	return done, a.carriedOut(ctx, p)
}

// A confirmation is a second administrator's yes, and to what.
type confirmation struct {
	by string
	of Proposal
}

// covers says whether the change that s comes to is the one that was agreed to.
func (c *confirmation) covers(s state, benefit string) bool {
	return slices.Equal(s.detail(), c.of.Detail) && benefit == c.of.Benefit
}

// carriedOut notes that a Proposal is, so that it is of no more use.
func (a *Admin) carriedOut(ctx context.Context, p Proposal) error {
	for range changeTries {
		p.State = ProposalDone
		stored, err := a.Proposals.PutProposal(ctx, p)
		if !isConflict(err) {
			return err // confirming it again changes nothing more
		}
		p = stored
	}
	return fmt.Errorf("proposal %s keeps changing: %w", p.ID, ErrConflict)
}

// Reject ends a Proposal: another administrator's, or one's own.
func (a *Admin) Reject(ctx context.Context, id string) (Proposal, error) {
	return a.answer(ctx, id, ProposalRejected, EventRejected)
}

// answer moves a Proposal on to a state.
func (a *Admin) answer(ctx context.Context, id string, to ProposalState, name EventName) (Proposal, error) {
	for range recordTries {
		now := a.now()
		p, err := a.Proposal(ctx, id)
		if err != nil {
			return Proposal{}, err
		}
		switch {
		case to == ProposalConfirmed && a.same(p):
			return Proposal{}, fmt.Errorf("this needs another administrator than %s, who wants it: %w", p.Author, ErrDenied)
		case p.State == ProposalConfirmed && to == ProposalConfirmed && p.Open(now):
			return p, nil // cut off before it was carried out
		case p.State == ProposalDone, p.State == ProposalRejected:
			return Proposal{}, fmt.Errorf("this was %s by %s already: %w", p.State, p.AnswerBy, ErrConflict)
		case !p.Open(now):
			return Proposal{}, fmt.Errorf("this lapsed at %s; it has to be asked for again: %w", day(p.Expires), ErrConflict)
		}
		p.State, p.AnswerBy = to, a.Author.Name
		stored, err := a.putProposal(ctx, p, name, string(p.Change.Op)+": "+strings.Join(shortened(p.Detail, 10), "; "), now)
		if !isConflict(err) {
			return stored, err
		}
	}
	return Proposal{}, errors.Join(fmt.Errorf("proposal %s keeps changing", id), ErrConflict)
}

// same says whether the author at work is the Proposal's own.
func (a *Admin) same(p Proposal) bool {
	return a.Author.Name == p.Author || a.Author.User != "" && a.Author.User == p.User
}
