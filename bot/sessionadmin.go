package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// endAny ends a Session of anybody's, named by its own ID or by its access key
// ID.
func (w *Worker) endAny(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	e, err := w.Broker.FindIssued(ctx, strings.ToUpper(args[0]))
	if err != nil {
		return message{}, err
	}
	r, err := w.Broker.End(ctx, broker.Ending{
		Caller: a.Author.Slack, RequestID: e.RequestID, SessionID: e.SessionID, Deadline: w.Now().Add(jobPatience),
	})
	var fault *broker.Fault
	switch {
	case err == nil:
		return endedMessage(&r, e.SessionID, w.Now()), nil
	case errors.Is(err, broker.ErrNotFound):
		return nothingToEnd(), nil
	case errors.As(err, &fault):
		w.Log.Error("a session could not be ended", "request_id", fault.RequestID, "session_id", e.SessionID, "fault", fault.Code, "err", fault.Err)
		return notEnded(&r, fault, w.Now()), nil
	default:
		return message{}, err
	}
}

// endUser ends whatever a user holds.
func (w *Worker) endUser(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	name := policy.UserName(args[0])
	if _, err := a.User(ctx, name); err != nil {
		return message{}, err
	}
	n, err := w.Broker.EndUser(ctx, name, a.Author)
	return w.endedAll("`"+string(name)+"`", n, err)
}

// endRole ends whatever anybody holds of a role. It may have left the policy:
// its sessions have not.
func (w *Worker) endRole(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	role := policy.RoleName(args[0])
	n, err := w.Broker.EndRole(ctx, role, a.Author)
	if n == 0 && err == nil {
		if _, err := a.WhoCan(ctx, role); err != nil {
			return message{}, err // there is none of that name
		}
	}
	return w.endedAll("the role "+word(args[0]), n, err)
}

// endedAll says what came of ending many at once: n Requests that had something
// to end, and err, which joins what went wrong with some of them.
func (w *Worker) endedAll(whose string, n int, err error) (message, error) {
	if n == 0 && err != nil {
		return message{}, err
	}
	e := endings{ended: n}
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, one := range many.Unwrap() {
			e.without(one)
		}
	}
	if err != nil {
		w.Log.Error("not all sessions could be ended", "err", err)
	}
	return endingsMessage(whose, e), nil
}

// Endings are what came of ending the Sessions of several Requests.
type endings struct {
	ended   int
	fixed   []string // IDs of those that can't be ended early
	waiting []string // IDs of those that Starback keeps trying to end
	again   bool     // some may not even be recorded
}

// without takes one out of those that are ended.
func (e *endings) without(err error) {
	var fault *broker.Fault
	if !errors.As(err, &fault) {
		e.again = true
		return
	}
	e.ended--
	switch fault.Code {
	case broker.FaultStore:
		e.again = true
	case broker.FaultNoBoundary:
		e.fixed = append(e.fixed, fault.RequestID)
	default:
		e.waiting = append(e.waiting, fault.RequestID)
	}
}

// endingsMessage tells an administrator what came of ending all that somebody
// holds, or all of a role.
func endingsMessage(whose string, e endings) message {
	var lines []string
	if e.ended > 0 {
		lines = append(lines, fmt.Sprintf("✅  Ended for %s: %s. AWS denies their sessions everything from now on; it can take AWS some seconds to hold everywhere.",
			whose, count(e.ended, "request", "requests")))
	}
	if len(e.fixed) > 0 {
		lines = append(lines, fmt.Sprintf("⚠️  Can't be ended early: %s, %s. The IAM role has no boundary of Starback's, so the keys work until they expire.",
			count(len(e.fixed), "request", "requests"), names(e.fixed, 20)))
	}
	if len(e.waiting) > 0 {
		lines = append(lines, fmt.Sprintf("⏳  Not ended yet: %s, %s. AWS did not take it, or denies as many sessions of the IAM role as it can. Starback keeps trying.",
			count(len(e.waiting), "request", "requests"), names(e.waiting, 20)))
	}
	if e.again {
		lines = append(lines, "⚠️  Not all of it could be looked at or recorded. Type the command again in a minute.")
	}
	if len(lines) == 0 {
		return say("Nothing of "+whose+" is open, so there is nothing to end.", "")
	}
	return say(strings.Join(lines, "\n"), "")
}
