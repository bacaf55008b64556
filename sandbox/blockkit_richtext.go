package sandbox

import (
	"fmt"
	"unicode/utf8"
)

// kitStyles are the styles that a piece of rich text may have.
var kitStyles = []string{"bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink"}

func (k *kitChecker) richText(at string, b kitObject) {
	list, ok := b["elements"].([]any)
	if !ok {
		k.add(at+"/elements", "must be an array")
	}
	for i, item := range list {
		at := fmt.Sprintf("%s/elements/%d", at, i)
		e, _ := item.(kitObject)
		switch kind, _ := e["type"].(string); kind {
		case "rich_text_section":
			k.keys(at, e, "type", "elements")
			k.richPieces(at, e, false)
		case "rich_text_quote":
			k.keys(at, e, "type", "elements", "border")
			k.richPieces(at, e, false)
		case "rich_text_preformatted":
			k.keys(at, e, "type", "elements", "border", "language")
			k.richPieces(at, e, true)
		case "rich_text_list":
			k.richList(at, e)
		default:
			k.add(at+"/type", "unsupported type: %q", kind)
		}
	}
}

// richList checks a list, whose items are sections.
func (k *kitChecker) richList(at string, e kitObject) {
	k.keys(at, e, "type", "style", "elements", "indent", "offset", "border")
	if e["style"] != "bullet" && e["style"] != "ordered" {
		k.add(at+"/style", "must be bullet or ordered")
	}
	k.number(at+"/indent", e["indent"], 0, 8, 0)
	items, ok := e["elements"].([]any)
	if !ok {
		k.add(at+"/elements", "must be an array")
	}
	for i, item := range items {
		at := fmt.Sprintf("%s/elements/%d", at, i)
		section, _ := item.(kitObject)
		if section["type"] != "rich_text_section" {
			k.add(at+"/type", "must be rich_text_section")
			continue
		}
		k.keys(at, section, "type", "elements")
		k.richPieces(at, section, false)
	}
}

// richPieces checks the pieces of a section, quote or preformatted text, where
// only text and links may stand.
func (k *kitChecker) richPieces(at string, e kitObject, preformatted bool) {
	list, ok := e["elements"].([]any)
	if !ok {
		k.add(at+"/elements", "must be an array")
	}
	for i, item := range list {
		at := fmt.Sprintf("%s/elements/%d", at, i)
		piece, _ := item.(kitObject)
		kind, _ := piece["type"].(string)
		if preformatted && kind != "text" && kind != "link" {
			k.add(at+"/type", "%q is not allowed in preformatted text", kind)
			continue
		}
		k.richPiece(at, kind, piece)
	}
}

func (k *kitChecker) richPiece(at, kind string, p kitObject) {
	switch kind {
	case "text":
		k.keys(at, p, "type", "text", "style")
		k.chars += utf8.RuneCountInString(k.str(at+"/text", p["text"], kitMaxMessageText))
	case "link":
		k.keys(at, p, "type", "url", "text", "style", "unsafe")
		k.link(at+"/url", p["url"], "http", "https", "mailto")
		k.optional(at+"/text", p["text"], kitMaxMessageText)
		text, _ := p["text"].(string)
		k.chars += utf8.RuneCountInString(text)
	case "user":
		k.richMention(at, p, "user_id")
	case "channel":
		k.richMention(at, p, "channel_id")
	case "usergroup":
		k.richMention(at, p, "usergroup_id")
	case "team":
		k.richMention(at, p, "team_id")
	case "emoji":
		k.keys(at, p, "type", "name", "unicode", "skin_tone", "style")
		k.str(at+"/name", p["name"], kitMaxID)
	case "broadcast":
		k.keys(at, p, "type", "range", "style")
		if r := p["range"]; r != "here" && r != "channel" && r != "everyone" {
			k.add(at+"/range", "must be here, channel or everyone")
		}
	case "color":
		k.keys(at, p, "type", "value", "style")
		k.str(at+"/value", p["value"], kitMaxID)
	case "date":
		k.keys(at, p, "type", "timestamp", "format", "timezone", "url", "fallback", "style")
		k.str(at+"/format", p["format"], kitMaxID)
		if _, ok := p["timestamp"].(float64); !ok {
			k.add(at+"/timestamp", "must be a number")
		}
	default:
		k.add(at+"/type", "unsupported type: %q", kind)
	}
	if p["style"] != nil {
		style, ok := p["style"].(kitObject)
		if !ok {
			k.add(at+"/style", "must be an object")
		}
		k.keys(at+"/style", style, kitStyles...)
		for _, name := range kitStyles {
			k.flag(at+"/style/"+name, style[name])
		}
	}
}

// richMention checks a piece that names something by its id.
func (k *kitChecker) richMention(at string, p kitObject, id string) {
	k.keys(at, p, "type", id, "style")
	k.str(at+"/"+id, p[id], kitMaxID)
}
