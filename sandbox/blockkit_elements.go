package sandbox

import (
	"fmt"
	"reflect"
	"slices"
)

// kitPlace is where an element stands.
type kitPlace int

const (
	kitInSection kitPlace = 1 << iota
	kitInActions
	kitInInput
	kitInContext
	kitInControls = kitInSection | kitInActions // where no form is filled in
	kitInForms    = kitInControls | kitInInput
)

// kitElement is a type of element: where it may stand, the properties it may
// have besides type and action_id, and the checks of its own.
type kitElement struct {
	places kitPlace
	keys   []string
	check  func(k *kitChecker, at string, e kitObject)
}

// kitElementTypes are the elements there are.
var kitElementTypes = map[string]kitElement{
	"button": {kitInControls, []string{"text", "url", "value", "style", "confirm", "accessibility_label"},
		(*kitChecker).button},
	"image": {kitInSection | kitInContext, []string{"image_url", "slack_file", "alt_text"}, (*kitChecker).picture},
	"overflow": {kitInControls, []string{"options", "confirm"},
		func(k *kitChecker, at string, e kitObject) { k.options(at, e, 5, kitPlain) }},
	"static_select": {kitInForms, []string{"placeholder", "options", "option_groups", "initial_option", "confirm",
		"focus_on_load"}, (*kitChecker).menu},
	"multi_static_select": {kitInSection | kitInInput, []string{"placeholder", "options", "option_groups",
		"initial_options", "confirm", "max_selected_items", "focus_on_load"}, (*kitChecker).menu},
	"external_select": {kitInForms, []string{"placeholder", "initial_option", "min_query_length", "confirm",
		"focus_on_load"}, (*kitChecker).picker},
	"users_select": {kitInForms, []string{"placeholder", "initial_user", "confirm", "focus_on_load"},
		(*kitChecker).picker},
	"multi_users_select": {kitInSection | kitInInput, []string{"placeholder", "initial_users", "confirm",
		"max_selected_items", "focus_on_load"}, (*kitChecker).picker},
	"conversations_select": {kitInForms, []string{"placeholder", "initial_conversation", "confirm", "filter",
		"default_to_current_conversation", "response_url_enabled", "focus_on_load"}, (*kitChecker).picker},
	"channels_select": {kitInForms, []string{"placeholder", "initial_channel", "confirm", "response_url_enabled",
		"focus_on_load"}, (*kitChecker).picker},
	"radio_buttons": {kitInForms, []string{"options", "initial_option", "confirm", "focus_on_load"},
		func(k *kitChecker, at string, e kitObject) { k.options(at, e, 10, kitAnyText) }},
	"checkboxes": {kitInForms, []string{"options", "initial_options", "confirm", "focus_on_load"},
		func(k *kitChecker, at string, e kitObject) { k.options(at, e, 10, kitAnyText) }},
	"datepicker": {kitInForms, []string{"placeholder", "initial_date", "confirm", "focus_on_load"},
		(*kitChecker).picker},
	"timepicker": {kitInForms, []string{"placeholder", "initial_time", "confirm", "timezone", "focus_on_load"},
		(*kitChecker).picker},
	"plain_text_input": {kitInInput, []string{"placeholder", "initial_value", "multiline", "min_length", "max_length",
		"dispatch_action_config", "focus_on_load"}, (*kitChecker).textInput},
	"number_input": {kitInInput, []string{"placeholder", "initial_value", "is_decimal_allowed", "min_value", "max_value",
		"dispatch_action_config", "focus_on_load"}, (*kitChecker).picker},
}

// kitInputs says how a submission gives the value of each element: the names of
// the value and of the initial one, whether it is an option, and whether it is a
// list.
var kitInputs = map[string]struct {
	state, initial string
	options, many  bool
}{
	"plain_text_input":     {"value", "initial_value", false, false},
	"number_input":         {"value", "initial_value", false, false},
	"static_select":        {"selected_option", "initial_option", true, false},
	"multi_static_select":  {"selected_options", "initial_options", true, true},
	"external_select":      {"selected_option", "initial_option", true, false},
	"radio_buttons":        {"selected_option", "initial_option", true, false},
	"checkboxes":           {"selected_options", "initial_options", true, true},
	"users_select":         {"selected_user", "initial_user", false, false},
	"multi_users_select":   {"selected_users", "initial_users", false, true},
	"conversations_select": {"selected_conversation", "initial_conversation", false, false},
	"channels_select":      {"selected_channel", "initial_channel", false, false},
	"datepicker":           {"selected_date", "initial_date", false, false},
	"timepicker":           {"selected_time", "initial_time", false, false},
}

// element checks a block element where it stands.
func (k *kitChecker) element(at string, v any, place kitPlace) {
	e, _ := v.(kitObject)
	kind, _ := e["type"].(string)
	spec, ok := kitElementTypes[kind]
	switch {
	case !ok:
		k.add(at+"/type", "unsupported type: %q", kind)
		return
	case spec.places&place == 0:
		k.add(at+"/type", "%q is not allowed here", kind)
	}
	names := append([]string{"type"}, spec.keys...)
	if kind != "image" {
		names = append(names, "action_id")
	}
	k.keys(at, e, names...)
	k.optional(at+"/action_id", e["action_id"], kitMaxID)
	k.optionalText(at+"/placeholder", e["placeholder"], kitPlain, 150)
	k.flag(at+"/focus_on_load", e["focus_on_load"])
	if e["confirm"] != nil {
		k.confirm(at+"/confirm", e["confirm"])
	}
	spec.check(k, at, e)
}

func (k *kitChecker) button(at string, e kitObject) {
	k.text(at+"/text", e["text"], kitPlain, 75)
	if e["url"] != nil && e["url"] != "" {
		k.link(at+"/url", e["url"], "http", "https")
	}
	k.optional(at+"/value", e["value"], 2000)
	k.optional(at+"/accessibility_label", e["accessibility_label"], 75)
	k.style(at+"/style", e["style"])
}

// style checks a button's style, which may be missing.
func (k *kitChecker) style(at string, v any) {
	if v != nil && v != "primary" && v != "danger" {
		k.add(at, "must be primary or danger")
	}
}

// picture checks the properties of an image, block or element.
func (k *kitChecker) picture(at string, e kitObject) {
	if (e["image_url"] == nil) == (e["slack_file"] == nil) {
		k.add(at, "must have image_url or slack_file")
	}
	if e["image_url"] != nil {
		k.link(at+"/image_url", e["image_url"], "http", "https")
	}
	k.str(at+"/alt_text", e["alt_text"], kitMaxAlt)
}

// picker checks nothing beyond what every element shares.
func (k *kitChecker) picker(string, kitObject) {}

func (k *kitChecker) textInput(at string, e kitObject) {
	k.optional(at+"/initial_value", e["initial_value"], kitMaxText)
	k.flag(at+"/multiline", e["multiline"])
	least := k.number(at+"/min_length", e["min_length"], 0, kitMaxText, 0)
	most := k.number(at+"/max_length", e["max_length"], 1, kitMaxText, kitMaxText)
	if least > most {
		k.add(at+"/min_length", "must not exceed max_length")
	}
}

// number checks a whole number that may be missing, and returns it, or absent.
func (k *kitChecker) number(at string, v any, least, most, absent float64) float64 {
	if v == nil {
		return absent
	}
	n, ok := v.(float64)
	if !ok || n != float64(int64(n)) || n < least || n > most {
		k.add(at, "must be a whole number from %v to %v", least, most)
		return absent
	}
	return n
}

// menu checks a select with options of its own: a list, or groups of them.
func (k *kitChecker) menu(at string, e kitObject) {
	if (e["options"] == nil) == (e["option_groups"] == nil) {
		k.add(at, "must have either options or option_groups")
		return
	}
	if e["options"] != nil {
		k.options(at, e, 100, kitPlain)
		return
	}
	for i, g := range k.list(at+"/option_groups", e["option_groups"], 100) {
		at := fmt.Sprintf("%s/option_groups/%d", at, i)
		group, _ := g.(kitObject)
		k.keys(at, group, "label", "options")
		k.text(at+"/label", group["label"], kitPlain, 75)
		k.options(at, group, 100, kitPlain)
	}
	k.initial(at, e)
}

// options checks the options of an element or group, at most as many as given,
// and the initial ones, which must be among them.
func (k *kitChecker) options(at string, e kitObject, most int, kinds []string) {
	for i, o := range k.list(at+"/options", e["options"], most) {
		at := fmt.Sprintf("%s/options/%d", at, i)
		option, _ := o.(kitObject)
		if e["type"] == "overflow" {
			k.keys(at, option, "text", "value", "description", "url")
		} else {
			k.keys(at, option, "text", "value", "description")
		}
		k.text(at+"/text", option["text"], kinds, 75)
		k.str(at+"/value", option["value"], 150)
		k.optionalText(at+"/description", option["description"], kinds, 75)
		if option["url"] != nil {
			k.link(at+"/url", option["url"], "http", "https")
		}
	}
	k.initial(at, e)
}

// initial checks that what is chosen from the start can be chosen.
func (k *kitChecker) initial(at string, e kitObject) {
	chosen, _ := e["initial_options"].([]any)
	if e["initial_option"] != nil {
		chosen = append(chosen, e["initial_option"])
	}
	all := kitOptions(e)
	for _, o := range chosen {
		same := func(other any) bool { return reflect.DeepEqual(o, other) }
		if !slices.ContainsFunc(all, same) {
			k.add(at, "the initial option must match one of the options")
		}
	}
}

func (k *kitChecker) confirm(at string, v any) {
	o, ok := v.(kitObject)
	if !ok {
		k.add(at, "must be a confirm object")
		return
	}
	k.keys(at, o, "title", "text", "confirm", "deny", "style")
	k.text(at+"/title", o["title"], kitPlain, 100)
	k.text(at+"/text", o["text"], kitAnyText, 300)
	k.text(at+"/confirm", o["confirm"], kitPlain, 30)
	k.text(at+"/deny", o["deny"], kitPlain, 30)
	k.style(at+"/style", o["style"])
}

// kitElements returns the interactive elements of a block. A block of any shape
// will do.
func kitElements(b kitObject) []kitObject {
	var candidates []any
	switch b["type"] {
	case "section":
		candidates = []any{b["accessory"]}
	case "actions":
		candidates, _ = b["elements"].([]any)
	case "input":
		candidates = []any{b["element"]}
	}
	var out []kitObject
	for _, c := range candidates {
		if e, ok := c.(kitObject); ok && e["type"] != "image" {
			out = append(out, e)
		}
	}
	return out
}

// kitOptions returns the options of an element, those in groups included.
func kitOptions(e kitObject) []any {
	options, _ := e["options"].([]any)
	all := slices.Clone(options)
	groups, _ := e["option_groups"].([]any)
	for _, g := range groups {
		group, _ := g.(kitObject)
		inner, _ := group["options"].([]any)
		all = append(all, inner...)
	}
	return all
}

// kitOption returns the option of an element with a value, or nil.
func kitOption(e kitObject, value string) kitObject {
	for _, o := range kitOptions(e) {
		if option, _ := o.(kitObject); option["value"] == value {
			return option
		}
	}
	return nil
}

// kitTextOf returns the text of a text object of any shape.
func kitTextOf(v any) string {
	o, _ := v.(kitObject)
	text, _ := o["text"].(string)
	return text
}
