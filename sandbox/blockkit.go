package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"unicode/utf8"
)

// Block Kit's limits, from Slack's reference: characters of text, or items of a
// list.
const (
	kitMaxMessageBlocks = 50
	kitMaxViewBlocks    = 100
	kitMaxID            = 255 // block_id, action_id, callback_id, external_id
	kitMaxURL           = 3000
	kitMaxText          = 3000 // a section's text, or any text without a limit of its own
	kitMaxAlt           = 2000
	// kitMaxMessageText is the text that all blocks of a message may hold
	// together. Slack does not document it; it was seen to refuse between
	// 13,100 and 13,300 characters, depending on the blocks.
	kitMaxMessageText = 13_000
)

// kitTooLong is the problem with blocks that hold too much text in all. Slack
// has an error code of its own for it.
const kitTooLong = "msg_blocks_too_long: more than 13000 characters in all [json-pointer:/blocks]"

// ValidateBlocks returns what Slack would refuse in a JSON array of blocks, each
// with a JSON pointer to where it is, or nil. The surface is "message", "modal"
// or "home". It knows the blocks and elements that Starback uses; any other type
// is refused, and so is a property that Slack does not define.
func ValidateBlocks(blocks json.RawMessage, surface string) []string {
	if len(blocks) == 0 || string(blocks) == "null" {
		return nil
	}
	k := &kitChecker{surface: surface}
	var list []any
	if err := json.Unmarshal(blocks, &list); err != nil {
		return []string{"must be an array of blocks [json-pointer:/blocks]"}
	}
	k.blocks("/blocks", list)
	return k.problems
}

// ValidateView returns what Slack would refuse in a view, a modal or an app
// home, as [ValidateBlocks] does.
func ValidateView(view json.RawMessage) []string {
	k := &kitChecker{}
	var v kitObject
	if json.Unmarshal(view, &v) != nil || v == nil {
		return []string{"must be an object [json-pointer:/view]"}
	}
	k.surface, _ = v["type"].(string)
	switch k.surface {
	case "modal":
		k.keys("/view", v, "type", "title", "blocks", "close", "submit", "private_metadata", "callback_id",
			"clear_on_close", "notify_on_close", "external_id")
		k.text("/view/title", v["title"], kitPlain, 24)
		k.optionalText("/view/submit", v["submit"], kitPlain, 24)
		k.optionalText("/view/close", v["close"], kitPlain, 24)
	case "home":
		k.keys("/view", v, "type", "blocks", "private_metadata", "callback_id", "external_id")
	default:
		return []string{"must be modal or home [json-pointer:/view/type]"}
	}
	k.optional("/view/private_metadata", v["private_metadata"], 3000)
	k.optional("/view/callback_id", v["callback_id"], kitMaxID)
	k.optional("/view/external_id", v["external_id"], kitMaxID)
	k.blocks("/view/blocks", k.list("/view/blocks", v["blocks"], kitMaxViewBlocks))
	if k.hasInput && v["submit"] == nil {
		k.add("/view", "a view with an input needs submit")
	}
	return k.problems
}

// kitObject is a JSON object.
type kitObject = map[string]any

// kitText is a text object.
type kitText struct{ Type, Text string }

// kitChecker collects problems. Its methods take a JSON pointer to the value
// they check.
type kitChecker struct {
	surface  string
	problems []string
	hasInput bool
	chars    int // of text, in all blocks
}

func (k *kitChecker) add(at, format string, args ...any) {
	k.problems = append(k.problems, fmt.Sprintf(format, args...)+" [json-pointer:"+at+"]")
}

// kitBlocks are the types of block there are, with the properties each may have.
var kitBlocks = map[string]struct {
	keys  []string
	check func(k *kitChecker, at string, b kitObject)
}{
	"section":   {[]string{"text", "fields", "accessory", "expand"}, (*kitChecker).section},
	"header":    {[]string{"text"}, (*kitChecker).header},
	"divider":   {nil, func(*kitChecker, string, kitObject) {}},
	"context":   {[]string{"elements"}, (*kitChecker).context},
	"actions":   {[]string{"elements"}, (*kitChecker).actions},
	"image":     {[]string{"image_url", "slack_file", "alt_text", "title"}, (*kitChecker).image},
	"input":     {[]string{"label", "element", "hint", "optional", "dispatch_action"}, (*kitChecker).input},
	"rich_text": {[]string{"elements"}, (*kitChecker).richText},
}

func (k *kitChecker) blocks(at string, list []any) {
	most := kitMaxViewBlocks
	switch k.surface {
	case "message":
		most = kitMaxMessageBlocks
	case "modal", "home":
	default:
		k.add(at, "unknown surface %q", k.surface)
	}
	if len(list) > most {
		k.add(at, "no more than %d items allowed", most)
	}
	seen := map[string]bool{}
	for i, item := range list {
		at := fmt.Sprintf("%s/%d", at, i)
		b, _ := item.(kitObject)
		kind, _ := b["type"].(string)
		spec, ok := kitBlocks[kind]
		if !ok {
			k.add(at+"/type", "unsupported type: %q", kind)
			continue
		}
		k.keys(at, b, append([]string{"type", "block_id"}, spec.keys...)...)
		k.optional(at+"/block_id", b["block_id"], kitMaxID)
		if id, _ := b["block_id"].(string); id != "" {
			if seen[id] {
				k.add(at+"/block_id", "%q already exists", id)
			}
			seen[id] = true
		}
		spec.check(k, at, b)
		k.uniqueActions(at, b)
	}
	if k.surface == "message" && k.chars > kitMaxMessageText {
		k.problems = append(k.problems, kitTooLong)
	}
}

func (k *kitChecker) section(at string, b kitObject) {
	if b["text"] == nil && b["fields"] == nil {
		k.add(at, "must have text or fields")
	}
	k.optionalText(at+"/text", b["text"], kitAnyText, kitMaxText)
	if b["fields"] != nil {
		for i, f := range k.list(at+"/fields", b["fields"], 10) {
			k.text(fmt.Sprintf("%s/fields/%d", at, i), f, kitAnyText, 2000)
		}
	}
	if b["accessory"] != nil {
		k.element(at+"/accessory", b["accessory"], kitInSection)
	}
}

func (k *kitChecker) header(at string, b kitObject) {
	k.text(at+"/text", b["text"], kitPlain, 150)
}

func (k *kitChecker) context(at string, b kitObject) {
	for i, e := range k.list(at+"/elements", b["elements"], 10) {
		at := fmt.Sprintf("%s/elements/%d", at, i)
		if o, _ := e.(kitObject); o["type"] == "image" {
			k.element(at, e, kitInContext)
		} else {
			k.text(at, e, kitAnyText, kitMaxText)
		}
	}
}

func (k *kitChecker) actions(at string, b kitObject) {
	for i, e := range k.list(at+"/elements", b["elements"], 25) {
		k.element(fmt.Sprintf("%s/elements/%d", at, i), e, kitInActions)
	}
}

func (k *kitChecker) image(at string, b kitObject) {
	k.picture(at, b)
	k.optionalText(at+"/title", b["title"], kitPlain, 2000)
}

func (k *kitChecker) input(at string, b kitObject) {
	k.hasInput = true
	if k.surface == "message" {
		k.add(at, "input is not used in messages")
	}
	k.text(at+"/label", b["label"], kitPlain, 2000)
	k.optionalText(at+"/hint", b["hint"], kitPlain, 2000)
	k.flag(at+"/optional", b["optional"])
	k.flag(at+"/dispatch_action", b["dispatch_action"])
	k.element(at+"/element", b["element"], kitInInput)
}

// uniqueActions checks that no action_id comes twice in a block.
func (k *kitChecker) uniqueActions(at string, b kitObject) {
	seen := map[string]bool{}
	for _, e := range kitElements(b) {
		id, _ := e["action_id"].(string)
		if id != "" && seen[id] {
			k.add(at, "action_id %q already exists", id)
		}
		seen[id] = true
	}
}

// keys checks that an object has no property but those named.
func (k *kitChecker) keys(at string, o kitObject, names ...string) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(names, name) {
			k.add(at, "invalid additional property: %q", name)
		}
	}
}

// list returns an array of 1 to most items.
func (k *kitChecker) list(at string, v any, most int) []any {
	list, ok := v.([]any)
	switch {
	case !ok:
		k.add(at, "must be an array")
	case len(list) == 0:
		k.add(at, "must have at least 1 items")
	case len(list) > most:
		k.add(at, "no more than %d items allowed", most)
	}
	return list
}

// str checks a string of 1 to most characters and returns it.
func (k *kitChecker) str(at string, v any, most int) string {
	s, ok := v.(string)
	n := utf8.RuneCountInString(s)
	switch {
	case !ok:
		k.add(at, "must be a string")
	case n == 0:
		k.add(at, "must be more than 0 characters")
	case n > most:
		k.add(at, "must be less than %d characters", most+1)
	}
	return s
}

// optional checks a string that may be missing or empty.
func (k *kitChecker) optional(at string, v any, most int) {
	if v != nil && v != "" {
		k.str(at, v, most)
	}
}

// flag checks a boolean that may be missing.
func (k *kitChecker) flag(at string, v any) {
	if _, ok := v.(bool); v != nil && !ok {
		k.add(at, "must be true or false")
	}
}

// link checks a URL.
func (k *kitChecker) link(at string, v any, schemes ...string) {
	s := k.str(at, v, kitMaxURL)
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" && u.Opaque == "" {
		k.add(at, "must be a valid URL")
	}
}

// The types of text object that a place takes.
var (
	kitPlain   = []string{"plain_text"}
	kitAnyText = []string{"plain_text", "mrkdwn"}
)

// text checks a text object of 1 to most characters.
func (k *kitChecker) text(at string, v any, kinds []string, most int) {
	o, ok := v.(kitObject)
	if !ok {
		k.add(at, "must be a text object")
		return
	}
	kind, _ := o["type"].(string)
	switch {
	case !slices.Contains(kinds, kind):
		k.add(at+"/type", "must be one of %q", kinds)
	case kind == "plain_text":
		k.keys(at, o, "type", "text", "emoji")
		k.flag(at+"/emoji", o["emoji"])
	default:
		k.keys(at, o, "type", "text", "verbatim")
		k.flag(at+"/verbatim", o["verbatim"])
	}
	k.chars += utf8.RuneCountInString(k.str(at+"/text", o["text"], most))
}

// optionalText checks a text object that may be missing.
func (k *kitChecker) optionalText(at string, v any, kinds []string, most int) {
	if v != nil {
		k.text(at, v, kinds, most)
	}
}
