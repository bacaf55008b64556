package sandbox_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/sandbox"
)

// kitPlainText is a plain_text object of n characters. They take two bytes each,
// so that counting bytes would show.
func kitPlainText(n int) string {
	return `{"type":"plain_text","text":"` + strings.Repeat("é", n) + `"}`
}

// kitMarkup is a mrkdwn object of n characters.
func kitMarkup(n int) string {
	return `{"type":"mrkdwn","text":"` + strings.Repeat("é", n) + `"}`
}

// kitRepeat joins n items, %d in which becomes their number.
func kitRepeat(item string, n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = strings.ReplaceAll(item, "%d", fmt.Sprint(i))
	}
	return strings.Join(items, ",")
}

// kitMenu is a static_select with n options in an actions block, and more.
func kitMenu(n int, more string) string {
	return `{"type":"actions","elements":[{"type":"static_select","action_id":"a"` + more + `,"options":[` +
		kitRepeat(`{"text":`+kitPlainText(3)+`,"value":"%d"}`, n) + `]}]}`
}

// kitButton is an actions block with a button of the given properties.
func kitButton(properties string) string {
	return `{"type":"actions","elements":[{"type":"button","text":` + kitPlainText(3) + properties + `}]}`
}

// kitRich is a rich_text block with the given elements.
func kitRich(elements string) string { return `{"type":"rich_text","elements":[` + elements + `]}` }

// kitPiece is a rich_text block with one piece in a section.
func kitPiece(piece string) string {
	return kitRich(`{"type":"rich_text_section","elements":[` + piece + `]}`)
}

func TestValidateBlocks(t *testing.T) {
	section := `{"type":"section","text":` + kitMarkup(1) + `}`
	confirm := func(title, text, yes int) string {
		return kitButton(fmt.Sprintf(`,"confirm":{"title":%s,"text":%s,"confirm":%s,"deny":%s}`,
			kitPlainText(title), kitMarkup(text), kitPlainText(yes), kitPlainText(30)))
	}
	input := func(element string) string {
		return `{"type":"input","label":` + kitPlainText(5) + `,"element":` + element + `}`
	}
	long := strings.Repeat("x", 256)
	tests := []struct {
		name, surface, blocks string
		want                  string // of the only problem; "" for none
	}{
		{"50 blocks", "message", kitRepeat(section, 50), ""},
		{"51 blocks", "message", kitRepeat(section, 51), "no more than 50 items allowed [json-pointer:/blocks]"},
		{"100 in a modal", "modal", kitRepeat(section, 100), ""},
		{"101 in a modal", "modal", kitRepeat(section, 101), "no more than 100 items allowed [json-pointer:/blocks]"},
		{"unknown surface", "canvas", section, `unknown surface "canvas" [json-pointer:/blocks]`},
		{"unknown block", "message", `{"type":"marquee"}`, `unsupported type: "marquee" [json-pointer:/blocks/0/type]`},
		{"not an object", "message", `7`, `unsupported type: "" [json-pointer:/blocks/0/type]`},
		{"unknown property", "message", `{"type":"divider","color":"red"}`,
			`invalid additional property: "color" [json-pointer:/blocks/0]`},
		{"divider", "message", `{"type":"divider","block_id":"d"}`, ""},
		{"block_id of 256", "message", `{"type":"divider","block_id":"` + long + `"}`,
			"must be less than 256 characters [json-pointer:/blocks/0/block_id]"},
		{"block_id twice", "message", kitRepeat(`{"type":"divider","block_id":"d"}`, 2),
			`"d" already exists [json-pointer:/blocks/1/block_id]`},

		{"section of 3000", "message", `{"type":"section","text":` + kitMarkup(3000) + `}`, ""},
		{"section of 3001", "message", `{"type":"section","text":` + kitMarkup(3001) + `}`,
			"must be less than 3001 characters [json-pointer:/blocks/0/text/text]"},
		{"section of 0", "message", `{"type":"section","text":` + kitMarkup(0) + `}`,
			"must be more than 0 characters [json-pointer:/blocks/0/text/text]"},
		{"empty section", "message", `{"type":"section"}`, "must have text or fields [json-pointer:/blocks/0]"},
		{"10 fields", "message", `{"type":"section","fields":[` + kitRepeat(kitMarkup(20), 10) + `]}`, ""},
		{"11 fields", "message", `{"type":"section","fields":[` + kitRepeat(kitMarkup(20), 11) + `]}`,
			"no more than 10 items allowed [json-pointer:/blocks/0/fields]"},
		{"field of 2001", "message", `{"type":"section","fields":[` + kitMarkup(2001) + `]}`,
			"must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]"},
		{"text of no type", "message", `{"type":"section","text":{"type":"html","text":"x"}}`,
			`must be one of ["plain_text" "mrkdwn"] [json-pointer:/blocks/0/text/type]`},
		{"verbatim plain text", "message", `{"type":"section","text":{"type":"plain_text","text":"x","verbatim":true}}`,
			`invalid additional property: "verbatim" [json-pointer:/blocks/0/text]`},
		{"verbatim", "message", `{"type":"section","text":{"type":"mrkdwn","text":"x","verbatim":true}}`, ""},

		{"header of 150", "message", `{"type":"header","text":` + kitPlainText(150) + `}`, ""},
		{"header of 151", "message", `{"type":"header","text":` + kitPlainText(151) + `}`,
			"must be less than 151 characters [json-pointer:/blocks/0/text/text]"},
		{"header of markup", "message", `{"type":"header","text":` + kitMarkup(5) + `}`,
			`must be one of ["plain_text"] [json-pointer:/blocks/0/text/type]`},

		{"context of 10", "message", `{"type":"context","elements":[` + kitRepeat(kitMarkup(5), 10) + `]}`, ""},
		{"context of 11", "message", `{"type":"context","elements":[` + kitRepeat(kitMarkup(5), 11) + `]}`,
			"no more than 10 items allowed [json-pointer:/blocks/0/elements]"},
		{"button in context", "message", `{"type":"context","elements":[{"type":"button"}]}`,
			`must be one of ["plain_text" "mrkdwn"] [json-pointer:/blocks/0/elements/0/type];` +
				`must be a string [json-pointer:/blocks/0/elements/0/text]`},
		{"image", "message", `{"type":"image","image_url":"https://example.com/x.png","alt_text":"x"}`, ""},
		{"image without alt_text", "message", `{"type":"image","image_url":"https://example.com/x.png"}`,
			"must be a string [json-pointer:/blocks/0/alt_text]"},

		{"25 buttons", "message", `{"type":"actions","elements":[` + kitRepeat(
			`{"type":"button","action_id":"%d","text":`+kitPlainText(3)+`}`, 25) + `]}`, ""},
		{"26 buttons", "message", `{"type":"actions","elements":[` + kitRepeat(
			`{"type":"button","action_id":"%d","text":`+kitPlainText(3)+`}`, 26) + `]}`,
			"no more than 25 items allowed [json-pointer:/blocks/0/elements]"},
		{"no buttons", "message", `{"type":"actions","elements":[]}`,
			"must have at least 1 items [json-pointer:/blocks/0/elements]"},
		{"action_id twice", "message", `{"type":"actions","elements":[` + kitRepeat(
			`{"type":"button","action_id":"a","text":`+kitPlainText(3)+`}`, 2) + `]}`,
			`action_id "a" already exists [json-pointer:/blocks/0]`},
		{"action_id twice, in two blocks", "message", kitRepeat(kitButton(`,"action_id":"a"`), 2), ""},
		{"action_id of 256", "message", kitButton(`,"action_id":"` + long + `"`),
			"must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]"},
		{"button text of 75", "message", `{"type":"actions","elements":[{"type":"button","text":` + kitPlainText(75) + `}]}`, ""},
		{"button text of 76", "message", `{"type":"actions","elements":[{"type":"button","text":` + kitPlainText(76) + `}]}`,
			"must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]"},
		{"URL of 3000", "message", kitButton(`,"url":"https://a.b/` + strings.Repeat("x", 2988) + `"`), ""},
		{"URL of 3001", "message", kitButton(`,"url":"https://a.b/` + strings.Repeat("x", 2989) + `"`),
			"must be less than 3001 characters [json-pointer:/blocks/0/elements/0/url]"},
		{"URL of a script", "message", kitButton(`,"url":"javascript:alert(1)"`),
			"must be a valid URL [json-pointer:/blocks/0/elements/0/url]"},
		{"value of 2001", "message", kitButton(`,"value":"` + strings.Repeat("x", 2001) + `"`),
			"must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"},
		{"style", "message", kitButton(`,"style":"danger"`), ""},
		{"unknown style", "message", kitButton(`,"style":"loud"`),
			"must be primary or danger [json-pointer:/blocks/0/elements/0/style]"},
		{"confirm", "message", confirm(100, 300, 30), ""},
		{"confirm title of 101", "message", confirm(101, 300, 30),
			"must be less than 101 characters [json-pointer:/blocks/0/elements/0/confirm/title/text]"},
		{"confirm text of 301", "message", confirm(100, 301, 30),
			"must be less than 301 characters [json-pointer:/blocks/0/elements/0/confirm/text/text]"},
		{"confirm button of 31", "message", confirm(100, 300, 31),
			"must be less than 31 characters [json-pointer:/blocks/0/elements/0/confirm/confirm/text]"},

		{"100 options", "message", kitMenu(100, ""), ""},
		{"101 options", "message", kitMenu(101, ""),
			"no more than 100 items allowed [json-pointer:/blocks/0/elements/0/options]"},
		{"initial option", "message", kitMenu(2, `,"initial_option":{"text":`+kitPlainText(3)+`,"value":"1"}`), ""},
		{"initial option that is none", "message", kitMenu(2, `,"initial_option":{"text":`+kitPlainText(3)+`,"value":"2"}`),
			"the initial option must match one of the options [json-pointer:/blocks/0/elements/0]"},
		{"options and groups", "message", kitMenu(2, `,"option_groups":[]`),
			"must have either options or option_groups [json-pointer:/blocks/0/elements/0]"},
		{"text input among buttons", "modal", `{"type":"actions","elements":[{"type":"plain_text_input"}]}`,
			`"plain_text_input" is not allowed here [json-pointer:/blocks/0/elements/0/type]`},
		{"unknown element", "message", `{"type":"actions","elements":[{"type":"knob"}]}`,
			`unsupported type: "knob" [json-pointer:/blocks/0/elements/0/type]`},

		{"input", "modal", input(`{"type":"plain_text_input","min_length":2,"max_length":3000}`), ""},
		{"input in a message", "message", input(`{"type":"plain_text_input"}`),
			"input is not used in messages [json-pointer:/blocks/0]"},
		{"button as input", "modal", input(`{"type":"button","text":` + kitPlainText(3) + `}`),
			`"button" is not allowed here [json-pointer:/blocks/0/element/type]`},
		{"max_length of 3001", "modal", input(`{"type":"plain_text_input","max_length":3001}`),
			"must be a whole number from 1 to 3000 [json-pointer:/blocks/0/element/max_length]"},
		{"min_length over max_length", "modal", input(`{"type":"plain_text_input","min_length":9,"max_length":3}`),
			"must not exceed max_length [json-pointer:/blocks/0/element/min_length]"},

		{"rich text", "message", kitRich(`{"type":"rich_text_section","elements":[{"type":"text","text":"a","style":{"bold":true}},` +
			`{"type":"link","url":"https://a.b"},{"type":"user","user_id":"U1"},{"type":"emoji","name":"key"},` +
			`{"type":"date","timestamp":1,"format":"{date}"},{"type":"broadcast","range":"here"}]},` +
			`{"type":"rich_text_preformatted","elements":[{"type":"text","text":"x"}]},` +
			`{"type":"rich_text_quote","elements":[{"type":"text","text":"x"}]},` +
			`{"type":"rich_text_list","style":"ordered","elements":[{"type":"rich_text_section","elements":[]}]}`), ""},
		{"rich text without elements", "message", `{"type":"rich_text"}`, "must be an array [json-pointer:/blocks/0/elements]"},
		{"unknown rich element", "message", kitRich(`{"type":"rich_text_table"}`),
			`unsupported type: "rich_text_table" [json-pointer:/blocks/0/elements/0/type]`},
		{"list of no style", "message", kitRich(`{"type":"rich_text_list","style":"x","elements":[]}`),
			"must be bullet or ordered [json-pointer:/blocks/0/elements/0/style]"},
		{"list of texts", "message", kitRich(`{"type":"rich_text_list","style":"bullet","elements":[{"type":"text","text":"x"}]}`),
			"must be rich_text_section [json-pointer:/blocks/0/elements/0/elements/0/type]"},
		{"mention in preformatted", "message", kitRich(`{"type":"rich_text_preformatted","elements":[{"type":"user","user_id":"U1"}]}`),
			`"user" is not allowed in preformatted text [json-pointer:/blocks/0/elements/0/elements/0/type]`},
		{"empty rich text", "message", kitPiece(`{"type":"text","text":""}`),
			"must be more than 0 characters [json-pointer:/blocks/0/elements/0/elements/0/text]"},
		{"unknown piece", "message", kitPiece(`{"type":"song"}`),
			`unsupported type: "song" [json-pointer:/blocks/0/elements/0/elements/0/type]`},
		{"unknown style of text", "message", kitPiece(`{"type":"text","text":"x","style":{"loud":true}}`),
			`invalid additional property: "loud" [json-pointer:/blocks/0/elements/0/elements/0/style]`},
		{"mention of nobody", "message", kitPiece(`{"type":"user"}`),
			"must be a string [json-pointer:/blocks/0/elements/0/elements/0/user_id]"},
		{"date without a time", "message", kitPiece(`{"type":"date","format":"x"}`),
			"must be a number [json-pointer:/blocks/0/elements/0/elements/0/timestamp]"},

		{"13,000 characters", "message", kitRepeat(`{"type":"section","text":`+kitMarkup(2600)+`}`, 5), ""},
		{"13,005 characters", "message", kitRepeat(`{"type":"section","text":`+kitMarkup(2601)+`}`, 5),
			"msg_blocks_too_long: more than 13000 characters in all [json-pointer:/blocks]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			blocks := "[" + tt.blocks + "]"
			if !json.Valid([]byte(blocks)) {
				t.Fatalf("the row is not JSON: %s", blocks)
			}
			got := strings.Join(sandbox.ValidateBlocks(json.RawMessage(blocks), tt.surface), ";")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateBlocksOfNothing(t *testing.T) {
	for blocks, want := range map[string]int{"": 0, "null": 0, "[]": 0, "{}": 1, "x": 1} {
		if got := sandbox.ValidateBlocks(json.RawMessage(blocks), "message"); len(got) != want {
			t.Errorf("%q: %v, want %d problems", blocks, got, want)
		}
	}
}

func TestValidateView(t *testing.T) {
	modal := func(title int, more string) string {
		return `{"type":"modal","title":` + kitPlainText(title) + more + `,"blocks":[{"type":"divider"}]}`
	}
	field := func(name string, n int) string { return `,"` + name + `":"` + strings.Repeat("x", n) + `"` }
	tests := []struct{ name, view, want string }{
		{"form", slackModal, ""},
		{"title of 24", modal(24, ""), ""},
		{"title of 25", modal(25, ""), "must be less than 25 characters [json-pointer:/view/title/text]"},
		{"submit of 25", modal(24, `,"submit":`+kitPlainText(25)),
			"must be less than 25 characters [json-pointer:/view/submit/text]"},
		{"close of 25", modal(24, `,"close":`+kitPlainText(25)),
			"must be less than 25 characters [json-pointer:/view/close/text]"},
		{"private_metadata of 3000", modal(1, field("private_metadata", 3000)), ""},
		{"private_metadata of 3001", modal(1, field("private_metadata", 3001)),
			"must be less than 3001 characters [json-pointer:/view/private_metadata]"},
		{"callback_id of 256", modal(1, field("callback_id", 256)),
			"must be less than 256 characters [json-pointer:/view/callback_id]"},
		{"external_id of 256", modal(1, field("external_id", 256)),
			"must be less than 256 characters [json-pointer:/view/external_id]"},
		{"no title", `{"type":"modal","blocks":[{"type":"divider"}]}`, "must be a text object [json-pointer:/view/title]"},
		{"input without submit", strings.Replace(slackModal, `"submit":{"type":"plain_text","text":"Send"},`, "", 1),
			"a view with an input needs submit [json-pointer:/view]"},
		{"no blocks", `{"type":"home","blocks":[]}`, "must have at least 1 items [json-pointer:/view/blocks]"},
		{"title on a home", `{"type":"home","title":` + kitPlainText(3) + `,"blocks":[{"type":"divider"}]}`,
			`invalid additional property: "title" [json-pointer:/view]`},
		{"unknown type", `{"type":"popup"}`, "must be modal or home [json-pointer:/view/type]"},
		{"null", `null`, "must be an object [json-pointer:/view]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(sandbox.ValidateView(json.RawMessage(tt.view)), ";")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzValidateBlocks(f *testing.F) {
	for _, seed := range []string{slackButtons, slackSections(2, 10), `[{"type":"section"}]`, `[null,7,"x",[]]`,
		"[" + kitMenu(2, `,"initial_option":7`) + "]", `[{"type":"context","elements":[null]}]`,
		"[" + kitPiece(`{"type":"link","url":"mailto:x","style":7}`) + "]", `{"type":"modal"}`, slackModal} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, blocks []byte) {
		for _, surface := range []string{"message", "modal", "home"} {
			first := sandbox.ValidateBlocks(blocks, surface)
			if diff := cmp.Diff(first, sandbox.ValidateBlocks(blocks, surface)); diff != "" {
				t.Errorf("differs from one time to the next:\n%s", diff)
			}
			var list []any
			if len(blocks) > 0 && json.Unmarshal(blocks, &list) != nil && len(first) == 0 {
				t.Errorf("%s: what is no array passed: %q", surface, blocks)
			}
		}
		sandbox.ValidateView(blocks)
	})
}
