package bot

import (
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
)

// The audit channel's messages. A Request has one message, updated in place to
// its present state, and a thread that is its timeline. What administrators do
// is a message each.

// requestMessage is a Request as it is now.
func requestMessage(r *broker.Request) message {
	who := "somebody unknown (`" + r.Slack.String() + "`)"
	if r.User != "" {
		who = "*" + string(r.User) + "*"
	}
	head := fmt.Sprintf("%s  %s asked for %s", requestMark(r), who, word(string(r.Role)))
	if r.AccountID != "" {
		head += " in `" + r.AccountID + "`"
	}
	if r.Duration > 0 {
		head += " for " + span(r.Duration)
	}
	state := requestState(r)
	m := message{
		text:   strings.NewReplacer("*", "", "`", "").Replace(head) + ": " + state + ".",
		blocks: []slack.Block{section(head + "\n" + state)},
	}
	if r.Ticket != "" {
		m.blocks = append(m.blocks, quote("Ticket", r.Ticket))
	}
	if reason := reasonOf(r); reason != "" {
		m.blocks = append(m.blocks, quote("Reason", reason))
	}
	foot := []string{requestLine(r.ID)}
	if s := newest(r); s != nil && s.AccessKeyID != "" {
		foot = append(foot, "Session `"+s.ID+"`", "Key `"+s.AccessKeyID+"`")
	}
	m.blocks = append(m.blocks, small(strings.Join(foot, "  ·  ")))
	return m
}

// reasonOf is the reason, or before it was told from the ticket all the words.
func reasonOf(r *broker.Request) string {
	if r.Reason == "" && r.Ticket == "" {
		return r.Words
	}
	return r.Reason
}

func newest(r *broker.Request) *broker.Session {
	if len(r.Sessions) == 0 {
		return nil
	}
	return &r.Sessions[len(r.Sessions)-1]
}

func requestMark(r *broker.Request) string {
	switch r.State {
	case broker.StateOpen:
		return "🟢"
	case broker.StateDenied:
		return "⛔"
	case broker.StateClosed:
		return "⚠️"
	default:
		return "⏳"
	}
}

// requestState says in words how far the Request has come.
func requestState(r *broker.Request) string {
	s := newest(r)
	switch r.State {
	case broker.StateOpen:
		issued := 0
		var ends time.Time
		for _, s := range r.Sessions {
			if s.State == broker.SessionIssued {
				issued++
				if s.ExpiresAt.After(ends) {
					ends = s.ExpiresAt
				}
			}
		}
		if issued == 1 {
			return "Issued, until " + when(ends)
		}
		return fmt.Sprintf("Issued %d times, the last until %s", issued, when(ends))
	case broker.StateDenied:
		return "Denied by the rule `" + string(r.Rule) + "`"
	case broker.StateClosed:
		outcome := "nothing"
		if s != nil && s.Outcome != "" {
			outcome = s.Outcome
		}
		return "Failed, and nothing was issued: `" + outcome + "`"
	default:
		return "Asked, and not answered yet"
	}
}

// timeline is what a thread says of new Events.
func timeline(notices []broker.Notice) message {
	var lines []string
	for _, n := range notices {
		if n.Event != nil {
			lines = append(lines, eventLine(*n.Event))
		}
	}
	m := message{text: fmt.Sprintf("New in the timeline: %d.", len(lines))}
	var shown int
	m.blocks, shown = list(lines)
	if rest := len(lines) - shown; rest > 0 {
		m.blocks = append(m.blocks, small(fmt.Sprintf("And %d more, in the audit index", rest)))
	}
	return m
}

// eventLine is one Event in words of ours, at most some 700 characters. It
// holds no text of a user's.
func eventLine(e broker.Event) string {
	at := fmt.Sprintf("<!date^%d^{time_secs}|%s>", e.Time.Unix(), e.Time.UTC().Format("15:04:05 UTC"))
	switch e.Event {
	case broker.EventAsked:
		return at + "  asked"
	case broker.EventTakenOver:
		return at + "  taken over: the worker before did not finish"
	case broker.EventIssued:
		return fmt.Sprintf("%s  issued by the rule `%s` (%s): session `%s`, key `%s`, until %s",
			at, e.Rule, escape(cut(e.Path, 300)), e.SessionID, e.AccessKeyID, when(e.ExpiresAt))
	case broker.EventDenied:
		return fmt.Sprintf("%s  denied by the rule `%s`", at, e.Rule)
	case broker.EventFailed:
		return fmt.Sprintf("%s  failed: `%s`", at, e.Outcome)
	case broker.EventUndelivered:
		return fmt.Sprintf("%s  session `%s` may not have been shown: Slack did not confirm it", at, e.SessionID)
	default:
		return at + "  " + string(e.Event)
	}
}

// eventMessage is an Event that belongs to no Request: what an administrator
// did, or a binding.
func eventMessage(e broker.Event) message {
	what := map[broker.EventName]string{
		broker.EventInitialised:   "Starback was set up",
		broker.EventPolicyApplied: "A new policy was applied",
		broker.EventUserCreated:   "A user was added",
		broker.EventUserChanged:   "A user was changed",
		broker.EventUserDisabled:  "A user was switched off",
		broker.EventIdentityBound: "A Slack account was bound",
	}[e.Event]
	if what == "" {
		what = "`" + string(e.Event) + "`"
	}
	if e.Subject != "" {
		what += ": " + word(e.Subject)
	}
	if e.PolicyVersion > 0 {
		what += fmt.Sprintf(" (version %d)", e.PolicyVersion)
	}
	m := message{text: strings.ReplaceAll(what, "`", "") + "."}
	m.blocks = []slack.Block{section("ℹ️  " + what)}
	if e.Detail != "" {
		m.blocks = append(m.blocks, quote("", e.Detail))
	}
	m.blocks = append(m.blocks, quote("By", firstOf(e.Actor, "unknown")), small("Event `"+e.ID+"`  ·  "+when(e.Time)))
	return m
}

// undeliveredMessage tells a requester that credentials could not be shown, as
// far as is known.
func undeliveredMessage(r *broker.Request) message {
	return say(fmt.Sprintf("I had credentials for %s for you, but Slack did not confirm that it showed them. If you do not see them, ask again.",
		word(string(r.Role))), requestLine(r.ID))
}
