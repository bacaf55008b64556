package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
)

// Shortcut delivers a global shortcut of the app's, chosen by a user.
func (s *Slack) Shortcut(ctx context.Context, userID, callbackID string) (Ack, error) {
	s.mu.Lock()
	if s.users[userID] == nil {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("sandbox: no user %s", userID)
	}
	payload := s.interaction("shortcut", userID)
	payload["callback_id"], payload["action_ts"] = callbackID, s.timestamp()
	s.mu.Unlock()
	return s.interact(ctx, payload)
}

// MessageShortcut delivers a shortcut of the app's that a user chose on a
// message that they can see.
func (s *Slack) MessageShortcut(ctx context.Context, userID string, m Message, callbackID string) (Ack, error) {
	s.mu.Lock()
	now := s.find(m.Channel, m.TS)
	if now == nil || s.users[userID] == nil || !s.sees(userID, now) {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("sandbox: user %s sees no message %s in %s", userID, m.TS, m.Channel)
	}
	payload := s.interaction("message_action", userID)
	payload["callback_id"], payload["action_ts"] = callbackID, s.timestamp()
	payload["message_ts"], payload["message"] = now.TS, s.messageObject(now)
	channel := map[string]any{"id": now.Channel}
	if c := s.channels[now.Channel]; c != nil {
		channel["name"] = slackName(c)
	}
	payload["channel"] = channel
	payload["response_url"], _ = s.link("actions", slackLink{user: userID, channel: now.Channel, thread: now.ThreadTS})
	s.mu.Unlock()
	return s.interact(ctx, payload)
}

// An Option is one choice that the app offers in a menu of its own.
type Option struct{ Group, Text, Value string }

// Suggest has a user type into a menu whose options the app supplies, in a
// modal they have open, and returns the options that the app then offers. It
// fails if there is no such menu, or Slack would refuse the answer.
func (s *Slack) Suggest(ctx context.Context, userID, viewID, actionID, typed string) ([]Option, error) {
	options, err := s.suggest(ctx, userID, viewID, actionID, typed)
	var out []Option
	for _, o := range options {
		group, _ := o["group"].(string)
		out = append(out, Option{Group: group, Text: kitTextOf(o["text"]), Value: renderValue(o)})
	}
	return out, err
}

// suggest is Suggest. The options are objects, each with its group's label
// beside.
func (s *Slack) suggest(ctx context.Context, userID, viewID, actionID, typed string) ([]kitObject, error) {
	s.mu.Lock()
	v, err := s.openView(userID, viewID)
	var block kitObject
	if err == nil {
		block, err = s.menu(v.Blocks, actionID)
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	payload := s.interaction("block_suggestion", userID)
	delete(payload, "trigger_id")
	payload["container"] = map[string]any{"type": "view", "view_id": v.ID}
	payload["view"], payload["block_id"], payload["action_id"], payload["value"] = s.viewObject(v), block["block_id"], actionID, typed
	s.mu.Unlock()

	ack, err := s.interact(ctx, payload)
	if err != nil {
		return nil, err
	}
	options, problems := suggested(ack.Body)
	if ack.Problem != "" {
		problems = []string{ack.Problem}
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("sandbox: options: %q", problems)
	}
	return options, nil
}

// menu finds the block of the menu whose options the app supplies. The caller
// holds s.mu.
func (s *Slack) menu(blocks json.RawMessage, actionID string) (kitObject, error) {
	var list []kitObject
	if err := json.Unmarshal(blocks, &list); err != nil {
		return nil, fmt.Errorf("sandbox: stored blocks: %w", err)
	}
	for _, b := range list {
		for _, e := range kitElements(b) {
			if e["action_id"] == actionID && e["type"] == "external_select" {
				return b, nil
			}
		}
	}
	return nil, fmt.Errorf("sandbox: the view has no external_select %q", actionID)
}

// suggested reads what an app answers to a suggestion: options, or groups of
// them, at most 100 of either and of all together. An empty list is an answer.
func suggested(body []byte) (options []kitObject, problems []string) {
	var answer kitObject
	if json.Unmarshal(body, &answer) != nil {
		return nil, []string{"the answer is not an object"}
	}
	k := &kitChecker{}
	k.keys("", answer, "options", "option_groups")
	if empty, ok := answer["options"].([]any); ok && len(empty) == 0 && len(answer) == 1 {
		return nil, k.problems
	}
	answer["type"] = "static_select" // a menu that has these options of its own
	k.menu("", answer)
	for _, o := range kitOptions(answer) {
		option, _ := o.(kitObject)
		options = append(options, option)
	}
	if len(options) > 100 {
		k.add("", "no more than 100 options allowed")
	}
	n := 0
	for _, group := range renderObjects(answer["option_groups"]) {
		for range renderObjects(group["options"]) {
			options[n]["group"] = kitTextOf(group["label"])
			n++
		}
	}
	return options, k.problems
}

// ChooseView delivers a user's choice, by the option's value, in a menu or a set
// of radio buttons of a modal they have open. In a menu whose options the app
// supplies, they type the value first, and choose among what is then offered.
// What is chosen stays, though the app changes the view, as long as the input
// does. The app is told of a choice in an input only if that asks for it; else
// the Ack is zero.
func (s *Slack) ChooseView(ctx context.Context, userID, viewID, actionID, value string) (Ack, error) {
	s.mu.Lock()
	v, err := s.openView(userID, viewID)
	external := false
	if err == nil {
		_, menuErr := s.menu(v.Blocks, actionID)
		external = menuErr == nil
	}
	s.mu.Unlock()
	if err != nil {
		return Ack{}, err
	}
	var offered kitObject
	if external {
		options, err := s.suggest(ctx, userID, viewID, actionID, value)
		if err != nil {
			return Ack{}, err
		}
		for _, o := range options {
			if o["value"] == value {
				delete(o, "group")
				offered = o
			}
		}
	}
	s.mu.Lock()
	payload, told, err := s.viewChoice(userID, viewID, actionID, value, offered)
	s.mu.Unlock()
	if err != nil || !told {
		return Ack{}, err
	}
	return s.interact(ctx, payload)
}

// viewChoice makes a choice in a view: the option offered, or else one of the
// element's own. Told says whether the app is to be told. The caller holds s.mu.
func (s *Slack) viewChoice(userID, viewID, actionID, value string, offered kitObject) (payload map[string]any, told bool, err error) {
	v, err := s.openView(userID, viewID)
	if err != nil {
		return nil, false, err
	}
	var list []kitObject
	if err := json.Unmarshal(v.Blocks, &list); err != nil {
		return nil, false, fmt.Errorf("sandbox: stored blocks: %w", err)
	}
	for _, b := range list {
		for _, e := range kitElements(b) {
			if e["action_id"] != actionID {
				continue
			}
			option := offered
			if option == nil {
				option = kitOption(e, value)
			}
			if option == nil {
				return nil, false, fmt.Errorf("sandbox: %s has no option %q", actionID, value)
			}
			blockID, _ := b["block_id"].(string)
			if v.state == nil {
				v.state = map[string]map[string]any{}
			}
			v.state[blockID] = map[string]any{actionID: map[string]any{"type": e["type"], "selected_option": option}}
			payload = s.interaction("block_actions", userID)
			payload["container"] = map[string]any{"type": "view", "view_id": v.ID}
			payload["view"] = s.viewObject(v)
			payload["actions"] = []any{map[string]any{"action_id": actionID, "block_id": blockID, "type": e["type"],
				"action_ts": s.timestamp(), "selected_option": option}}
			return payload, b["type"] != "input" || b["dispatch_action"] == true, nil
		}
	}
	return nil, false, fmt.Errorf("sandbox: the view has no element %q", actionID)
}
