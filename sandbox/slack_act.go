package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Command delivers "/starback text", typed by a user in a channel they are in,
// and shows them the answer as Slack does: plain text and JSON as a message that
// only they see, unless its response_type is in_channel; an app that does not
// answer well as Slackbot's word about it. A person's text is escaped, and
// @name and #name become mentions.
//
// It fails if the user or channel is unknown, the user is not in it, or belongs
// to another organisation: commands are not shared with those. A deleted user may
// act, as one whose last words crossed with the deletion.
func (s *Slack) Command(ctx context.Context, userID, channelID, text string) (Ack, error) {
	s.mu.Lock()
	c, err := s.member(userID, channelID)
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	u := s.users[userID]
	if !s.home(u) {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("sandbox: user %s is of another organisation: commands are not shared", userID)
	}
	responseURL, link := s.link("commands", slackLink{user: userID, channel: channelID})
	form := map[string]string{
		"token": s.verification, "team_id": s.teamID, "team_domain": slackDomain,
		"channel_id": c.ID, "channel_name": slackName(c), "user_id": u.ID, "user_name": u.Name,
		"command": "/starback", "text": s.typed(text), "api_app_id": s.appID, "is_enterprise_install": "false",
		"response_url": responseURL, "trigger_id": s.trigger(userID),
	}
	if s.enterpriseID != "" {
		form["enterprise_id"], form["enterprise_name"] = s.enterpriseID, slackEnterprise
	}
	s.mu.Unlock()

	values := url.Values{}
	for k, v := range form {
		values.Set(k, v)
	}
	ack, err := s.deliver(ctx, slackDelivery{path: "/slack/commands", kind: "application/x-www-form-urlencoded",
		body: []byte(values.Encode()), envelope: "slash_commands", payload: slackJSON(form)})
	if err != nil {
		return ack, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.showAck(link, ack)
	return ack, nil
}

// showAck shows a user the answer to their command. The caller holds s.mu.
func (s *Slack) showAck(l *slackLink, ack Ack) {
	problem := ack.Problem
	body := strings.TrimSpace(string(ack.Body))
	if problem == "" && body != "" {
		var p slackResponse
		if !strings.HasPrefix(body, "{") {
			p.Text = body
		} else if json.Unmarshal(ack.Body, &p) != nil {
			p = slackResponse{Text: body}
		}
		if p.Text == "" && len(p.Blocks) == 0 {
			return
		}
		problem = s.apply(l, p)
	}
	if problem != "" {
		s.post(Message{Channel: l.channel, User: s.slackbot, Ephemeral: true, For: l.user,
			Text: fmt.Sprintf("/starback failed with the error \"%s\"", problem)})
	}
}

// Click delivers a user's click on a button of a message they can see, as the
// message is now. It fails if they cannot see it, or it has no such button.
func (s *Slack) Click(ctx context.Context, userID string, m Message, actionID string) (Ack, error) {
	return s.act(ctx, userID, m, actionID, "")
}

// Choose delivers a user's choice, by the option's value, in a menu or a set of
// radio buttons of a message they can see. It fails if there is no such option.
func (s *Slack) Choose(ctx context.Context, userID string, m Message, actionID, value string) (Ack, error) {
	return s.act(ctx, userID, m, actionID, value)
}

// act delivers the block_actions of a message.
func (s *Slack) act(ctx context.Context, userID string, m Message, actionID, choice string) (Ack, error) {
	s.mu.Lock()
	payload, err := s.messageAction(userID, m, actionID, choice)
	s.mu.Unlock()
	if err != nil {
		return Ack{}, err
	}
	return s.interact(ctx, payload)
}

// messageAction builds the payload of an action on a message. The caller holds
// s.mu.
func (s *Slack) messageAction(userID string, m Message, actionID, choice string) (map[string]any, error) {
	now := s.find(m.Channel, m.TS)
	if now == nil || s.users[userID] == nil || !s.sees(userID, now) {
		return nil, fmt.Errorf("sandbox: user %s sees no message %s in %s", userID, m.TS, m.Channel)
	}
	action, err := s.action(now.Blocks, actionID, choice)
	if err != nil {
		return nil, err
	}
	payload := s.interaction("block_actions", userID)
	container := map[string]any{"type": "message", "message_ts": now.TS, "channel_id": now.Channel,
		"is_ephemeral": now.Ephemeral}
	if now.ThreadTS != "" {
		container["thread_ts"] = now.ThreadTS
	}
	channel := map[string]any{"id": now.Channel}
	if c := s.channels[now.Channel]; c != nil {
		channel["name"] = slackName(c)
	}
	payload["container"], payload["channel"] = container, channel
	payload["actions"] = []any{action}
	if !now.Ephemeral {
		payload["message"] = s.messageObject(now)
	}
	payload["response_url"], _ = s.link("actions",
		slackLink{user: userID, channel: now.Channel, original: now, thread: now.ThreadTS})
	return payload, nil
}

// interact delivers an interaction.
func (s *Slack) interact(ctx context.Context, payload map[string]any) (Ack, error) {
	encoded := slackJSON(payload)
	body := url.Values{"payload": {string(encoded)}}.Encode()
	return s.deliver(ctx, slackDelivery{path: "/slack/interactions", kind: "application/x-www-form-urlencoded",
		body: []byte(body), envelope: "interactive", payload: encoded})
}

// interaction returns what every interaction of a user carries. The caller
// holds s.mu.
func (s *Slack) interaction(kind, userID string) map[string]any {
	u := s.users[userID]
	var enterprise any
	if s.enterpriseID != "" {
		enterprise = map[string]any{"id": s.enterpriseID, "name": slackEnterprise}
	}
	return map[string]any{
		"type": kind, "api_app_id": s.appID, "token": s.verification, "trigger_id": s.trigger(userID),
		"user":       map[string]any{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": u.TeamID},
		"team":       map[string]any{"id": s.teamID, "domain": slackDomain},
		"enterprise": enterprise, "is_enterprise_install": false,
	}
}

// action returns the entry of "actions" for an element of some blocks. choice
// is an option's value, or empty for a button. The caller holds s.mu.
func (s *Slack) action(blocks json.RawMessage, actionID, choice string) (map[string]any, error) {
	var list []map[string]any
	if len(blocks) > 0 {
		if err := json.Unmarshal(blocks, &list); err != nil {
			return nil, fmt.Errorf("sandbox: stored blocks: %w", err)
		}
	}
	for _, b := range list {
		for _, e := range kitElements(b) {
			if e["action_id"] != actionID {
				continue
			}
			out := map[string]any{"action_id": actionID, "block_id": b["block_id"], "type": e["type"],
				"action_ts": s.timestamp()}
			if e["type"] == "button" {
				out["text"] = e["text"]
				if v, ok := e["value"]; ok {
					out["value"] = v
				}
				return out, nil
			}
			option := kitOption(e, choice)
			if option == nil {
				return nil, fmt.Errorf("sandbox: %s has no option %q", actionID, choice)
			}
			out["selected_option"] = option
			return out, nil
		}
	}
	return nil, fmt.Errorf("sandbox: the message has no element %q", actionID)
}

// A trigger id opens one view, within three seconds of the action.
const slackTriggerLife = 3 * time.Second

// slackTrigger is one trigger id.
type slackTrigger struct {
	user string
	made time.Time
	used bool
}

// trigger makes a trigger id for a user. The caller holds s.mu.
func (s *Slack) trigger(userID string) string {
	id := s.next("") + "." + s.secret()
	s.triggers[id] = &slackTrigger{user: userID, made: s.now()}
	return id
}

// redeem checks a trigger id and uses it up. It returns its user, or Slack's
// error code. The caller holds s.mu.
func (s *Slack) redeem(id string) (userID, code string) {
	t := s.triggers[id]
	switch {
	case t == nil:
		return "", "invalid_trigger_id"
	case t.used:
		return "", "exchanged_trigger_id"
	case s.now().Sub(t.made) >= slackTriggerLife:
		return "", "expired_trigger_id"
	}
	t.used = true
	return t.user, ""
}
