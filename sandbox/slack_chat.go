package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// slackMaxText is the most characters a message's text may have. Slack
	// cuts a posted one there; here it is refused, so that nothing is lost
	// unseen.
	slackMaxText = 40_000
	// slackMaxUpdate is the most bytes of text that chat.update takes.
	slackMaxUpdate = 4_000
	// slackPostEvery is the least time between two posts to a channel.
	slackPostEvery = time.Second
)

// check returns why Slack would refuse a message's content, with Slack's code
// and details, or an empty code. The caller holds s.mu.
func (s *Slack) check(c slackContent) (code string, messages []string) {
	if code, messages = c.check(); code != "" {
		return code, messages
	}
	var blocks []any
	if json.Unmarshal(c.blocks, &blocks) != nil {
		return "", nil // there are none
	}
	if missing := s.unknownGroups(blocks); len(missing) > 0 {
		return "invalid_blocks", missing
	}
	return "", nil
}

// unknownGroups complains of every user group that rich text mentions and that
// there is none of. In mrkdwn Slack shows such a mention as it is written.
func (s *Slack) unknownGroups(v any) (problems []string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			problems = append(problems, s.unknownGroups(item)...)
		}
	case map[string]any:
		id, _ := v["usergroup_id"].(string)
		if _, ok := s.groups[id]; v["type"] == "usergroup" && !ok {
			problems = append(problems, "[ERROR] usergroup ["+id+"] could not be found")
		}
		problems = append(problems, s.unknownGroups(v["elements"])...)
	}
	return problems
}

// check is the same, as far as the content alone tells.
func (c slackContent) check() (code string, messages []string) {
	var list []json.RawMessage
	given := len(c.blocks) > 0 && string(c.blocks) != "null"
	if given && json.Unmarshal(c.blocks, &list) != nil {
		return "invalid_blocks_format", nil
	}
	problems := ValidateBlocks(c.blocks, "message")
	switch {
	case len(list) == 0 && strings.TrimSpace(c.text) == "":
		return "no_text", nil
	case utf8.RuneCountInString(c.text) > slackMaxText:
		return "msg_too_long", nil
	case len(list) > 0 && slices.Contains(problems, kitTooLong):
		return "msg_blocks_too_long", nil
	case len(list) > 0 && len(problems) > 0:
		return "invalid_blocks", problems
	}
	return "", nil
}

func (s *Slack) chatPostMessage(_ *http.Request, a slackArgs) slackAnswer {
	c := s.destination(a.str("channel"))
	if c == nil {
		return slackError("channel_not_found")
	}
	if !c.BotIn {
		return slackError("not_in_channel")
	}
	content := a.content()
	if code, messages := s.check(content); code != "" {
		return slackError(code, messages...)
	}
	now := s.now()
	if last, ok := s.posted[c.ID]; ok && s.ratePerChannel && now.Sub(last) < slackPostEvery {
		return slackRateLimited(1)
	}
	s.posted[c.ID] = now
	m := s.postApp(c.ID, "", content)
	return slackOK(map[string]any{"channel": c.ID, "ts": m.TS, "message": s.messageObject(m)})
}

func (s *Slack) chatPostEphemeral(_ *http.Request, a slackArgs) slackAnswer {
	c := s.channels[a.str("channel")]
	user := a.str("user")
	switch {
	case c == nil:
		return slackError("channel_not_found")
	case !c.BotIn:
		return slackError("not_in_channel")
	case s.users[user] == nil:
		return slackError("user_not_found")
	case !slices.Contains(c.Members, user):
		return slackError("user_not_in_channel")
	}
	content := a.content()
	if code, messages := s.check(content); code != "" {
		return slackError(code, messages...)
	}
	m := s.postApp(c.ID, user, content)
	return slackOK(map[string]any{"message_ts": m.TS})
}

func (s *Slack) chatUpdate(_ *http.Request, a slackArgs) slackAnswer {
	c := s.channels[a.str("channel")]
	if c == nil {
		return slackError("channel_not_found")
	}
	m := s.find(c.ID, a.str("ts"))
	switch {
	case m == nil || m.Ephemeral:
		return slackError("message_not_found")
	case m.Bot != s.botID:
		return slackError("cant_update_message")
	}
	content := a.content()
	if len(content.text) > slackMaxUpdate {
		return slackError("msg_too_long")
	}
	if code, messages := s.check(content); code != "" {
		return slackError(code, messages...)
	}
	s.edit(m, content)
	return slackOK(map[string]any{"channel": c.ID, "ts": m.TS, "text": m.Text, "message": s.messageObject(m)})
}

// destination is where chat.postMessage goes: a channel, or the direct
// conversation with a user. It is nil if there is no such thing. The caller
// holds s.mu.
func (s *Slack) destination(id string) *SlackChannel {
	if u := s.users[id]; u != nil && !u.Bot {
		c, _ := s.direct(id)
		return c
	}
	return s.channels[id]
}

// messageObject is a message as the Web API and interactions describe it. The
// caller holds s.mu.
func (s *Slack) messageObject(m *slackMessage) map[string]any {
	out := map[string]any{"type": "message", "ts": m.TS, "text": m.Text, "team": s.teamID, "user": m.User}
	if m.Bot != "" {
		out["user"], out["bot_id"], out["app_id"] = s.botUser, m.Bot, s.appID
	}
	if m.Blocks != nil {
		out["blocks"] = m.Blocks
	}
	if m.ThreadTS != "" {
		out["thread_ts"] = m.ThreadTS
	}
	if m.Edited > 0 {
		out["edited"] = map[string]any{"user": out["user"], "ts": m.TS}
	}
	return out
}

func (s *Slack) authTest(r *http.Request, _ slackArgs) slackAnswer {
	out := map[string]any{"url": "http://" + r.Host + "/", "team": slackDomain, "team_id": s.teamID,
		"user": s.users[s.botUser].Name, "user_id": s.botUser, "bot_id": s.botID, "is_enterprise_install": false}
	if s.enterpriseID != "" {
		out["enterprise_id"] = s.enterpriseID
	}
	return slackOK(out)
}

func (s *Slack) usersInfo(_ *http.Request, a slackArgs) slackAnswer {
	u := s.users[a.str("user")]
	if u == nil {
		return slackError("user_not_found")
	}
	return slackOK(map[string]any{"user": s.userObject(u)})
}

func (s *Slack) usersLookupByEmail(_ *http.Request, a slackArgs) slackAnswer {
	for _, u := range s.users {
		if u.Email != "" && strings.EqualFold(u.Email, a.str("email")) && !u.Deleted {
			return slackOK(map[string]any{"user": s.userObject(u)})
		}
	}
	return slackError("users_not_found")
}

// userObject is a user as users.info and user_change describe one. The caller
// holds s.mu.
func (s *Slack) userObject(u *SlackUser) map[string]any {
	zone, err := time.LoadLocation(u.TZ)
	if err != nil {
		zone = time.UTC
	}
	now := s.now().In(zone)
	label, offset := now.Zone()
	out := map[string]any{
		"id": u.ID, "team_id": u.TeamID, "name": u.Name, "real_name": u.RealName,
		"deleted": u.Deleted, "is_bot": u.Bot, "is_app_user": u.AppUser,
		"is_restricted": u.Restricted, "is_ultra_restricted": u.UltraRestricted,
		"is_stranger": u.Stranger, "is_email_confirmed": u.EmailConfirmed,
		"tz": zone.String(), "tz_label": label, "tz_offset": offset, "updated": now.Unix(),
		"profile": map[string]any{"real_name": u.RealName, "display_name": u.Name, "email": u.Email, "team": u.TeamID},
	}
	if u.EnterpriseID != "" {
		out["enterprise_user"] = map[string]any{"id": u.ID, "enterprise_id": u.EnterpriseID,
			"enterprise_name": slackEnterprise, "teams": []string{u.TeamID}}
	}
	return out
}

func (s *Slack) conversationsInfo(_ *http.Request, a slackArgs) slackAnswer {
	c := s.channels[a.str("channel")]
	if c == nil {
		return slackError("channel_not_found")
	}
	return slackOK(map[string]any{"channel": channelObject(c)})
}

func (s *Slack) conversationsOpen(_ *http.Request, a slackArgs) slackAnswer {
	if id := a.str("channel"); id != "" {
		if s.channels[id] == nil {
			return slackError("channel_not_found")
		}
		return slackOK(map[string]any{"channel": channelObject(s.channels[id])})
	}
	ids := strings.Split(a.str("users"), ",")
	for _, id := range ids {
		u := s.users[id]
		switch {
		case u == nil:
			return slackError("user_not_found")
		case u.Bot:
			return slackError("cannot_dm_bot")
		case u.Deleted:
			return slackError("user_disabled")
		}
	}
	c, opened := s.direct(ids...)
	return slackOK(map[string]any{"channel": channelObject(c), "no_op": !opened, "already_open": !opened})
}

// channelObject is a conversation as conversations.info describes one.
func channelObject(c *SlackChannel) map[string]any {
	direct := strings.HasPrefix(c.ID, "D")
	out := map[string]any{"id": c.ID, "name": c.Name, "is_channel": strings.HasPrefix(c.ID, "C"),
		"is_im": direct, "is_mpim": strings.HasPrefix(c.ID, "G") && c.Name == "",
		"is_member": c.BotIn, "is_private": !strings.HasPrefix(c.ID, "C"), "is_archived": false}
	if direct && len(c.Members) == 1 {
		out["user"] = c.Members[0]
	}
	return out
}
