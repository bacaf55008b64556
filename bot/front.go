package bot

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/starback/starback/broker"
)

// The paths that Slack posts to.
const (
	PathCommands     = "/slack/commands"
	PathInteractions = "/slack/interactions"
	PathEvents       = "/slack/events"
)

// AnswerWithin is how long the answer to a request may take from when it came
// in, however slow everything behind the Front is. Slack waits 3 s; the rest is
// left to the network. A step has what remains of it, and at most its own time.
const AnswerWithin = 2600 * time.Millisecond

const (
	// maxBody is the longest body that is read, in bytes. Slack's longest, an
	// interaction that quotes its message, stay well below.
	maxBody = 512 << 10
	// ackBudget is how long a Job may take to be queued, or the form for a no to
	// be opened.
	ackBudget = 2 * time.Second
)

// A Front takes in what Slack sends: it checks that Slack sent it, puts a Job
// on the queue and answers at once. It decides nothing, and besides the queue
// reaches only what it needs to show a form while Slack waits.
type Front struct {
	SigningSecret broker.Secret
	Teams         []string // team and enterprise ids that are ours
	Queue         broker.Queue
	Sealer        *Sealer
	Views         *Client      // opens forms; nil: there are none
	View          *broker.View // what forms show; nil: nothing is looked up
	Version       string
	Now           func() time.Time
	Log           *slog.Logger
}

// An Incoming is one HTTP request from Slack, whatever carried it.
type Incoming struct {
	Path   string
	Header http.Header
	Body   []byte
	Base64 bool // Body is base64, as API Gateway hands over form bodies
}

// A Reply is the answer to it. An empty Body tells Slack no more than that the
// request arrived.
type Reply struct {
	Status int
	Body   []byte // JSON, or empty
}

// ServeHTTP implements http.Handler for the paths that Slack posts to.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "Slack posts here.", http.StatusMethodNotAllowed)
		return
	}
	ctx, stop := context.WithTimeout(r.Context(), AnswerWithin)
	defer stop()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	reply := f.Handle(ctx, Incoming{Path: r.URL.Path, Header: r.Header, Body: body})
	if len(reply.Body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body)
}

// Handle answers one request, within AnswerWithin or before ctx ends, whichever
// is first: ctx brings the deadline of a request that came in earlier.
func (f *Front) Handle(ctx context.Context, in Incoming) Reply {
	ctx, stop := context.WithTimeout(ctx, AnswerWithin)
	defer stop()
	if len(in.Body) > maxBody {
		return f.refuse(in.Path, http.StatusRequestEntityTooLarge, "the body is too long")
	}
	if in.Base64 {
		decoded, err := base64.StdEncoding.DecodeString(string(in.Body))
		if err != nil {
			return f.refuse(in.Path, http.StatusBadRequest, "the body is not base64")
		}
		in.Body = decoded
	}
	kind, params, err := mime.ParseMediaType(in.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || charset != "" && charset != "utf-8" && charset != "UTF-8" {
		return f.refuse(in.Path, http.StatusUnsupportedMediaType, "the content type is missing or unknown")
	}
	want := "application/x-www-form-urlencoded"
	if in.Path == PathEvents {
		want = "application/json"
	}
	if kind != want && !isSSLCheck(kind, in.Body) {
		return f.refuse(in.Path, http.StatusUnsupportedMediaType, "the content type is not "+want)
	}
	if isSSLCheck(kind, in.Body) {
		return Reply{Status: http.StatusOK} // Slack looks at the certificate; nothing is done
	}
	if err := verify(f.SigningSecret, in.Header, in.Body, f.Now()); err != nil {
		return f.refuse(in.Path, http.StatusUnauthorized, err.Error())
	}
	switch in.Path {
	case PathCommands:
		c, err := parseSlash(in.Body)
		if err != nil {
			return f.refuse(in.Path, http.StatusBadRequest, err.Error())
		}
		return f.command(ctx, c)
	case PathInteractions:
		p, err := parseInteractionForm(in.Body)
		if err != nil {
			return f.refuse(in.Path, http.StatusBadRequest, err.Error())
		}
		return f.interaction(ctx, p)
	case PathEvents:
		e, err := parseEvent(in.Body)
		if err != nil {
			return f.refuse(in.Path, http.StatusBadRequest, err.Error())
		}
		return f.event(ctx, e)
	default:
		return f.refuse(in.Path, http.StatusNotFound, "there is nothing here")
	}
}

// refuse answers what does not come from Slack or makes no sense.
func (f *Front) refuse(path string, status int, why string) Reply {
	f.Log.Warn("refused a request", "path", path, "status", status, "why", why)
	return Reply{Status: status}
}

// command queues a slash command, or answers one that needs no looking up.
func (f *Front) command(ctx context.Context, c slash) Reply {
	w := work{
		Kind: workCommand, Caller: c.caller(), Key: c.TriggerID, Received: f.Now(), Channel: c.ChannelID,
		Text: c.Text, Forms: f.draws(), ResponseURL: broker.NewSecret(c.ResponseURL),
	}
	if !f.ours(c.TeamID, c.EnterpriseID) {
		f.Log.Warn("refused another workspace", "slack", w.Caller, "request_id", commandAsk(w).RequestID())
		return f.say(foreignTeam(commandAsk(w).RequestID()))
	}
	switch parsed := parseCommand(c.Text); parsed.verb {
	case verbHelp:
		return f.say(helpMessage(parsed.unknown))
	case verbVersion:
		return f.say(versionMessage(f.Version))
	case verbForm:
		if !f.draws() {
			return f.say(helpMessage(""))
		}
	}
	if f.commandForm(ctx, w, parseCommand(c.Text)) {
		return Reply{Status: http.StatusOK}
	}
	if err := f.enqueue(ctx, w); err != nil {
		return f.say(notTaken(commandAsk(w).RequestID()))
	}
	return Reply{Status: http.StatusOK}
}

// interaction takes in what somebody does with a message or a form.
func (f *Front) interaction(ctx context.Context, p interaction) Reply {
	pressed := p.Type == "block_actions" && len(p.Actions) == 1 && taken(p.Actions[0].ActionID)
	submitted := p.Type == "view_submission" && p.View.CallbackID == callbackDeny
	form := f.formOf(p)
	switch {
	case !pressed && !submitted && form == nil:
		return Reply{Status: http.StatusOK}
	case !f.ours(p.Team.ID, p.Enterprise.ID), form != nil && !f.ours(p.User.TeamID, p.Enterprise.ID):
		f.Log.Warn("refused another workspace", "slack", p.caller())
		return Reply{Status: http.StatusOK}
	case form != nil:
		return form(ctx, p)
	case submitted:
		return f.whyGiven(ctx, p)
	default:
		return f.pressed(ctx, p)
	}
}

// pressed queues a pressed button or a choice from a menu. Somebody of another
// workspace, who sees the buttons of a shared channel, is only told so.
func (f *Front) pressed(ctx context.Context, p interaction) Reply {
	action := p.Actions[0]
	w := work{
		Kind: workButton, Caller: p.caller(), Key: p.TriggerID, Received: f.Now(), Channel: p.Channel.ID,
		Action: action.ActionID, Value: firstOf(action.Value, action.SelectedOption.Value), View: p.View.ID, Hash: p.View.Hash,
		ResponseURL: broker.NewSecret(p.ResponseURL),
	}
	if !f.ours(p.User.TeamID, p.Enterprise.ID) {
		f.Log.Warn("refused a member of another workspace", "slack", w.Caller)
		w.Kind, w.Action, w.Value = workOutsider, "", ""
	}
	if w.Kind == workButton && w.Action == actionDeny {
		opened, err := f.askWhy(ctx, w)
		if err != nil {
			f.Log.Error("could not open a form", "request_id", w.requestID(), "err", err)
			return Reply{Status: http.StatusServiceUnavailable}
		}
		if opened {
			return Reply{Status: http.StatusOK}
		}
	}
	if w.Kind == workButton && w.Action == actionAskAgain && f.askAgain(ctx, w) {
		return Reply{Status: http.StatusOK}
	}
	if err := f.enqueue(ctx, w); err != nil {
		return Reply{Status: http.StatusServiceUnavailable} // Slack shows that the button failed
	}
	return Reply{Status: http.StatusOK}
}

// event queues what Slack tells of people. An error makes Slack send it again.
func (f *Front) event(ctx context.Context, e slackEvent) Reply {
	if e.Type == "url_verification" {
		body, err := json.Marshal(map[string]string{"challenge": e.Challenge})
		if err != nil {
			return Reply{Status: http.StatusBadRequest}
		}
		return Reply{Status: http.StatusOK, Body: body}
	}
	if e.Type != "event_callback" || e.Event.Type != "user_change" || !f.ours(e.TeamID, e.EnterpriseID) {
		return Reply{Status: http.StatusOK}
	}
	caller := broker.SlackID{Team: firstOf(e.EnterpriseID, e.TeamID), User: e.Event.User.ID}
	w := work{
		Kind: workStanding, Caller: caller, Key: e.EventID, Received: f.Now(), Standing: standingOf(e.Event.User, caller),
	}
	if err := f.enqueue(ctx, w); err != nil {
		return Reply{Status: http.StatusServiceUnavailable}
	}
	return Reply{Status: http.StatusOK}
}

// ours says whether a team or its enterprise is one of ours. No teams are ours
// until they are named.
func (f *Front) ours(team, enterprise string) bool {
	return team != "" && slices.Contains(f.Teams, team) || enterprise != "" && slices.Contains(f.Teams, enterprise)
}

func (f *Front) enqueue(ctx context.Context, w work) error {
	ctx, stop := context.WithTimeout(ctx, ackBudget)
	defer stop()
	job, err := f.Sealer.seal(w)
	if err == nil {
		err = f.Queue.Enqueue(ctx, job)
	}
	if err != nil {
		f.Log.Error("could not queue a job", "kind", w.Kind, "err", err)
	}
	return err
}

// say answers in the acknowledgement itself, to the person alone.
func (f *Front) say(m message) Reply {
	body, err := m.encode(ephemeral, false)
	if err != nil {
		f.Log.Error("could not write an answer", "err", err)
		return Reply{Status: http.StatusOK}
	}
	return Reply{Status: http.StatusOK, Body: body}
}
