package bot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker"
)

// The action ids with which people use what they have open. The value is the
// Request's ID; of what may end one Session alone, followed by a space and the
// Session's.
const (
	actionEnd         = "end"
	actionEndOne      = "end_one"      // a choice among the Sessions of a Request
	actionOpenConsole = "open_console" // with a new Session
	actionMore        = "ask_more"     // the same role once more, as a new Request
)

// sessionActions are all of them.
var sessionActions = []string{actionEnd, actionEndOne, actionOpenConsole, actionMore}

// onSession carries out what somebody does with what they have open.
func (w *Worker) onSession(ctx context.Context, todo work) error {
	id, session, _ := strings.Cut(todo.Value, " ")
	switch todo.Action {
	case actionOpenConsole:
		return w.issues(ctx, todo, id, w.Broker.IssueAgain, consoleMessage)
	case actionMore:
		return w.askForMore(ctx, todo, id)
	default:
		return w.end(ctx, todo, id, session)
	}
}

// sessions answers the commands sessions, end and renew. Where it is not plain
// what is to be ended or renewed, that is said above the list.
func (w *Worker) sessions(ctx context.Context, todo work, c command) error {
	open, me, err := w.Broker.Sessions(ctx, todo.Caller, todo.Key)
	if err != nil {
		return w.refused(ctx, todo, c, err)
	}
	lead := ""
	if c.verb != verbSessions {
		of := slices.Clone(open)
		if c.verb == verbRenew { // what a token has asked for is its bearer's alone to have
			of = slices.DeleteFunc(of, func(r broker.Request) bool { return r.TokenID != "" })
		}
		if c.words == "" { // what an application has is ended by its name alone
			of = slices.DeleteFunc(of, func(r broker.Request) bool { return r.UserID != me.User.ID })
		}
		var id, session string
		id, session, lead = meant(of, c.words, todo.Received)
		switch {
		case lead != "":
		case c.verb == verbEnd:
			return w.end(ctx, todo, id, session)
		default:
			return w.issues(ctx, todo, id, w.renews(open, id), credentialsMessage)
		}
	}
	return w.answer(ctx, todo, sessionsMessage(open, me, w.Now(), lead))
}

// minSuffix is how much of the end of a Session's ID names it. Its last
// sixteen characters are random: 30 bits of them are enough for one person's.
const minSuffix = 6

// meant finds what a command typed at a moment is about: the one Request that
// is open, or the Session whose ID ends in suffix. A Request made later, while
// the command waited or was tried again, is not meant. Where none is, problem
// says what to do about it.
func meant(requests []broker.Request, suffix string, typed time.Time) (id, session, problem string) {
	open := slices.DeleteFunc(slices.Clone(requests), func(r broker.Request) bool {
		return r.State != broker.StateOpen || r.AskedAt.After(typed)
	})
	switch {
	case len(open) == 0:
		return "", "", "Nothing of yours is open."
	case suffix == "" && len(open) == 1:
		return open[0].ID, "", ""
	case suffix == "":
		return "", "", fmt.Sprintf("%d of your requests are open. Press a button of the one you mean, or name a session: the last %d characters are enough.",
			len(open), minSuffix)
	case len(suffix) < minSuffix:
		return "", "", fmt.Sprintf("Name a session by its last %d characters, or more.", minSuffix)
	}
	found := 0
	for _, r := range open {
		for _, s := range r.Sessions {
			if s.State == broker.SessionIssued && strings.HasSuffix(s.ID, strings.ToUpper(suffix)) {
				id, session = r.ID, s.ID
				found++
			}
		}
	}
	switch found {
	case 0:
		return "", "", fmt.Sprintf("None of your sessions that are open ends in %s.", word(cut(suffix, 40)))
	case 1:
		return id, session, ""
	default:
		return "", "", fmt.Sprintf("%d of your sessions end in %s: give more of it.", found, word(cut(suffix, 40)))
	}
}

// end ends a Session, or without one all of a Request's, and says what came of
// it.
func (w *Worker) end(ctx context.Context, todo work, id, session string) error {
	r, err := w.Broker.End(ctx, broker.Ending{
		Caller: todo.Caller, RequestID: id, SessionID: session, Deadline: todo.Received.Add(jobPatience),
	})
	var fault *broker.Fault
	switch {
	case err == nil && r.State == broker.StateVoid: // there was nothing to deny yet
		return w.answer(ctx, todo, say("✅  "+howItStands(&r), requestLine(r.ID)))
	case err == nil:
		return w.answer(ctx, todo, endedMessage(&r, session, w.Now()))
	case errors.Is(err, broker.ErrNotFound):
		return w.answer(ctx, todo, nothingToEnd())
	case errors.As(err, &fault):
		w.Log.Error("a session could not be ended", "request_id", fault.RequestID, "session_id", session, "fault", fault.Code, "err", fault.Err)
		return w.answer(ctx, todo, notEnded(&r, fault, w.Now()))
	default:
		return w.refused(ctx, todo, command{}, err)
	}
}

// renews is how a Request is renewed: in its window or, where nothing of it was
// shown and there is no time for that, anew.
func (w *Worker) renews(open []broker.Request, id string) issue {
	now := w.Now()
	for _, r := range open {
		if r.ID == id && now.Before(r.RevealUntil()) && !now.Before(r.RenewUntil()) {
			return w.Broker.Reveal
		}
	}
	return w.Broker.IssueAgain
}

// An issue issues a Session of a Request that is there already.
type issue func(context.Context, broker.AskAgain) (broker.Issued, error)

// issues issues another Session of a Request, and shows it as write writes it.
func (w *Worker) issues(ctx context.Context, todo work, id string, by issue, write func(broker.Issued) (message, error)) error {
	issued, err := by(ctx, broker.AskAgain{
		Caller: todo.Caller, RequestID: id, Key: todo.Key, Deadline: todo.Received.Add(jobPatience),
	})
	if err != nil {
		return w.refused(ctx, todo, command{}, err)
	}
	return w.handAs(ctx, todo, issued, write, false)
}

// askForMore asks for the same once more, and once only: however often the
// button is pressed, there is one ask. It is one like any other, for as long and
// with the same words; the Request that is about to end goes on as it is.
func (w *Worker) askForMore(ctx context.Context, todo work, id string) error {
	r, err := w.theirs(ctx, todo, id)
	if err != nil {
		return w.refused(ctx, todo, command{}, err)
	}
	ask := broker.Ask{
		Caller: todo.Caller, Surface: broker.SurfaceButton, Key: "more." + r.ID, Role: r.Role, Duration: r.Duration, Words: r.Words, Link: r.Link,
		Deadline: todo.Received.Add(jobPatience),
	}
	issued, err := w.Broker.Issue(ctx, ask)
	var already *broker.AlreadyIssued
	if errors.As(err, &already) {
		return w.answerAbout(ctx, todo, already.RequestID, moreAlready)
	}
	if err != nil {
		return w.refused(ctx, todo, command{verb: verbRole, role: r.Role}, err)
	}
	return w.handAs(ctx, todo, issued, credentialsMessage, false)
}
