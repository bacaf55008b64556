package bot

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// The action ids with which people answer or use a Request. The value is the
// Request's ID; that of a choice, the ID, a space and a duration.
const (
	actionApprove  = "approve"
	actionLess     = "approve_less" // a choice among shorter durations
	actionDeny     = "deny"
	actionWithdraw = "withdraw"
	actionReveal   = "reveal"
	actionRenew    = "renew"
	actionAskAgain = "ask_again" // opens the form, filled in with what came to nothing
)

// requestActions are all of them.
var requestActions = []string{actionApprove, actionLess, actionDeny, actionWithdraw, actionReveal, actionRenew, actionAskAgain}

// taken says whether pressing a button, or choosing from a menu, is something
// that a Worker carries out. Following a link is not.
func taken(action string) bool {
	_, shell := shellOf(action)
	_, answers := verdictOf(action)
	return shell || answers || slices.Contains(requestActions, action) || slices.Contains(sessionActions, action)
}

// onRequest carries out what somebody does about a Request.
func (w *Worker) onRequest(ctx context.Context, todo work) error {
	switch todo.Action {
	case actionWithdraw:
		return w.withdraw(ctx, todo)
	case actionReveal:
		return w.reveal(ctx, todo)
	case actionRenew:
		return w.renew(ctx, todo)
	case actionAskAgain: // for which no form could be opened: this says how to
		return w.answerAbout(ctx, todo, todo.requestID(), outcomeMessage)
	default:
		return w.answerRequest(ctx, todo)
	}
}

// answerRequest puts an approver's answer to a Request. Whoever sees the
// buttons can press them: who may answer is the broker's to say.
func (w *Worker) answerRequest(ctx context.Context, todo work) error {
	ans := broker.Answer{
		Caller: todo.Caller, RequestID: todo.requestID(), Yes: todo.Action != actionDeny, Reason: todo.Text, Key: todo.Key,
		Deadline: todo.Received.Add(jobPatience),
	}
	if todo.Action == actionLess {
		_, choice, _ := strings.Cut(todo.Value, " ")
		var err error
		if ans.Duration, err = policy.ParseDuration(choice); err != nil {
			return w.refused(ctx, todo, command{}, errors.Join(err, broker.ErrInvalid))
		}
	}
	r, err := w.Broker.Answer(ctx, ans)
	if err != nil {
		return w.refused(ctx, todo, command{}, err)
	}
	return w.answer(ctx, todo, answeredMessage(&r, ans))
}

// withdraw ends the person's own Request. What becomes of it stands in the
// place of the message with the button, which only they see.
func (w *Worker) withdraw(ctx context.Context, todo work) error {
	r, err := w.Broker.Withdraw(ctx, todo.Caller, todo.requestID(), todo.Received.Add(jobPatience))
	var settled *broker.Settled
	switch {
	case errors.As(err, &settled):
		r = settled.Request
	case err != nil:
		return w.refused(ctx, todo, command{}, err)
	}
	m := outcomeMessage(&r, w.Now())
	if err != nil {
		m = settledRequest(&r)
	}
	return w.bring(ctx, todo, m, true)
}

// reveal issues the first credentials of a Request that was approved.
func (w *Worker) reveal(ctx context.Context, todo work) error {
	issued, err := w.Broker.Reveal(ctx, todo.again())
	var already *broker.AlreadyIssued
	switch {
	case err == nil:
		err = w.hand(ctx, todo, issued, false)
	case errors.As(err, &already):
		err = w.answerAbout(ctx, todo, already.RequestID, revealedAlready)
	default:
		err = w.refused(ctx, todo, command{}, err)
	}
	if err == nil {
		w.refresh(ctx, todo)
	}
	return err
}

// renew issues further credentials in the window of a Request.
func (w *Worker) renew(ctx context.Context, todo work) error {
	issued, err := w.Broker.IssueAgain(ctx, todo.again())
	if err != nil {
		return w.refused(ctx, todo, command{}, err)
	}
	return w.hand(ctx, todo, issued, false)
}

// again is the ask for a Session of a Request that is there already.
func (w work) again() broker.AskAgain {
	return broker.AskAgain{Caller: w.Caller, RequestID: w.requestID(), Key: w.Key, Deadline: w.Received.Add(jobPatience)}
}

// answerAbout answers with what is to be said of one of the person's Requests as
// it is now.
func (w *Worker) answerAbout(ctx context.Context, todo work, id string, write func(*broker.Request, time.Time) message) error {
	r, err := w.theirs(ctx, todo, id)
	if err != nil {
		return w.refused(ctx, todo, command{}, err)
	}
	return w.answer(ctx, todo, write(&r, w.Now()))
}

// theirs reads a Request, which must be the person's own.
func (w *Worker) theirs(ctx context.Context, todo work, id string) (broker.Request, error) {
	r, err := w.Broker.Ledger.Request(ctx, id)
	switch {
	case errors.Is(err, broker.ErrNotFound), err == nil && r.Slack != todo.Caller:
		return broker.Request{}, broker.ErrNotFound
	case err != nil:
		return broker.Request{}, &broker.Fault{RequestID: id, Code: broker.FaultStore, Err: err}
	}
	return r, nil
}

// refresh puts how the Request stands in the place of the message with the
// Reveal button, once that has nothing more to reveal. Where it fails, the
// button answers how the Request stands.
func (w *Worker) refresh(ctx context.Context, todo work) {
	ctx = context.WithoutCancel(ctx)
	r, err := w.Broker.Ledger.Request(ctx, todo.requestID())
	if errors.Is(err, broker.ErrNotFound) || err == nil && (r.Slack != todo.Caller || r.State == broker.StateApproved) {
		return
	}
	if err == nil {
		var body []byte
		if body, err = outcomeMessage(&r, w.Now()).encode("", true); err == nil {
			err = w.Courier.deliver(ctx, todo.ResponseURL, body)
		}
	}
	if err != nil {
		w.Log.Warn("could not bring a requester's message up to date", "request_id", todo.requestID(), "err", err)
	}
}
