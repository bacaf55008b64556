package bot

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// opening draws the form in a view that the Front has opened.
func (w *Worker) opening(ctx context.Context, todo work) error {
	me, err := w.Broker.Whoami(ctx, todo.Caller, todo.Key)
	if err != nil {
		return w.refused(ctx, todo, command{verb: verbForm}, err)
	}
	_, err = w.replace(ctx, todo.View, todo.Hash, firstView(me, todo.Text, usual(ctx, w.Broker.Pace, chosenRole(me, draft{}), w.Log)))
	if err != nil && slackCode(err) != staleHash { // or it was drawn before
		w.Log.Warn("could not draw the form", "job", todo.id(), "err", err)
	}
	return nil
}

// complete opens the form for a command that lacks a ticket or a reason, with
// what it does say filled in, and says whether it did. The command is looked at
// here, not by the Front, so that one that lacks nothing waits for no look-up.
// Where that took so long that its trigger has expired, it is refused in words.
func (w *Worker) complete(ctx context.Context, todo work, c command, d policy.Decision) bool {
	if !todo.Forms || d.Role == nil {
		return false
	}
	switch d.Rule {
	case policy.RuleTicketMissing, policy.RuleTicketMismatch, policy.RuleReasonMissing:
	default:
		return false
	}
	form := formView(broker.Me{Roles: []*policy.Role{d.Role}}, draftOf(d.Role, c), usual(ctx, w.Broker.Pace, d.Role, w.Log))
	if _, err := w.Client.openView(ctx, todo.Key, form); err != nil {
		w.Log.Warn("could not open the form", "job", todo.id(), "err", err)
		return false
	}
	return true
}

// submitted carries out a form. What comes of it takes the form's place; if that
// is not there any more, credentials count as undelivered, which the person is
// told of, and anything else is told as a message. Credentials never are.
func (w *Worker) submitted(ctx context.Context, todo work) error {
	issued, err := w.Broker.Issue(ctx, commandAsk(todo))
	var busy *broker.Busy
	if !anotherHas(err) && !errors.As(err, &busy) {
		todo = w.takeView(ctx, todo, err == nil)
	}
	if err != nil {
		return w.refused(ctx, todo, parseCommand(todo.Text), err)
	}
	return w.hand(ctx, todo, issued, true)
}

// How long Slack may take to show what the Front answered to a submission: it
// takes no answer after 3 s.
const (
	settleTries = 15
	settlePause = 200 * time.Millisecond
)

// takeView takes the form's view over: the work that it returns has the hash
// with which something can be shown there, as long as nobody else does. Unless
// what was issued is this worker's own, a view that may show it is left alone:
// the hash then stays an old one, for which Slack shows nothing.
func (w *Worker) takeView(ctx context.Context, todo work, own bool) work {
	ctx = context.WithoutCancel(ctx)
	if !own && w.shown(ctx, todo) {
		return todo
	}
	w.settle(ctx, todo)
	hash, err := w.replace(ctx, todo.View, "", workingView())
	if err != nil {
		w.Log.Warn("could not take a form over", "job", todo.id(), "err", err)
		return todo
	}
	todo.Hash = hash
	return todo
}

// shown says whether something may have been shown for the work already. Where
// that cannot be looked up, the first who takes it up has nobody before them.
func (w *Worker) shown(ctx context.Context, todo work) bool {
	r, err := w.Broker.Ledger.Request(ctx, todo.requestID())
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return false
	case err != nil:
		return todo.Tries > 0
	}
	return slices.ContainsFunc(r.Sessions, func(s broker.Session) bool { return s.State == broker.SessionIssued })
}

// settle waits until Slack has put the Front's answer in the place of the form:
// what is shown before that would be shown over. The hash that the form had
// when it was submitted tells.
func (w *Worker) settle(ctx context.Context, todo work) {
	hash := todo.Hash
	for range settleTries {
		next, err := w.Client.updateView(ctx, todo.View, hash, workingView())
		switch {
		case err == nil:
			hash = next
		case slackCode(err) != "":
			return // it has changed, or is not there any more
		}
		time.Sleep(settlePause)
	}
}

// anotherHas says whether an error leaves the answer to another worker: what
// that shows must not be shown over.
func anotherHas(err error) bool {
	var already *broker.AlreadyIssued
	var fault *broker.Fault
	return errors.As(err, &already) || errors.As(err, &fault) && fault.Code == broker.FaultLost
}

// carriedOut tells the person that another worker has carried the work out.
func (w *Worker) carriedOut(ctx context.Context, todo work) error {
	r, err := w.theirs(ctx, todo, todo.requestID())
	if err != nil {
		w.Log.Warn("could not look up what was carried out already", "job", todo.id(), "err", err)
		r.ID = todo.requestID()
	}
	return w.tell(ctx, todo, carriedOutMessage(&r, w.Now()))
}

// tell sends the person a message of their own. It holds no secret.
func (w *Worker) tell(ctx context.Context, todo work, m message) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), asidePatience)
	defer stop()
	if err := w.Client.message(ctx, todo.Caller, m); err != nil {
		w.Log.Error("could not answer", "job", todo.id(), "err", err)
	}
	return nil
}

// showInView puts a message in the place of the form, or of the view that a
// button was pressed in, if that shows the same as then.
func (w *Worker) showInView(ctx context.Context, todo work, m message) error {
	if !m.fits() {
		return errTooLong
	}
	_, err := w.replace(ctx, todo.View, todo.Hash, modal(m))
	return err
}

// replace puts a view in the place of the one with this hash until Slack takes
// it, tries run out or trying is no use, and returns the new hash. An empty hash
// is any.
func (w *Worker) replace(ctx context.Context, id, hash string, v slack.ModalViewRequest) (string, error) {
	// The answer is worth bringing even while the program is shutting down.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), deliverBudget)
	defer stop()
	for try := 1; ; try++ {
		next, err := w.Client.updateView(ctx, id, hash, v)
		if err == nil || slackCode(err) != "" || try == deliverTries {
			return next, err
		}
		wait := deliverPause << (try - 1)
		var patience *broker.Patience
		if errors.As(err, &patience) {
			wait = max(wait, patience.After)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", err
		}
	}
}

// openView opens a modal and returns its id and hash. The trigger is good for
// 3 s, and once.
func (c *Client) openView(ctx context.Context, trigger string, v slack.ModalViewRequest) (seenView, error) {
	opened, err := c.api.OpenViewContext(ctx, trigger, v)
	if err != nil {
		return seenView{}, slackError(err)
	}
	return seenView{ID: opened.ID, Hash: opened.Hash}, nil
}

// updateView puts v in the place of a modal, if that still has this hash, and
// returns the new one. An empty hash is any.
func (c *Client) updateView(ctx context.Context, id, hash string, v slack.ModalViewRequest) (string, error) {
	updated, err := c.api.UpdateViewContext(ctx, v, "", hash, id)
	if err != nil {
		return "", slackError(err)
	}
	return updated.Hash, nil
}

// message sends a person a message of their own.
func (c *Client) message(ctx context.Context, id broker.SlackID, m message) error {
	_, _, err := c.api.PostMessageContext(ctx, id.User, m.options()...)
	return slackError(err)
}

// slackCode is the code with which Slack refused a call that it understood, so
// that another try is no use; empty if it did not.
func slackCode(err error) string {
	var no slack.SlackErrorResponse
	if !errors.As(err, &no) {
		return ""
	}
	return no.Err
}
