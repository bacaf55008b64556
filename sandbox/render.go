package sandbox

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// RenderOptions says how [Text] shows a message. The zero value will do.
type RenderOptions struct {
	Width    int            // of a line, in characters; zero means 100
	Location *time.Location // of dates; nil means UTC
	// Now is the moment of looking, for dates such as "today" and "in 2
	// hours". When it is zero, they are shown in full.
	Now   time.Time
	Color bool // use ANSI escape sequences
	Short bool // cut long URLs short
	// User, Channel and Group return the name for an id, or "" to show the id.
	// They may be nil.
	User, Channel, Group func(id string) string
}

const (
	renderWidth    = 100 // when none is given
	renderShortURL = 60  // the longest URL that Short leaves whole, in characters
	renderIndent   = "    "
)

// renderer shows one message.
type renderer struct {
	RenderOptions
	lines []string
}

// Text shows a message as a person would read it in a terminal: its blocks, or
// its text when it has none. Lines have no trailing space, and the last no
// newline. Code is indented and never wrapped. A primary button has stars, a
// danger one exclamation marks. Control characters in the message are dropped.
// It shows what it can of a message that is not valid.
func Text(m Message, opts RenderOptions) string {
	opts.Width = cmp.Or(max(opts.Width, 0), renderWidth)
	if opts.Location == nil {
		opts.Location = time.UTC
	}
	r := &renderer{RenderOptions: opts}
	var blocks []kitObject
	if json.Unmarshal(m.Blocks, &blocks) != nil || len(blocks) == 0 {
		r.paragraphs("", r.mrkdwn(m.Text))
	}
	for _, b := range blocks {
		r.block(b)
	}
	return strings.TrimSpace(strings.Join(r.lines, "\n"))
}

// ViewText shows a modal or an app home as [Text] shows a message: its title,
// its blocks, the errors of the last submission, and its buttons.
func ViewText(v View, opts RenderOptions) string {
	var parts []string
	if v.Title != "" {
		parts = append(parts, "== "+renderClean(v.Title)+" ==")
	}
	if body := Text(Message{Blocks: v.Blocks}, opts); body != "" {
		parts = append(parts, body)
	}
	for _, id := range slices.Sorted(maps.Keys(v.Errors)) {
		parts = append(parts, "! "+renderClean(id)+": "+renderClean(v.Errors[id]))
	}
	var buttons []string
	for _, label := range []string{v.Close, v.Submit} {
		if label != "" {
			buttons = append(buttons, "[ "+renderClean(label)+" ]")
		}
	}
	if len(buttons) > 0 {
		parts = append(parts, strings.Join(buttons, "  "))
	}
	return strings.Join(parts, "\n")
}

func (r *renderer) block(b kitObject) {
	switch b["type"] {
	case "header":
		r.paragraphs("", r.bold("# "+r.plain(kitTextOf(b["text"]))))
	case "section":
		r.section(b)
	case "context":
		r.context(b)
	case "actions":
		r.actions(b)
	case "divider":
		r.line(strings.Repeat("-", r.Width))
	case "image":
		r.paragraphs("", r.image(b))
	case "input":
		r.input(b)
	case "rich_text":
		r.richText(b)
	}
}

func (r *renderer) section(b kitObject) {
	if b["text"] != nil {
		r.paragraphs("", r.text(b["text"]))
	}
	fields, _ := b["fields"].([]any)
	for _, f := range fields {
		r.paragraphs("", r.text(f))
	}
	if e, ok := b["accessory"].(kitObject); ok {
		r.paragraphs("", r.element(e))
	}
}

func (r *renderer) context(b kitObject) {
	var parts []string
	for _, e := range renderObjects(b["elements"]) {
		if e["type"] == "image" {
			parts = append(parts, r.image(e))
		} else {
			parts = append(parts, r.text(e))
		}
	}
	start := len(r.lines)
	r.paragraphs("· ", strings.Join(parts, "  "))
	for i := start; i < len(r.lines); i++ {
		r.lines[i] = r.style("2", r.lines[i])
	}
}

func (r *renderer) actions(b kitObject) {
	var parts []string
	for _, e := range renderObjects(b["elements"]) {
		parts = append(parts, r.element(e))
	}
	r.row(parts)
}

// row lays parts out side by side, on as many lines as it takes.
func (r *renderer) row(parts []string) {
	line := ""
	for _, part := range parts {
		if line != "" && renderColumns(line)+2+renderColumns(part) > r.Width {
			r.line(line)
			line = ""
		}
		if line != "" {
			line += "  "
		}
		line += part
	}
	r.line(line)
}

func (r *renderer) input(b kitObject) {
	label := r.plain(kitTextOf(b["label"]))
	if optional, _ := b["optional"].(bool); optional {
		label += " (optional)"
	}
	e, _ := b["element"].(kitObject)
	r.paragraphs("", label+": "+r.element(e))
	if b["hint"] != nil {
		r.paragraphs("· ", r.text(b["hint"]))
	}
}

// element shows an interactive element on one line.
func (r *renderer) element(e kitObject) string {
	switch e["type"] {
	case "button":
		return r.button(e)
	case "image":
		return r.image(e)
	case "plain_text_input", "number_input":
		initial, _ := e["initial_value"].(string)
		return cmp.Or(r.plain(initial), r.plain(kitTextOf(e["placeholder"])), "________")
	case "checkboxes", "radio_buttons":
		var parts []string
		for _, o := range renderObjects(e["options"]) {
			mark := "( )"
			if o["value"] == renderValue(e["initial_option"]) {
				mark = "(x)"
			}
			parts = append(parts, mark+" "+r.text(o["text"]))
		}
		return strings.Join(parts, "  ")
	}
	initial, _ := e["initial_option"].(kitObject)
	shown := cmp.Or(r.plain(kitTextOf(initial["text"])), r.plain(kitTextOf(e["placeholder"])), "...")
	return "[ " + shown + " v ]"
}

// button shows a button with its style and, when it is a link, where it goes.
func (r *renderer) button(e kitObject) string {
	left, right := "[ ", " ]"
	switch e["style"] {
	case "primary":
		left, right = "[* ", " *]"
	case "danger":
		left, right = "[! ", " !]"
	}
	out := r.bold(left + r.plain(kitTextOf(e["text"])) + right)
	if u, _ := e["url"].(string); u != "" {
		out += " " + r.url(u)
	}
	return out
}

func (r *renderer) image(e kitObject) string {
	alt, _ := e["alt_text"].(string)
	out := "(image: " + r.plain(alt) + ")"
	if u, _ := e["image_url"].(string); u != "" {
		out += " " + r.url(u)
	}
	return out
}

// text shows a text object.
func (r *renderer) text(v any) string {
	o, _ := v.(kitObject)
	if o["type"] == "mrkdwn" {
		return r.mrkdwn(kitTextOf(v))
	}
	return r.plain(kitTextOf(v))
}

// plain shows text that has no formatting.
func (r *renderer) plain(text string) string { return renderClean(text) }

// url shows an address, cut short if so asked.
func (r *renderer) url(u string) string {
	u = renderClean(strings.NewReplacer("&amp;", "&", "\n", "").Replace(u))
	if n := []rune(u); r.Short && len(n) > renderShortURL {
		return string(n[:renderShortURL-1]) + "…"
	}
	return u
}

func (r *renderer) bold(text string) string { return r.style("1", text) }

// style wraps text in an ANSI style, when colours are on.
func (r *renderer) style(code, text string) string {
	if !r.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (r *renderer) line(text string) {
	r.lines = append(r.lines, strings.TrimRight(text, " \t"))
}

// paragraphs adds text, wrapped at the width, with a prefix on its first line
// and as much space on the others. Indented lines are code and stay as they are.
func (r *renderer) paragraphs(prefix, text string) {
	rest := strings.Repeat(" ", utf8.RuneCountInString(prefix))
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, renderIndent) {
			r.line(prefix + l)
			prefix = rest
			continue
		}
		used := 0
		var out strings.Builder
		for _, word := range strings.Split(l, " ") {
			n := renderColumns(word)
			if used > 0 && used+1+n > r.Width-utf8.RuneCountInString(prefix) {
				r.line(prefix + out.String())
				prefix = rest
				out.Reset()
				used = 0
			}
			if out.Len() > 0 || used > 0 {
				out.WriteByte(' ')
				used++
			}
			out.WriteString(word)
			used += n
		}
		r.line(prefix + out.String())
		prefix = rest
	}
}

// renderColumns counts the characters of a text that take up room.
func renderColumns(text string) int {
	n, escape := 0, false
	for _, c := range text {
		switch {
		case c == '\x1b':
			escape = true
		case escape:
			escape = c != 'm'
		default:
			n++
		}
	}
	return n
}

// renderClean drops control characters other than newlines, and the marks that
// change the direction of text; a tab becomes a space.
func renderClean(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n':
			return c
		case c == '\t':
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Bidi_Control, c):
			return -1
		}
		return c
	}, text)
}

// renderObjects returns the objects in an array of any shape.
func renderObjects(v any) []kitObject {
	list, _ := v.([]any)
	var out []kitObject
	for _, item := range list {
		if o, ok := item.(kitObject); ok {
			out = append(out, o)
		}
	}
	return out
}

// renderValue returns the value of an option of any shape.
func renderValue(v any) string {
	o, _ := v.(kitObject)
	return fmt.Sprint(o["value"])
}
