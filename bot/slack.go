package bot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
)

// A Client calls Slack's Web API. It implements broker.Directory and
// broker.Teller.
type Client struct {
	// Approvals is the id of the channel in which approvers are asked. Empty:
	// nobody is. It is set before the Client is used.
	Approvals string

	api          *slack.Client
	auditChannel string
}

// NewClient returns a Client. An empty apiURL is Slack's own; an empty
// auditChannel posts no audit. The http client must have a timeout.
func NewClient(token broker.Secret, apiURL, auditChannel string, client *http.Client) *Client {
	options := []slack.Option{slack.OptionHTTPClient(client)}
	if apiURL != "" {
		options = append(options, slack.OptionAPIURL(apiURL))
	}
	return &Client{api: slack.New(token.Reveal(), options...), auditChannel: auditChannel}
}

// Ready fails unless Slack accepts the bot token.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.api.AuthTestContext(ctx)
	return slackError(err)
}

// Profile implements broker.Directory.
func (c *Client) Profile(ctx context.Context, id broker.SlackID) (broker.Profile, error) {
	u, err := c.api.GetUserInfoContext(ctx, id.User)
	if refusedAs(err, "user_not_found", "user_not_visible") {
		return broker.Profile{}, nil // for good: somebody without a standing
	}
	if err != nil {
		return broker.Profile{}, slackError(err)
	}
	if u == nil || u.ID != id.User {
		return broker.Profile{}, fmt.Errorf("Slack told of somebody else: %w", broker.ErrUnavailable)
	}
	return broker.Profile{
		Standing: standingOf(*u, id), Email: lower(u.Profile.Email), EmailConfirmed: u.IsEmailConfirmed,
	}, nil
}

// standingOf reads a Standing out of what Slack says of a person. Whoever is
// not plainly a member of the team or enterprise in id is foreign.
func standingOf(u slack.User, id broker.SlackID) broker.Standing {
	switch {
	case u.Deleted:
		return broker.Deleted
	case u.IsBot, u.IsAppUser, u.IsConnectorBot, u.IsWorkflowBot, u.ID == "USLACKBOT":
		return broker.Bot
	case u.IsStranger, u.TeamID != id.Team && u.Enterprise.EnterpriseID != id.Team:
		return broker.Foreign
	case u.IsRestricted, u.IsUltraRestricted:
		return broker.Guest
	case u.IsInvitedUser:
		return "" // has not joined yet
	default:
		return broker.Active
	}
}

// Tell implements broker.Teller.
func (c *Client) Tell(ctx context.Context, t broker.Telling) (string, error) {
	switch {
	case t.Kind == broker.NoticeUndelivered && t.Request != nil:
		return "", c.write(ctx, t.Request.Slack, undeliveredMessage(t.Request, t.Now))
	case t.Kind == broker.NoticeExpiring && t.User != nil && t.To != nil:
		return "", c.write(ctx, t.To.Slack, endingMessage(t))
	case t.Kind == broker.NoticeEnding && t.Request != nil:
		return "", c.write(ctx, t.Request.Slack, windowEnding(t.Request, t.MayAsk))
	case t.Kind == broker.NoticeEnded && t.Request != nil:
		return "", c.tellEnded(ctx, t)
	case t.Kind == broker.NoticeApproval && t.Request != nil:
		return c.tellApprovers(ctx, t)
	case t.Kind == broker.NoticeRemind && t.Request != nil:
		return c.remindApprovers(ctx, t)
	case t.Kind == broker.NoticeEscalate && t.Request != nil:
		return c.escalate(ctx, t)
	case t.Kind == broker.NoticeOutcome && t.Request != nil:
		return c.tellRequester(ctx, t)
	case t.Kind == broker.NoticeOver && t.Request != nil:
		return "", c.refreshDirect(ctx, t)
	case t.Kind != broker.NoticeAudit:
		return "", fmt.Errorf("a notice of the unknown kind %q: %w", t.Kind, broker.ErrInvalid)
	case c.auditChannel == "":
		return "", nil
	case t.Request == nil:
		return c.tellEvents(ctx, t)
	default:
		return c.keep(ctx, c.auditChannel, t.Thread, requestMessage(t.Request), timeline(t.Notices))
	}
}

// tellApprovers brings a Request's message in the approvals channel up to date.
func (c *Client) tellApprovers(ctx context.Context, t broker.Telling) (post string, err error) {
	if c.Approvals == "" {
		return "", nil // the requester was told
	}
	return c.keep(ctx, c.Approvals, t.Post, approvalMessage(t), progress(t.Request, t.Notices))
}

// remindApprovers calls approvers once more, beneath the Request's message.
func (c *Client) remindApprovers(ctx context.Context, t broker.Telling) (post string, err error) {
	if c.Approvals == "" || t.Post == "" {
		return "", nil
	}
	return c.keep(ctx, c.Approvals, t.Post, approvalMessage(t), reminder(t))
}

// escalate calls those approvers whose time has come now, too.
func (c *Client) escalate(ctx context.Context, t broker.Telling) (post string, err error) {
	if c.Approvals == "" {
		return "", nil
	}
	return c.keep(ctx, c.Approvals, t.Post, approvalMessage(t), escalation(t))
}

// tellRequester tells somebody what came of their Request. Nothing is told of
// one that was revealed meanwhile. Of one that can be revealed now it returns
// where the message is: its conversation, a slash, and its ts.
func (c *Client) tellRequester(ctx context.Context, t broker.Telling) (direct string, err error) {
	r := t.Request
	if r.State == broker.StateOpen || r.State == broker.StateClosed {
		return "", nil
	}
	channel, ts, err := c.writeTo(ctx, r.Slack, outcomeMessage(r, t.Now))
	if err != nil || ts == "" || r.State != broker.StateApproved {
		return "", err
	}
	return channel + "/" + ts, nil
}

// refreshDirect puts how a Request stands in the place of the message that told
// its requester to reveal it. One that is there no more, or cannot be changed
// any more, counts as changed: another try would not change it either.
func (c *Client) refreshDirect(ctx context.Context, t broker.Telling) error {
	if t.Direct == "" {
		return nil // an application was told nothing
	}
	channel, ts, ok := strings.Cut(t.Direct, "/")
	if !ok {
		return fmt.Errorf("no message is at %q: %w", t.Direct, broker.ErrInvalid)
	}
	_, _, _, err := c.api.UpdateMessageContext(ctx, channel, ts, outcomeMessage(t.Request, t.Now).options()...)
	if refusedAs(err, unreachable...) || refusedAs(err, unchangeable...) {
		return nil
	}
	return slackError(err)
}

// tellEnded tells those concerned that Sessions of a Request were ended.
func (c *Client) tellEnded(ctx context.Context, t broker.Telling) error {
	for _, n := range t.Notices {
		if n.Event.Slack == "" {
			continue
		}
		to, err := broker.ParseSlackID(n.Event.Slack)
		if err != nil {
			return err
		}
		if err := c.write(ctx, to, endedFor(t.Request, n.Event)); err != nil {
			return err
		}
	}
	return nil
}

// keep brings a message up to date, or posts it where there is none at ts, and
// adds a reply to its thread. It returns where the message is.
func (c *Client) keep(ctx context.Context, channel, ts string, m, reply message) (at string, err error) {
	at = ts
	if ts != "" {
		_, _, _, err = c.api.UpdateMessageContext(ctx, channel, ts, m.options()...)
		if refusedAs(err, "message_not_found") { // somebody has deleted it
			ts = ""
		}
	}
	if ts == "" {
		var posted string
		if _, posted, err = c.api.PostMessageContext(ctx, channel, m.options()...); err == nil {
			at = posted
		}
	}
	if err != nil {
		return at, slackError(err)
	}
	_, _, err = c.api.PostMessageContext(ctx, channel, append(reply.options(), slack.MsgOptionTS(at))...)
	return at, slackError(err)
}

// write sends somebody a direct message. Whoever has no account in Slack, as an
// application, and whom no message can reach any more counts as told: another try
// would not reach them either.
func (c *Client) write(ctx context.Context, to broker.SlackID, m message) error {
	_, _, err := c.writeTo(ctx, to, m)
	return err
}

// writeTo is write, and says where the message is, if it is anywhere.
func (c *Client) writeTo(ctx context.Context, to broker.SlackID, m message) (channel, ts string, err error) {
	if to.IsZero() {
		return "", "", nil
	}
	channel, ts, err = c.api.PostMessageContext(ctx, to.User, m.options()...)
	switch {
	case refusedAs(err, unreachable...):
		return "", "", nil
	case err != nil:
		return "", "", slackError(err)
	}
	return channel, ts, nil
}

// refusedAs says whether Slack refused a call with one of its own words.
func refusedAs(err error, words ...string) bool {
	var refused slack.SlackErrorResponse
	return errors.As(err, &refused) && slices.Contains(words, refused.Err)
}

// tellEvents posts each Event as a message of its own. A Proposal's is the
// beginning of a thread that the answers go to.
func (c *Client) tellEvents(ctx context.Context, t broker.Telling) (thread string, err error) {
	thread = t.Thread
	for _, n := range t.Notices {
		if n.Event == nil {
			continue
		}
		m := eventMessage(*n.Event)
		options := m.options()
		switch {
		case n.Event.ProposalID == "":
		case n.Event.Event != broker.EventProposed:
			if thread != "" {
				options = append(options, slack.MsgOptionTS(thread))
			}
		case thread != "":
			continue // posted before, when something after it failed
		case !hasAnswer(t.Notices):
			m.blocks = append(m.blocks, proposalButtons(n.Event.ProposalID))
			options = m.options()
		}
		_, posted, err := c.api.PostMessageContext(ctx, c.auditChannel, options...)
		if err != nil {
			return thread, slackError(err)
		}
		if n.Event.Event == broker.EventProposed {
			thread = posted
		}
	}
	return thread, nil
}

// hasAnswer says whether one of the Notices is of the answer to a Proposal.
func hasAnswer(notices []broker.Notice) bool {
	return slices.ContainsFunc(notices, func(n broker.Notice) bool {
		return n.Event != nil && (n.Event.Event == broker.EventConfirmed || n.Event.Event == broker.EventRejected)
	})
}

// unreachable are Slack's words for a person to whom no message goes, for good.
// Source: the errors of chat.postMessage and conversations.open.
var unreachable = []string{
	"user_disabled", "user_not_found", "users_not_found", "user_not_visible", "cannot_dm_bot", "channel_not_found", "is_archived",
}

// unchangeable are Slack's words for a message that cannot be changed, for good.
// Source: the errors of chat.update.
var unchangeable = []string{"message_not_found", "cant_update_message", "edit_window_closed"}

// replaceAudit puts another message in the place of one in the audit channel.
func (c *Client) replaceAudit(ctx context.Context, ts string, m message) error {
	if c.auditChannel == "" {
		return nil
	}
	_, _, _, err := c.api.UpdateMessageContext(ctx, c.auditChannel, ts, m.options()...)
	return slackError(err)
}

// whisper shows a message to one person in a channel. Slack does not promise
// that it arrives.
func (c *Client) whisper(ctx context.Context, channel string, id broker.SlackID, m message) error {
	_, err := c.api.PostEphemeralContext(ctx, channel, id.User, m.options()...)
	return slackError(err)
}

// slackError turns an error of slack-go's into broker's terms. A *url.Error is
// unwrapped: it prints the whole URL.
func slackError(err error) error {
	if err == nil {
		return nil
	}
	var limited *slack.RateLimitedError
	if errors.As(err, &limited) {
		return &broker.Patience{After: limited.RetryAfter}
	}
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("Slack: %w: %w", err, broker.ErrUnavailable)
}
