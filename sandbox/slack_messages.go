package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Message is one message as the people who see it see it now.
type Message struct {
	TS      string // Slack's timestamp, which names the message in its channel
	Channel string // the channel's id
	User    string // the author's user id, when a person or Slackbot wrote it
	Bot     string // the author's bot id, when the app did
	Text    string // mrkdwn, escaped; the fallback when there are blocks
	// Blocks is the JSON array of blocks, each with a block_id, or nil.
	Blocks    json.RawMessage
	Ephemeral bool
	For       string // the only user who sees it, when ephemeral
	ThreadTS  string // the parent's TS, when it is a reply
	Edited    int    // how many times it was changed
}

// slackMessage is a Message with what the workspace keeps about it.
type slackMessage struct {
	Message
	revision int // of the workspace, when it was last changed
}

// slackContent is what an app puts in a message.
type slackContent struct {
	text   string
	blocks json.RawMessage
	thread string
}

// Seen returns every message a user can see, oldest first: those of the
// channels they are in, their direct messages, and ephemeral ones for them.
// Deleted messages are gone; edited ones are in their latest state.
func (s *Slack) Seen(userID string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen(userID, 0)
}

// Channel returns the messages of a channel, replies included, oldest first.
// Ephemeral ones are not part of a channel.
func (s *Slack) Channel(id string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages {
		if m.Channel == id && !m.Ephemeral {
			out = append(out, m.Message)
		}
	}
	return out
}

// WaitFor waits until done holds for what a user sees, and returns that. It
// looks again whenever something changes. When ctx ends first, it returns the
// messages seen by then and an error that wraps ctx's.
func (s *Slack) WaitFor(ctx context.Context, userID string, done func([]Message) bool) ([]Message, error) {
	for {
		s.mu.Lock()
		seen, changed := s.seen(userID, 0), s.changed
		s.mu.Unlock()
		if done(seen) {
			return seen, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return seen, fmt.Errorf("sandbox: %s never saw it, in %d messages: %w", userID, len(seen), ctx.Err())
		}
	}
}

// Say posts a message typed by a person, escaped as Slack escapes it. It fails
// if the user or channel is unknown or the user is not in the channel.
func (s *Slack) Say(userID, channelID, text string) (Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.member(userID, channelID); err != nil {
		return Message{}, err
	}
	m := s.post(Message{Channel: channelID, User: userID, Text: s.typed(text)})
	return m.Message, nil
}

// seen returns the messages a user can see that changed after a revision. The
// caller holds s.mu.
func (s *Slack) seen(userID string, after int) []Message {
	var out []Message
	for _, m := range s.messages {
		if m.revision > after && s.sees(userID, m) {
			out = append(out, m.Message)
		}
	}
	return out
}

// sees reports whether a user can see a message. The caller holds s.mu.
func (s *Slack) sees(userID string, m *slackMessage) bool {
	if m.Ephemeral {
		return m.For == userID
	}
	c := s.channels[m.Channel]
	return c != nil && slices.Contains(c.Members, userID)
}

// member returns the channel if the user exists and is in it. The caller holds
// s.mu.
func (s *Slack) member(userID, channelID string) (*SlackChannel, error) {
	c, ok := s.channels[channelID]
	switch {
	case s.users[userID] == nil:
		return nil, fmt.Errorf("sandbox: no user %s", userID)
	case !ok:
		return nil, fmt.Errorf("sandbox: no channel %s", channelID)
	case !slices.Contains(c.Members, userID):
		return nil, fmt.Errorf("sandbox: user %s is not in channel %s", userID, channelID)
	}
	return c, nil
}

// post appends a message, with the next timestamp. The caller holds s.mu.
func (s *Slack) post(m Message) *slackMessage {
	m.TS = s.timestamp()
	p := &slackMessage{Message: m}
	s.messages = append(s.messages, p)
	p.revision = s.announce()
	return p
}

// postApp appends a message of the app's. For an ephemeral one, reader is the
// user who sees it; else it is empty. A reply to a message that does not exist
// is posted outside any thread, as Slack does. The caller holds s.mu.
func (s *Slack) postApp(channelID, reader string, c slackContent) *slackMessage {
	if s.find(channelID, c.thread) == nil {
		c.thread = ""
	}
	return s.post(Message{Channel: channelID, Bot: s.botID, Text: c.text, Blocks: s.identify(c.blocks),
		Ephemeral: reader != "", For: reader, ThreadTS: c.thread})
}

// edit replaces a message's content. The caller holds s.mu.
func (s *Slack) edit(m *slackMessage, c slackContent) {
	m.Text, m.Blocks = c.text, s.identify(c.blocks)
	m.Edited++
	m.revision = s.announce()
}

// remove deletes a message. The caller holds s.mu.
func (s *Slack) remove(m *slackMessage) {
	s.messages = slices.DeleteFunc(s.messages, func(o *slackMessage) bool { return o == m })
	revision := s.announce()
	for id := range s.users {
		if s.sees(id, m) {
			s.gone[id] = revision
		}
	}
}

// find returns the message with a timestamp in a channel, or nil. The caller
// holds s.mu.
func (s *Slack) find(channelID, ts string) *slackMessage {
	for _, m := range s.messages {
		if m.Channel == channelID && m.TS == ts {
			return m
		}
	}
	return nil
}

// announce wakes whoever waits for a change and returns its number. The caller
// holds s.mu.
func (s *Slack) announce() int {
	s.revision++
	close(s.changed)
	s.changed = make(chan struct{})
	return s.revision
}

// timestamp returns the next message timestamp. The caller holds s.mu.
func (s *Slack) timestamp() string {
	s.lastTS = max(s.lastTS+1, s.now().UnixMicro())
	return fmt.Sprintf("%d.%06d", s.lastTS/1e6, s.lastTS%1e6)
}

// identify gives every block without a block_id one, and every interactive
// element without an action_id one, as Slack does. It turns an empty list into
// nil. The blocks are valid. The caller holds s.mu.
func (s *Slack) identify(blocks json.RawMessage) json.RawMessage {
	var list []map[string]any
	if json.Unmarshal(blocks, &list) != nil || len(list) == 0 {
		return nil
	}
	for _, b := range list {
		if id, _ := b["block_id"].(string); id == "" {
			b["block_id"] = s.next("blk")
		}
		for _, e := range kitElements(b) {
			if id, _ := e["action_id"].(string); id == "" {
				e["action_id"] = s.next("act")
			}
		}
	}
	return slackJSON(list)
}

// typed escapes what a person typed, and turns @name and #name of known users
// and channels into mentions, as Slack does for a command that asks for it. The
// caller holds s.mu.
func (s *Slack) typed(text string) string {
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	words := strings.Split(text, " ")
	for i, w := range words {
		switch {
		case strings.HasPrefix(w, "@"):
			if u := s.userNamed(w[1:]); u != nil {
				words[i] = "<@" + u.ID + ">"
			}
		case strings.HasPrefix(w, "#"):
			if c := s.channelNamed(w[1:]); c != nil {
				words[i] = "<#" + c.ID + "|" + c.Name + ">"
			}
		}
	}
	return strings.Join(words, " ")
}

// userNamed returns the user with a name, the lowest id first, or nil. The
// caller holds s.mu.
func (s *Slack) userNamed(name string) *SlackUser {
	var found *SlackUser
	for _, u := range s.users {
		if u.Name == name && (found == nil || u.ID < found.ID) {
			found = u
		}
	}
	return found
}

// channelNamed returns the channel with a name, the lowest id first, or nil.
// The caller holds s.mu.
func (s *Slack) channelNamed(name string) *SlackChannel {
	var found *SlackChannel
	for _, c := range s.channels {
		if c.Name != "" && c.Name == name && (found == nil || c.ID < found.ID) {
			found = c
		}
	}
	return found
}

// direct returns the conversation between the app and some users, opening it
// if need be. The caller holds s.mu.
func (s *Slack) direct(userIDs ...string) (c *SlackChannel, opened bool) {
	userIDs = slices.Compact(slices.Sorted(slices.Values(userIDs)))
	prefix := "D"
	if len(userIDs) > 1 {
		prefix = "G"
	}
	for _, c := range s.channels {
		if strings.HasPrefix(c.ID, prefix) && c.Name == "" && slices.Equal(c.Members, userIDs) {
			return c, false
		}
	}
	c = &SlackChannel{ID: s.next(prefix), Members: userIDs, BotIn: true}
	s.channels[c.ID] = c
	return c, true
}

// slackName is a channel's name as deliveries give it.
func slackName(c *SlackChannel) string {
	return cmp.Or(c.Name, "directmessage")
}
