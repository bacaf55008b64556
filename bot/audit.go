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
	switch {
	case r.User != "":
		who = "*" + string(r.User) + "*"
	case r.TokenID != "":
		who = "the bearer of the token `" + r.TokenID + "`"
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
		text:   bare(head + ": " + state + "."),
		blocks: []slack.Block{section(head + "\n" + state)},
	}
	if r.Ticket != "" {
		m.blocks = append(m.blocks, quote("Ticket", r.Ticket, linksOf(r)...))
	}
	if reason := reasonOf(r); reason != "" {
		m.blocks = append(m.blocks, quote("Reason", reason, linksOf(r)...))
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
	case broker.StateApproved:
		return "✅"
	case broker.StateWithdrawn, broker.StateLapsed:
		return "☑️"
	case broker.StateVoid:
		return "⚠️"
	case broker.StateClosed:
		if r.OpenedAt.IsZero() {
			return "⚠️" // it never opened
		}
		return "☑️"
	default:
		return "⏳"
	}
}

// requestState says in words how far the Request has come.
func requestState(r *broker.Request) string {
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
		words := "Issued, until " + when(ends)
		if issued != 1 {
			words = fmt.Sprintf("Issued %d times, the last until %s", issued, when(ends))
		}
		if r.Needs != nil {
			words += ", approved by " + approvedBy(r)
		}
		return words
	case broker.StateDenied:
		if no := declined(r); no != nil {
			return fmt.Sprintf("Denied by `%s`", no.User)
		}
		return "Denied by the rule `" + string(r.Rule) + "`"
	case broker.StateClosed:
		if !r.OpenedAt.IsZero() {
			return "Over since " + when(r.WindowEnd) + unended(r)
		}
		outcome := "nothing"
		if s := newest(r); s != nil && s.Outcome != "" {
			outcome = s.Outcome
		}
		return "Failed, and nothing was issued: `" + outcome + "`"
	case broker.StateAsked:
		return "Asked, and not answered yet"
	default:
		return strings.TrimSuffix(howItStands(r), ".")
	}
}

// timeline is what a thread says of new Events.
func timeline(notices []broker.Notice) message {
	var lines, said []string
	for _, n := range notices {
		if n.Event != nil {
			lines, said = append(lines, eventLine(*n.Event)), append(said, eventWhat(*n.Event))
		}
	}
	return message{text: aloud("New in the timeline", said), blocks: threadBlocks(lines, notices)}
}

// threadBlocks are the lines of a thread, as many as there is room for, and why
// somebody said no.
func threadBlocks(lines []string, notices []broker.Notice) []slack.Block {
	blocks, shown := list(lines, maxList)
	if rest := len(lines) - shown; rest > 0 {
		blocks = append(blocks, small(fmt.Sprintf("And %d more, in the audit index", rest)))
	}
	for _, n := range notices {
		if n.Event != nil && n.Event.Event == broker.EventDeclined && n.Event.Detail != "" {
			blocks = append(blocks, quote("Why not", n.Event.Detail))
		}
	}
	return blocks
}

// eventLine is one Event in words of ours, at most some 700 characters. It
// holds no text of a user's.
func eventLine(e broker.Event) string {
	return clock(e.Time) + "  " + eventWhat(e)
}

// clock shows a time of day, to the second, in the reader's own time zone.
func clock(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{time_secs}|%s>", t.Unix(), t.UTC().Format("15:04:05 UTC"))
}

// eventWhat says what happened, without the time.
func eventWhat(e broker.Event) string {
	switch e.Event {
	case broker.EventAsked:
		return "asked"
	case broker.EventTakenOver:
		return "taken over: the worker before did not finish"
	case broker.EventIssued:
		return fmt.Sprintf("issued by the rule `%s` (%s): session `%s`, key `%s`, until %s",
			e.Rule, escape(cut(e.Path, 300)), e.SessionID, e.AccessKeyID, when(e.ExpiresAt))
	case broker.EventDenied:
		return fmt.Sprintf("denied by the rule `%s`", e.Rule)
	case broker.EventFailed:
		return fmt.Sprintf("failed: `%s`", e.Outcome)
	case broker.EventUndelivered:
		if e.TokenID != "" {
			return fmt.Sprintf("session `%s` may not have been seen: the application was gone before it had it", e.SessionID)
		}
		return fmt.Sprintf("session `%s` may not have been shown: Slack did not confirm it", e.SessionID)
	case broker.EventPending:
		return "put to approvers, until " + when(e.ExpiresAt)
	case broker.EventApproved:
		return fmt.Sprintf("approved by %s, for %s", word(e.Actor), span(time.Duration(e.Duration)*time.Second))
	case broker.EventDeclined:
		return "denied by " + word(e.Actor)
	case broker.EventWithdrawn:
		return "withdrawn by " + word(e.Actor)
	case broker.EventLapsed:
		return "lapsed"
	case broker.EventVoid:
		return fmt.Sprintf("void: %s (rule `%s`)", voidOf(e.Rule).they, e.Rule)
	case broker.EventClosed:
		return "over"
	case broker.EventEndAsked:
		if e.SessionID == "" {
			return "ended by " + word(e.Actor)
		}
		return fmt.Sprintf("to be ended by %s: session %s", word(e.Actor), word(e.SessionID))
	case broker.EventEnded:
		return fmt.Sprintf("ended: session %s", word(e.SessionID))
	default:
		if words := eventWords[e.Event]; words != "" {
			return strings.ToLower(words[:1]) + words[1:]
		}
		return string(e.Event)
	}
}

// eventWords say what an Event is that belongs to no Request.
var eventWords = map[broker.EventName]string{
	broker.EventInitialised:      "Starback was set up",
	broker.EventPolicyApplied:    "A new policy was applied",
	broker.EventPolicyChanged:    "The policy was changed by a command",
	broker.EventPolicyRolledBack: "The policy was put back to an older version",
	broker.EventUserCreated:      "A user was added",
	broker.EventUserChanged:      "A user was changed",
	broker.EventUserDisabled:     "A user was switched off",
	broker.EventUserEnabled:      "A user was switched on again",
	broker.EventUserRenewed:      "A user's access ends at another time",
	broker.EventUserRemoved:      "A user was removed for good",
	broker.EventIdentityBound:    "A Slack account was bound",
	broker.EventTokenCreated:     "An access token was made",
	broker.EventTokenRevoked:     "An access token was revoked",
	broker.EventProposed:         "A change waits for a second administrator",
	broker.EventConfirmed:        "A proposed change was confirmed",
	broker.EventRejected:         "A proposed change was rejected",
}

// eventMessage is an Event that belongs to no Request: what an administrator
// did, or a binding. One that is loud stands out, and calls everybody who is
// there, once.
func eventMessage(e broker.Event) message {
	what := eventWords[e.Event]
	if what == "" {
		what = "`" + string(e.Event) + "`"
	}
	if e.Subject != "" {
		what += ": " + word(e.Subject)
	}
	if e.PolicyVersion > 0 {
		what += fmt.Sprintf(" (version %d)", e.PolicyVersion)
	}
	plain := strings.ReplaceAll(what, "`", "")
	m := message{text: plain + "."}
	if e.ProposalID != "" {
		m.text += " " + bare(proposalLine(e.ProposalID)) + "."
	}
	if e.Loud == "" {
		m.blocks = append(m.blocks, section("ℹ️  "+what))
	} else {
		m.text = "⚠️ " + m.text + " Open the message to read why everybody is called."
		m.blocks = append(m.blocks, loudHeader(unescape(plain)), calling(e.Loud))
	}
	if e.Detail != "" {
		m.blocks = append(m.blocks, quote("", e.Detail))
	}
	m.blocks = append(m.blocks, quote("By", firstOf(e.Actor, "unknown")), small(strings.Join(eventFoot(e), "  ·  ")))
	return m
}

// eventFoot is the small print of an Event.
func eventFoot(e broker.Event) []string {
	foot := []string{"Event `" + e.ID + "`"}
	if e.TokenID != "" {
		foot = append(foot, "Token "+word(e.TokenID))
	}
	if e.ProposalID != "" {
		foot = append(foot, proposalLine(e.ProposalID))
	}
	return append(foot, when(e.Time))
}

// loudHeader is a headline, in plain text.
func loudHeader(plain string) slack.Block {
	return slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, cut("⚠️ "+cleanText(plain), maxHeader), true, false))
}

// calling calls everybody in the channel who is there, and shows them text of a
// user's.
func calling(text string) slack.Block {
	return slack.NewRichTextBlock("", slack.NewRichTextSection(
		slack.NewRichTextSectionBroadcastElement("here"),
		slack.NewRichTextSectionTextElement(" "+cut(cleanText(text), maxSection-200), nil),
	))
}

// endingMessage tells somebody that their access ends soon, or that of an
// application they answer for, and how to keep it.
func endingMessage(t broker.Telling) message {
	u := t.User
	whose := "Your access to Starback"
	if u.IsApp {
		whose = "The access to Starback of `" + string(u.Name) + "`, an application that you answer for,"
	}
	var left time.Duration
	for _, n := range t.Notices {
		if before := n.About.Sub(n.Due); n.About.Equal(u.Expires) && (left == 0 || before < left) {
			left = before
		}
	}
	keep := "To keep it, ask an administrator to type " + adminCommand("user renew "+string(u.Name)) + "."
	return say(fmt.Sprintf("%s ends %s (%s). %s", whose, when(u.Expires), within(left), keep), "")
}

// within says how much time is left at the most, in days or, for the last of
// them, in hours.
func within(left time.Duration) string {
	const day = 24 * time.Hour
	if left > day {
		return fmt.Sprintf("within %d days", (left+day-1)/day)
	}
	return "within " + count(int((left+time.Hour-1)/time.Hour), "hour", "hours")
}
