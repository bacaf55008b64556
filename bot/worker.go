package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A Worker carries out Jobs: it asks the broker, and tells the person what
// came of it.
type Worker struct {
	Broker  *broker.Broker
	Sealer  *Sealer
	Courier *Courier
	Client  *Client
	Now     func() time.Time
	Log     *slog.Logger
}

// A Later says that a Job must be done again, no sooner than After from now.
type Later struct{ After time.Duration }

// Error describes the case for logs.
func (l *Later) Error() string { return "not yet: again in " + l.After.String() }

// Do carries out a Job. Nil says that it is finished, whatever came of it;
// *Later that it is to be done again; another error that it brought the worker
// down, and may be tried again.
func (w *Worker) Do(ctx context.Context, job broker.Job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.Log.Error("a job brought its worker down", "job", job.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("a panic")
		}
	}()
	todo, err := w.Sealer.open(job)
	if err != nil {
		return err // by another secret, perhaps: a worker that has it may come by
	}
	todo.Tries = job.Tries
	switch todo.Kind {
	case workCommand:
		return w.command(ctx, todo)
	case workButton:
		return w.button(ctx, todo)
	case workForm:
		return w.submitted(ctx, todo)
	case workOpening:
		return w.opening(ctx, todo)
	case workOutsider:
		return w.answer(ctx, todo, say(identityWords[broker.RuleForeign], ""))
	case workStanding:
		if err := w.Broker.StandingChanged(ctx, todo.Caller, todo.Standing); err != nil {
			w.Log.Warn("could not take in what Slack says of a person; trying again", "slack", todo.Caller, "err", err)
			return w.again(todo, w.Now().Add(standingPause))
		}
		return nil
	default:
		return fmt.Errorf("a job of the unknown kind %q", todo.Kind)
	}
}

// GiveUp says good-bye to a Job that failed time and again: in the log, with
// the Request's id, and to the person.
func (w *Worker) GiveUp(ctx context.Context, job broker.Job, cause error) {
	todo, err := w.Sealer.open(job)
	if err != nil {
		w.Log.Error("gave a job up", "job", job.ID, "err", cause)
		return
	}
	w.Log.Error("gave a job up", "job", job.ID, "request_id", todo.requestID(), "slack", todo.Caller, "tries", job.Tries+1, "err", cause)
	todo.Tries = job.Tries + 1
	switch {
	case todo.Kind == workStanding:
	case todo.Kind == workForm && w.shown(ctx, todo):
		_ = w.carriedOut(ctx, todo)
	case todo.Kind == workForm:
		_ = w.answer(ctx, w.takeView(ctx, todo, false), givenUp(todo.requestID()))
	case todo.Kind == workButton && todo.View != "": // what stands there may be keys
		_ = w.tell(ctx, todo, givenUp(todo.requestID()))
	default:
		_ = w.answer(ctx, todo, givenUp(todo.requestID()))
	}
}

// requestID is the id of the Request that the work is about; empty if none.
func (w work) requestID() string {
	switch w.Kind {
	case workCommand, workForm:
		return commandAsk(w).RequestID()
	case workButton:
		id, _, _ := strings.Cut(w.Value, " ")
		return id
	default:
		return ""
	}
}

// commandAsk is the ask that a command, or a form, makes.
func commandAsk(w work) broker.Ask {
	c := parseCommand(w.Text)
	surface := broker.SurfaceCommand
	if w.Kind == workForm {
		surface = broker.SurfaceForm
	}
	return broker.Ask{
		Caller: w.Caller, Surface: surface, Key: w.Key,
		Role: c.role, Duration: c.duration, Words: c.words, Link: w.Link, Deadline: w.Received.Add(jobPatience),
	}
}

func (w *Worker) command(ctx context.Context, todo work) error {
	c := parseCommand(todo.Text)
	switch c.verb {
	case verbForm: // which could not be shown
		return w.lookUp(ctx, todo, command{verb: verbRoles})
	case verbRoles, verbWhoami:
		return w.lookUp(ctx, todo, c)
	case verbWhy:
		return w.why(ctx, todo, c)
	case verbSessions, verbEnd, verbRenew:
		return w.sessions(ctx, todo, c)
	case verbAdmin:
		return w.admin(ctx, todo, c)
	case verbRole:
		if c.role == "" {
			return w.lookUp(ctx, todo, command{verb: verbRoles})
		}
	default:
		return w.answer(ctx, todo, helpMessage(c.unknown))
	}
	issued, err := w.Broker.Issue(ctx, commandAsk(todo))
	if err != nil {
		return w.refused(ctx, todo, c, err)
	}
	return w.hand(ctx, todo, issued, false)
}

// button answers a pressed button: about a Request, the answer to a Proposal,
// or a choice of shell. That is remembered, and new keys are issued for the
// same request, since no copy of the old ones was kept.
func (w *Worker) button(ctx context.Context, todo work) error {
	if given, ok := verdictOf(todo.Action); ok {
		return w.answerProposal(ctx, todo, given)
	}
	shell, ok := shellOf(todo.Action)
	switch {
	case slices.Contains(sessionActions, todo.Action):
		return w.onSession(ctx, todo)
	case !ok:
		return w.onRequest(ctx, todo)
	}
	issued, err := w.Broker.IssueAgain(ctx, broker.AskAgain{
		Caller: todo.Caller, RequestID: todo.Value, Key: todo.Key, Deadline: todo.Received.Add(jobPatience),
	})
	if err != nil {
		return w.refused(ctx, todo, command{verb: verbRole}, err)
	}
	// Only who may have the keys changes anything by pressing the button.
	if err := w.Broker.SetShell(ctx, todo.Caller, shell); err != nil {
		w.Log.Warn("could not remember a shell", "slack", todo.Caller, "err", err)
	}
	issued.User.Shell = shell
	return w.hand(ctx, todo, issued, true)
}

// hand gives credentials to the requester, and to nobody else.
func (w *Worker) hand(ctx context.Context, todo work, issued broker.Issued, replace bool) error {
	return w.handAs(ctx, todo, issued, credentialsMessage, replace)
}

// handAs is hand with a message of another kind, which write writes.
func (w *Worker) handAs(ctx context.Context, todo work, issued broker.Issued, write func(broker.Issued) (message, error), replace bool) error {
	began := w.Now()
	m, err := write(issued)
	if err == nil {
		err = w.show(ctx, todo, m, replace)
	}
	if err != nil {
		w.Log.Error("could not show credentials", "request_id", issued.Request.ID, "err", err)
		if err := w.Broker.Undelivered(context.WithoutCancel(ctx), issued); err != nil {
			w.Log.Error("could not record that credentials were not shown", "request_id", issued.Request.ID, "err", err)
		}
		return nil
	}
	w.Broker.Delivered(issued, w.Now().Sub(began))
	return nil
}

// refused tells the person why there is nothing for them.
func (w *Worker) refused(ctx context.Context, todo work, c command, err error) error {
	if todo.View != "" && anotherHas(err) {
		return w.carriedOut(ctx, todo)
	}
	var busy *broker.Busy
	if errors.As(err, &busy) {
		if err := w.again(todo, busy.Until); err != nil {
			return err
		}
		return w.answer(ctx, todo, givenUp(busy.RequestID))
	}
	var waiting *broker.Waiting
	if errors.As(err, &waiting) {
		return w.answer(ctx, todo, pendingMessage(&waiting.Request, w.Client.Approvals != ""))
	}
	var refusal *broker.Refusal
	if errors.As(err, &refusal) && c.role == "" {
		c.role = refusal.Asked.Role
	}
	if refusal != nil && w.complete(ctx, todo, c, refusal.Decision) {
		return nil
	}
	var fault *broker.Fault
	if errors.As(err, &fault) {
		w.Log.Error("a request failed", "request_id", fault.RequestID, "fault", fault.Code, "err", fault.Err)
	}
	m := explain(err, c)
	if refusal != nil && namesIdentity(refusal.Decision.Rule) {
		m = unknownCaller(m, todo.Caller)
	}
	return w.answer(ctx, todo, m)
}

// namesIdentity says whether an administrator needs the Slack id to help.
func namesIdentity(rule policy.Rule) bool {
	return rule == broker.RuleUnbound || rule == policy.RuleUserUnknown || strings.HasPrefix(string(rule), "identity.email")
}

// standingPause is how long to wait before news of a person is tried again.
const standingPause = 5 * time.Second

// again has the Job done again at the given time, while that is of use: nil
// says that it is not.
func (w *Worker) again(todo work, at time.Time) error {
	now := w.Now()
	if !now.Before(todo.Received.Add(jobPatience)) {
		w.Log.Error("gave a job up", "job", todo.id(), "request_id", todo.requestID())
		return nil
	}
	return &Later{After: max(at.Sub(now), time.Second)}
}

// lookUp answers roles and whoami.
func (w *Worker) lookUp(ctx context.Context, todo work, c command) error {
	me, err := w.Broker.Whoami(ctx, todo.Caller, todo.Key)
	if err != nil {
		return w.refused(ctx, todo, c, err)
	}
	if c.verb == verbRoles {
		return w.answer(ctx, todo, rolesMessage(me))
	}
	return w.answer(ctx, todo, whoamiMessage(me))
}

// answer shows a message that holds no secret: where it cannot be shown, as
// when its modal was closed, as a message of the person's own. Where that fails
// too, nothing is lost but the message.
func (w *Worker) answer(ctx context.Context, todo work, m message) error {
	return w.bring(ctx, todo, m, false)
}

// bring is answer, in the place of the message whose button was pressed if it
// is to replace that.
func (w *Worker) bring(ctx context.Context, todo work, m message, replace bool) error {
	if err := w.show(ctx, todo, m, replace); err != nil {
		w.Log.Warn("falling back to a direct message", "job", todo.id(), "err", err)
		return w.tell(ctx, todo, m)
	}
	return nil
}

// asidePatience is how long each way may take that is left where a message is
// not shown as it should be. The function's time on AWS Lambda bounds it.
const asidePatience = 7 * time.Second

// show brings a message to the person: in the modal that it is for, or through
// the response URL, or failing that as an ephemeral message in the channel they
// are in.
func (w *Worker) show(ctx context.Context, todo work, m message, replace bool) error {
	if todo.View != "" {
		return w.showInView(ctx, todo, m)
	}
	body, err := m.encode(ephemeral, replace)
	if err != nil {
		return err
	}
	// The answer is worth bringing even while the program is shutting down.
	ctx = context.WithoutCancel(ctx)
	err = w.Courier.deliver(ctx, todo.ResponseURL, body)
	if err == nil || todo.Channel == "" {
		return err
	}
	w.Log.Warn("falling back to an ephemeral message", "job", todo.id(), "err", err)
	ctx, stop := context.WithTimeout(ctx, asidePatience)
	defer stop()
	if second := w.Client.whisper(ctx, todo.Channel, todo.Caller, m); second != nil {
		return fmt.Errorf("%w; then %w", err, second)
	}
	return nil
}
