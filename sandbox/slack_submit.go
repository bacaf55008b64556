package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Submit fills in a modal and submits it. values gives each input's value, by
// block_id, action_id or label: the text typed, or the value of the option, user
// or channel chosen, several separated by commas. An input left out keeps what
// it holds: what was chosen or typed before, or its initial value. The answer
// takes effect as in Slack: an empty one closes the modal; response_action
// errors, update, push and clear do what they say.
//
// It fails without delivering anything if a required input has no value, a value
// names no input or option, or the modal cannot be submitted. A menu whose
// options the app supplies is chosen from with [Slack.ChooseView].
func (s *Slack) Submit(ctx context.Context, userID, viewID string, values map[string]string) (Ack, error) {
	s.mu.Lock()
	v, err := s.openView(userID, viewID)
	if err == nil && v.Submit == "" {
		err = fmt.Errorf("sandbox: view %s has no submit button", viewID)
	}
	var missing string
	if err == nil {
		v.state, missing, err = slackState(v.Blocks, v.state, values)
	}
	if err == nil && missing != "" {
		err = fmt.Errorf("sandbox: input %q is required", missing)
	}
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	payload := s.interaction("view_submission", userID)
	payload["view"], payload["response_urls"] = s.viewObject(v), []any{}
	s.mu.Unlock()

	ack, err := s.interact(ctx, payload)
	if err != nil {
		return ack, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return ack, s.submitted(v, ack)
}

// CloseView dismisses a modal. The app is told if it asked to be; else the Ack
// is zero.
func (s *Slack) CloseView(ctx context.Context, userID, viewID string) (Ack, error) {
	s.mu.Lock()
	v, err := s.openView(userID, viewID)
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	payload := s.interaction("view_closed", userID)
	delete(payload, "trigger_id")
	payload["view"], payload["is_cleared"] = s.viewObject(v), false
	s.closeViews(func(o *slackView) bool { return o == v })
	s.mu.Unlock()
	if !v.notifyOnClose {
		return Ack{}, nil
	}
	return s.interact(ctx, payload)
}

// submitted does what the app answered to a submission. An answer that Slack
// would refuse is an error, and the modal stays. The caller holds s.mu.
func (s *Slack) submitted(v *slackView, ack Ack) error {
	var answer struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   json.RawMessage   `json:"view"`
	}
	if ack.Problem != "" {
		return fmt.Errorf("sandbox: submission: %s", ack.Problem)
	}
	if len(ack.Body) > 0 && string(ack.Body) != "{}" {
		if err := json.Unmarshal(ack.Body, &answer); err != nil {
			return fmt.Errorf("sandbox: answer to submission: %w", err)
		}
	}
	switch answer.Action {
	case "":
		s.closeViews(func(o *slackView) bool { return o == v })
		return nil
	case "clear":
		s.closeViews(func(o *slackView) bool { return o.root == v.root })
		return nil
	case "errors":
		return s.submissionErrors(v, answer.Errors)
	case "update", "push":
	default:
		return fmt.Errorf("sandbox: answer to submission: unknown response_action %q", answer.Action)
	}
	self := v.ID
	if answer.Action == "push" {
		self = ""
	}
	in, refusal := s.readView(answer.View, "modal", self)
	switch {
	case refusal != nil:
		return fmt.Errorf("sandbox: answer to submission: %s", slackJSON(refusal.body))
	case answer.Action == "update":
		v.Updated++
		s.setView(v, in)
	case s.depth(v) >= slackViewDepth:
		return fmt.Errorf("sandbox: answer to submission: push_limit_reached")
	default:
		s.addView(v.User, in, v)
	}
	return nil
}

// submissionErrors shows errors beside inputs. The caller holds s.mu.
func (s *Slack) submissionErrors(v *slackView, problems map[string]string) error {
	var blocks []map[string]any
	if err := json.Unmarshal(v.Blocks, &blocks); err != nil {
		return fmt.Errorf("sandbox: stored blocks: %w", err)
	}
	for id := range problems {
		isInput := func(b map[string]any) bool { return b["block_id"] == id && b["type"] == "input" }
		if !slices.ContainsFunc(blocks, isInput) {
			return fmt.Errorf("sandbox: answer to submission: errors name %q, which is no input", id)
		}
	}
	v.Errors = problems
	v.revision = s.announce()
	return nil
}

// closeViews drops views. The caller holds s.mu.
func (s *Slack) closeViews(gone func(*slackView) bool) {
	revision := s.announce()
	s.views = slices.DeleteFunc(s.views, func(v *slackView) bool {
		if !gone(v) {
			return false
		}
		s.gone[v.User] = revision
		return true
	})
}

// slackState builds the state.values of a view: the values given, else what the
// state before holds of the same input, else the initial value. It also returns
// the label of the first required input that has none.
func slackState(blocks json.RawMessage, before map[string]map[string]any, values map[string]string) (
	_ map[string]map[string]any, missing string, _ error) {
	var list []map[string]any
	if err := json.Unmarshal(blocks, &list); err != nil {
		return nil, "", fmt.Errorf("sandbox: stored blocks: %w", err)
	}
	state := map[string]map[string]any{}
	used := map[string]bool{}
	for _, b := range list {
		element, ok := b["element"].(map[string]any)
		if b["type"] != "input" || !ok {
			continue
		}
		blockID, _ := b["block_id"].(string)
		actionID, _ := element["action_id"].(string)
		label := kitTextOf(b["label"])
		var value *string
		for _, name := range []string{blockID, actionID, label} {
			if v, ok := values[name]; ok {
				value = &v
				used[name] = true
				break
			}
		}
		held, _ := before[blockID][actionID].(map[string]any)
		entry, filled, err := slackInput(element, held, value)
		if err != nil {
			return nil, "", fmt.Errorf("sandbox: input %q: %w", label, err)
		}
		if optional, _ := b["optional"].(bool); !filled && !optional && missing == "" {
			missing = label
		}
		state[blockID] = map[string]any{actionID: entry}
	}
	for name := range values {
		if !used[name] {
			return nil, "", fmt.Errorf("sandbox: no input %q", name)
		}
	}
	return state, missing, nil
}

// slackInput is the state of one input: its type and its value, under the name
// that Slack gives it for that type. A nil value keeps what it held before, or
// the initial one.
func slackInput(element, held map[string]any, value *string) (entry map[string]any, filled bool, err error) {
	kind, _ := element["type"].(string)
	entry = map[string]any{"type": kind}
	spec := kitInputs[kind]
	entry[spec.state] = nil
	if value == nil {
		if slackHolds(element, held) {
			return held, true, nil
		}
		initial, ok := element[spec.initial]
		if ok {
			entry[spec.state] = initial
		}
		return entry, ok, nil
	}
	if *value == "" {
		return entry, false, nil
	}
	if !spec.options {
		entry[spec.state] = *value
		if spec.many {
			entry[spec.state] = strings.Split(*value, ",")
		}
		return entry, true, nil
	}
	names := []string{*value}
	if spec.many {
		names = strings.Split(*value, ",")
	}
	var chosen []any
	for _, name := range names {
		option := kitOption(element, name)
		if option == nil {
			return nil, false, fmt.Errorf("no option %q", name)
		}
		chosen = append(chosen, option)
	}
	entry[spec.state] = chosen
	if !spec.many {
		entry[spec.state] = chosen[0]
	}
	return entry, true, nil
}

// slackHolds says whether an input can go on holding what it held before.
func slackHolds(element, held map[string]any) bool {
	kind, _ := element["type"].(string)
	spec := kitInputs[kind]
	if held["type"] != kind || held[spec.state] == nil {
		return false
	}
	option, _ := held[spec.state].(map[string]any)
	return !spec.options || spec.many || kind == "external_select" || kitOption(element, renderValue(option)) != nil
}
