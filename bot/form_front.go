package bot

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

const (
	// formBudget is how long reading what a form shows may take, and opening it
	// where something else must follow if that fails.
	formBudget = 800 * time.Millisecond
	// tellBudget is what queueing leaves of the time for saying, in a modal that
	// is open, that nothing will come.
	tellBudget = 500 * time.Millisecond
	// paceBudget is how long the form waits for how soon others were answered.
	paceBudget = 300 * time.Millisecond
)

// staleHash is Slack's word for a view that has changed since.
const staleHash = "hash_conflict"

// draws says whether the Front can show forms at all.
func (f *Front) draws() bool { return f.View != nil && f.Views != nil }

// formOf returns what answers an interaction with the form; nil if it is none.
func (f *Front) formOf(p interaction) func(context.Context, interaction) Reply {
	ours := p.View.CallbackID == callbackForm
	switch {
	case p.Type == "shortcut", p.Type == "message_action":
		return f.shortcut
	case p.Type == "block_suggestion" && ours:
		return f.suggest
	case p.Type == "view_submission" && ours:
		return f.submitted
	case p.Type == "block_actions" && ours:
		return f.chosen
	}
	return nil
}

// commandForm opens the form for a command without a role. False says that it
// did not, and that the command must be carried out as it is.
func (f *Front) commandForm(ctx context.Context, w work, c command) bool {
	if !f.draws() || c.verb != verbForm && (c.verb != verbRole || c.role != "") {
		return false
	}
	me, err := f.me(ctx, w.Caller)
	if errors.Is(err, broker.ErrDenied) {
		return f.openLater(ctx, w, "") == nil
	}
	if err != nil || len(me.Roles) == 0 {
		return false
	}
	if _, err := f.open(ctx, w.Key, f.form(ctx, me, draft{})); err != nil {
		f.Log.Warn("could not open the form", "slack", w.Caller, "err", err)
		return false
	}
	return true
}

// me reads what a form shows of somebody.
func (f *Front) me(ctx context.Context, caller broker.SlackID) (broker.Me, error) {
	ctx, stop := context.WithTimeout(ctx, formBudget)
	defer stop()
	return f.View.Me(ctx, caller)
}

// open opens a modal and returns its id, soon enough for something else to be
// done if it fails.
func (f *Front) open(ctx context.Context, trigger string, v slack.ModalViewRequest) (seenView, error) {
	ctx, stop := context.WithTimeout(ctx, formBudget)
	defer stop()
	return f.Views.openView(ctx, trigger, v)
}

// update shows something else in a modal, soon enough for something else to be
// done if it fails.
func (f *Front) update(ctx context.Context, id, hash string, v slack.ModalViewRequest) error {
	ctx, stop := context.WithTimeout(ctx, formBudget)
	defer stop()
	_, err := f.Views.updateView(ctx, id, hash, v)
	return err
}

// form is formView, with what is known of the role that is chosen.
func (f *Front) form(ctx context.Context, me broker.Me, d draft) slack.ModalViewRequest {
	return formView(me, d, usual(ctx, f.View.Pace, chosenRole(me, d), f.Log))
}

// usual looks up how long it usually takes until somebody has answered who asks
// for a role. It is zero where nobody has to approve, or where that cannot be
// read soon: the form does without.
func usual(ctx context.Context, pace func(context.Context, policy.RoleName) (broker.Pace, error), role *policy.Role, log *slog.Logger) time.Duration {
	if role == nil || role.Approval == nil {
		return 0
	}
	ctx, stop := context.WithTimeout(ctx, paceBudget)
	defer stop()
	p, err := pace(ctx, role.Name)
	if err != nil {
		log.Warn("could not read how soon a role's requests are answered", "role", role.Name, "err", err)
	}
	return p.Usual()
}

// askAgain opens the form for somebody whose Request came to nothing, filled in
// with what it asked for. False says that it did not, and that a Worker must
// say how to.
func (f *Front) askAgain(ctx context.Context, w work) bool {
	if !f.draws() {
		return false
	}
	form, err := f.formAgain(ctx, w)
	if err == nil && w.View != "" {
		err = f.update(ctx, w.View, w.Hash, form)
	} else if err == nil {
		_, err = f.open(ctx, w.Key, form)
	}
	if err != nil {
		f.Log.Warn("could not open the form", "slack", w.Caller, "request_id", w.requestID(), "err", err)
	}
	return err == nil
}

// formAgain is that form. The Request must be the person's own.
func (f *Front) formAgain(ctx context.Context, w work) (slack.ModalViewRequest, error) {
	reading, stop := context.WithTimeout(ctx, formBudget)
	defer stop()
	r, err := f.View.Request(reading, w.requestID())
	if err == nil && r.Slack != w.Caller {
		err = broker.ErrNotFound
	}
	if err != nil {
		return slack.ModalViewRequest{}, err
	}
	me, err := f.View.Me(reading, w.Caller)
	if err != nil {
		return slack.ModalViewRequest{}, err
	}
	d := draft{role: r.Role, reason: r.Words}
	if role := roleNamed(me, r.Role); role != nil {
		d = draftOf(role, command{duration: r.Duration, words: r.Words})
	}
	d.link = r.Link
	return f.form(ctx, me, d), nil
}

// shortcut opens the form for a shortcut. One chosen on a message begins the
// reason with a link to it.
func (f *Front) shortcut(ctx context.Context, p interaction) Reply {
	ok := Reply{Status: http.StatusOK}
	if !f.draws() || p.CallbackID != shortcutGlobal && p.CallbackID != shortcutMessage {
		return ok
	}
	w := work{Caller: p.caller(), Key: p.TriggerID, Received: f.Now()}
	me, err := f.me(ctx, w.Caller)
	var view slack.ModalViewRequest
	switch {
	case errors.Is(err, broker.ErrDenied):
		if err := f.openLater(ctx, w, p.permalink()); err != nil {
			return Reply{Status: http.StatusServiceUnavailable} // Slack shows that the shortcut failed
		}
		return ok
	case err != nil:
		f.Log.Error("could not read what a form needs", "slack", w.Caller, "err", err)
		view = modal(explain(err, command{}))
	default:
		view = firstView(me, p.permalink(), usual(ctx, f.View.Pace, chosenRole(me, draft{}), f.Log))
	}
	if _, err := f.Views.openView(ctx, p.TriggerID, view); err != nil {
		f.Log.Warn("could not open the form", "slack", w.Caller, "err", err)
		return Reply{Status: http.StatusServiceUnavailable}
	}
	return ok
}

// firstView is the form before anything is chosen, or a sentence where there is
// nothing to choose. A link to a message is its reason to begin with.
func firstView(me broker.Me, link string, usual time.Duration) slack.ModalViewRequest {
	if len(me.Roles) == 0 {
		return modal(rolesMessage(me))
	}
	return formView(me, draft{reason: link, link: link}, usual)
}

// openLater opens a modal at once and has a Worker draw the form in it. The View
// knows only what Starback knew before; a Worker asks Slack who somebody is, and
// records a refusal. It fails if nothing was opened, or if what was opened can
// say neither the one nor the other.
func (f *Front) openLater(ctx context.Context, w work, link string) error {
	opened, err := f.open(ctx, w.Key, workingView())
	if err != nil {
		f.Log.Warn("could not open the form", "slack", w.Caller, "err", err)
		return err
	}
	// What is open now is seen to even if Slack hangs up.
	end, _ := ctx.Deadline() // every request has one
	ctx, stop := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer stop()
	queueing, stop := context.WithDeadline(ctx, end.Add(-tellBudget))
	defer stop()
	todo := work{Kind: workOpening, Caller: w.Caller, Key: w.Key, Received: w.Received, View: opened.ID, Hash: opened.Hash, Text: link}
	if f.enqueue(queueing, todo) == nil {
		return nil
	}
	if _, err := f.Views.updateView(ctx, opened.ID, opened.Hash, modal(notTaken(""))); err != nil {
		f.Log.Error("could not say that the form will not come", "slack", w.Caller, "err", err)
		return err
	}
	return nil
}

// suggest answers what somebody types into the menu of roles. What cannot be
// looked up is a failure, which Slack shows: an empty menu would say that there
// is nothing to ask for.
func (f *Front) suggest(ctx context.Context, p interaction) Reply {
	if !f.draws() || p.ActionID != actionRole {
		return Reply{Status: http.StatusOK}
	}
	me, err := f.View.Me(ctx, p.caller())
	if err != nil {
		f.Log.Warn("could not read the roles to offer", "slack", p.caller(), "err", err)
	}
	if err != nil && !errors.Is(err, broker.ErrDenied) {
		return Reply{Status: http.StatusServiceUnavailable}
	}
	body, err := options(me.Roles, p.Value)
	if err != nil {
		f.Log.Error("could not write the roles to offer", "err", err)
		return Reply{Status: http.StatusServiceUnavailable}
	}
	return Reply{Status: http.StatusOK, Body: body}
}

// chosen brings the form up to date with the role that was chosen, or has Slack
// show that it could not. A view that has changed since stays as it is: another
// answer is on its way to it.
func (f *Front) chosen(ctx context.Context, p interaction) Reply {
	if !f.draws() {
		return Reply{Status: http.StatusOK}
	}
	me, err := f.View.Me(ctx, p.caller())
	if err == nil {
		_, err = f.Views.updateView(ctx, p.View.ID, p.View.Hash, f.form(ctx, me, p.View.draft()))
	}
	if err != nil && slackCode(err) != staleHash {
		f.Log.Warn("could not bring the form up to date", "slack", p.caller(), "err", err)
		return Reply{Status: http.StatusServiceUnavailable}
	}
	return Reply{Status: http.StatusOK}
}

// submitted queues a form that is filled in, or says at its inputs what is
// wrong. That is a courtesy: whoever it cannot be said to, and everything else,
// is decided when the ask is carried out.
func (f *Front) submitted(ctx context.Context, p interaction) Reply {
	if p.View.ID == "" || len(p.View.ID) > 255 {
		return f.refuse(PathInteractions, http.StatusBadRequest, "the form does not say which view it is")
	}
	filled := p.View.draft()
	if !f.draws() {
		return f.respond(wrong(map[string]string{blockRole: "This Starback takes no forms any more. Type /starback with the role instead."}))
	}
	me, err := f.me(ctx, p.caller())
	switch {
	case err != nil && filled.duration == 0:
		return f.respond(wrong(map[string]string{blockRole: "Starback cannot look that role up at the moment. Try again in a minute."}))
	case err == nil:
		role := roleNamed(me, filled.role)
		if role != nil && !p.View.complete(role) {
			view := f.form(ctx, me, filled)
			return f.respond(slack.NewUpdateViewSubmissionResponse(&view))
		}
		if problems := filled.problems(role); len(problems) > 0 {
			return f.respond(wrong(problems))
		}
	}
	w := work{
		Kind: workForm, Caller: p.caller(), Key: p.View.ID, Received: f.Now(), Text: filled.text(), View: p.View.ID, Hash: p.View.Hash,
		Link: filled.link,
	}
	if err := f.enqueue(ctx, w); err != nil {
		return f.respond(wrong(map[string]string{blockRole: "Starback could not take your request for certain. Press Request again."}))
	}
	view := workingView()
	return f.respond(slack.NewUpdateViewSubmissionResponse(&view))
}

// wrong is the answer that shows problems at their inputs.
func wrong(problems map[string]string) *slack.ViewSubmissionResponse {
	return slack.NewErrorsViewSubmissionResponse(problems)
}

// respond answers a submission.
func (f *Front) respond(answer *slack.ViewSubmissionResponse) Reply {
	body, err := json.Marshal(answer)
	if err != nil {
		f.Log.Error("could not answer a form", "err", err)
		return Reply{Status: http.StatusServiceUnavailable}
	}
	return Reply{Status: http.StatusOK, Body: body}
}
