package bot

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// The names in the form that asks an approver why they say no.
const (
	callbackDeny = "deny_form"
	blockWhy     = "why"
	actionWhy    = "why"
)

// maxWhy is how long the answer may be, in characters. The broker takes no more.
const maxWhy = 300

// denyView is the form. Its metadata is the sealed work of the press that
// opened it, which waits for the reason. R may be nil: then it does not say
// what is denied.
func denyView(metadata string, r *broker.Request) slack.ModalViewRequest {
	about := "You deny this request, for good."
	if r != nil {
		about = fmt.Sprintf("You deny `%s` the role %s for %s, for good.", r.User, word(string(r.Role)), span(r.Duration))
	}
	reason := slack.NewInputBlock(blockWhy, plain("Why"), plain("They are told, and it is recorded."),
		slack.NewPlainTextInputBlockElement(nil, actionWhy).WithMultiline(true).WithMaxLength(maxWhy))
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: callbackDeny, PrivateMetadata: metadata,
		Title: plain("Deny a request"), Submit: plain("Deny"), Close: plain("Cancel"),
		Blocks: slack.Blocks{BlockSet: []slack.Block{section(about), reason}},
	}
}

// askWhy opens the form for the reason of a no, and says whether it did. It is
// not opened for somebody whose no will not count: carrying it out tells them
// why.
func (f *Front) askWhy(ctx context.Context, w work) (opened bool, err error) {
	if f.Views == nil {
		return false, nil
	}
	ctx, stop := context.WithTimeout(ctx, ackBudget)
	defer stop()
	var r *broker.Request
	if f.View != nil {
		found, err := f.View.Request(ctx, w.requestID())
		if err != nil {
			return false, err
		}
		if found.State != broker.StatePending {
			return false, nil
		}
		facts, err := f.View.Reader.Identify(ctx, w.Caller)
		if err != nil {
			return false, err
		}
		if !mayDeny(found, facts) {
			return false, nil
		}
		r = &found
	}
	metadata, err := f.Sealer.pack(w)
	if err != nil {
		return false, err
	}
	if _, err := f.Views.api.OpenViewContext(ctx, w.Key, denyView(metadata, r)); err != nil {
		return false, slackError(err)
	}
	return true, nil
}

// mayDeny says whether somebody's no to a Request may well count, before they
// are identified for good.
func mayDeny(r broker.Request, f broker.Facts) bool {
	if f.User.ID == "" { // it could be their first act
		return f.Policy != nil && f.Policy.Settings.BindByEmail
	}
	rule := r.ApprovalNow(f.Policy)
	return f.User.ID != r.UserID && rule != nil &&
		slices.ContainsFunc(f.User.Groups, func(g policy.GroupName) bool { return slices.Contains(rule.Groups(), g) }) &&
		!slices.ContainsFunc(r.Approvals, func(a broker.Approval) bool { return a.UserID == f.User.ID })
}

// whyGiven takes in the form: the work that waited for it is queued.
func (f *Front) whyGiven(ctx context.Context, p interaction) Reply {
	w, err := f.Sealer.unpack(p.View.PrivateMetadata)
	if err != nil || w.Action != actionDeny || w.Caller != p.caller() {
		return f.refuse(PathInteractions, http.StatusBadRequest, "the form is not one that was opened for this person")
	}
	w.Key, w.Received = p.View.ID, f.Now()
	w.Text = cut(strings.TrimSpace(cleanText(p.View.State.Values[blockWhy][actionWhy].Value)), maxWhy)
	if err := f.enqueue(ctx, w); err != nil {
		return Reply{Status: http.StatusServiceUnavailable} // Slack keeps the form open, and says that it failed
	}
	return Reply{Status: http.StatusOK}
}

// pack seals w for a place that is not a queue: a view's metadata.
func (s *Sealer) pack(w work) (string, error) {
	job, err := s.seal(w)
	return job.ID + "." + base64.RawURLEncoding.EncodeToString(job.Body), err
}

// unpack returns what pack was given.
func (s *Sealer) unpack(packed string) (work, error) {
	id, encoded, _ := strings.Cut(packed, ".")
	body, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return work{}, errSealed
	}
	return s.open(broker.Job{ID: id, Body: body})
}
