package bot

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker/policy"
)

// Slack's limits on a message, in characters unless it says otherwise. Source:
// Slack's Block Kit reference.
const (
	maxBlocks     = 50
	maxSection    = 3000
	maxButtonURL  = 3000
	maxButtonText = 75
	maxFallback   = 4000 // of the text beside the blocks
	// maxMessage is the text that all blocks may hold together. Slack does not
	// document it, and refuses somewhere above 13,000.
	maxMessage = 13_000
	maxList    = maxMessage - 1000 // of that, for the lines of a list
	maxHeader  = 150
	maxQuoted  = 500 // of one line of a user's among others; our own choice
)

// A message is what a person sees, and the text that stands for it where
// blocks are not shown: in notifications and for screen readers.
type message struct {
	text   string
	blocks []slack.Block
}

// The two kinds of answer to a command.
const (
	ephemeral = "ephemeral" // to the person alone
	inChannel = "in_channel"
)

// errTooLong says that Slack would not take a message.
var errTooLong = errors.New("the message is too long for Slack")

// fits says whether Slack takes that many blocks and that much text.
func (m message) fits() bool { return len(m.blocks) <= maxBlocks && m.size() <= maxMessage }

// size is how much text the blocks hold together, in characters.
func (m message) size() int {
	n := 0
	for _, b := range m.blocks {
		switch b := b.(type) {
		case *slack.HeaderBlock:
			n += utf8.RuneCountInString(b.Text.Text)
		case *slack.RichTextBlock:
			for _, e := range b.Elements {
				n += richSize(e)
			}
		case *slack.SectionBlock:
			n += utf8.RuneCountInString(b.Text.Text)
		case *slack.ContextBlock:
			for _, e := range b.ContextElements.Elements {
				if t, ok := e.(*slack.TextBlockObject); ok {
					n += utf8.RuneCountInString(t.Text)
				}
			}
		case *slack.ActionBlock:
			for _, e := range b.Elements.ElementSet {
				switch e := e.(type) {
				case *slack.ButtonBlockElement:
					n += utf8.RuneCountInString(e.Text.Text)
				case *slack.SelectBlockElement:
					n += utf8.RuneCountInString(e.Placeholder.Text)
					for _, o := range e.Options {
						n += utf8.RuneCountInString(o.Text.Text)
					}
				}
			}
		}
	}
	return n
}

// richSize is how much text a piece of rich text holds, in characters.
func richSize(e slack.RichTextElement) (n int) {
	switch e := e.(type) {
	case *slack.RichTextList:
		for _, item := range e.Elements {
			n += richSize(item)
		}
	case *slack.RichTextSection:
		for _, piece := range e.Elements {
			switch piece := piece.(type) {
			case *slack.RichTextSectionTextElement:
				n += utf8.RuneCountInString(piece.Text)
			case *slack.RichTextSectionLinkElement:
				n += utf8.RuneCountInString(piece.Text)
			}
		}
	}
	return n
}

// encode returns the message as Slack's response URLs and acknowledgements
// take it.
func (m message) encode(responseType string, replace bool) ([]byte, error) {
	if !m.fits() {
		return nil, errTooLong
	}
	return json.Marshal(slack.WebhookMessage{
		Text: cut(m.text, maxFallback), Blocks: &slack.Blocks{BlockSet: m.blocks}, ResponseType: responseType, ReplaceOriginal: replace,
	})
}

// options returns the message as Slack's Web API methods take it.
func (m message) options() []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(cut(m.text, maxFallback), false), slack.MsgOptionBlocks(m.blocks...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
}

// say is a message of plain sentences of ours, with what identifies it small
// below. Neither holds text of a user's.
func say(sentences, footer string) message {
	m := message{text: bare(sentences)}
	m.blocks = append(m.blocks, section(sentences))
	if footer != "" {
		m.text += " (" + strings.ReplaceAll(footer, "`", "") + ")"
		m.blocks = append(m.blocks, small(footer))
	}
	return m
}

// plain is text that is no markup.
func plain(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

// bare is a text of ours without its markup, as one paragraph that can be read
// aloud: moments are in UTC, and lines become sentences.
func bare(mrkdwn string) string {
	text := strings.NewReplacer("*", "", "`", "").Replace(dateToken().ReplaceAllString(mrkdwn, "$1"))
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
		if i < len(lines)-1 && !strings.HasSuffix(lines[i], ".") && !strings.HasSuffix(lines[i], ":") {
			lines[i] += "."
		}
	}
	return strings.Join(lines, " ")
}

// dateToken is a moment as when writes it, around what stands for it.
var dateToken = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<!date\^[^|>]*\|([^>]*)>`) })

// maxAloud is how much of a list is read aloud, in characters. Our own choice.
const maxAloud = 1000

// aloud is a headline of ours and what is listed beneath it as one text, as much
// as anybody would listen to.
func aloud(head string, items []string) string {
	text := bare(head)
	said := make([]string, 0, len(items))
	size := 0
	for i, item := range items {
		item = strings.TrimSuffix(bare(strings.ReplaceAll(item, "  ", ", ")), ".")
		if size += utf8.RuneCountInString(item); size > maxAloud && i > 0 {
			said = append(said, fmt.Sprintf("and %d more", len(items)-i))
			break
		}
		said = append(said, item)
	}
	switch {
	case len(said) == 0:
		return text
	case strings.HasSuffix(text, ")"), strings.Contains(head, "\n") && !strings.HasSuffix(text, "."):
		text += "."
	case !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, ":"):
		text += ":"
	}
	return text + " " + strings.Join(said, "; ") + "."
}

// section is a paragraph of our own words, cut to what Slack takes. Verbatim:
// nothing in it becomes a link or a mention by itself.
func section(mrkdwn string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, cut(mrkdwn, maxSection), false, true), nil, nil)
}

// small is a line of small print of our own words.
func small(mrkdwn string) slack.Block {
	return slack.NewContextBlock("", slack.NewTextBlockObject(slack.MarkdownType, cut(mrkdwn, maxSection), false, true))
}

// list puts lines of our own words, each shorter than a paragraph may be, into
// paragraphs of room characters together. Shown is how many lines there was
// room for.
func list(lines []string, room int) (blocks []slack.Block, shown int) {
	var paragraph []string
	size, total := 0, 0
	for _, line := range lines {
		n := utf8.RuneCountInString(line) + 1
		if total += n; total > room {
			break
		}
		if size += n; size > maxSection {
			blocks = append(blocks, section(strings.Join(paragraph, "\n")))
			paragraph, size = nil, n
		}
		paragraph = append(paragraph, line)
		shown++
	}
	if len(paragraph) > 0 {
		blocks = append(blocks, section(strings.Join(paragraph, "\n")))
	}
	return blocks, shown
}

// quote is text of a user's: shown as it is, never as markup. Control and
// bidirectional characters are stripped. What is a link in it, we have made.
func quote(label, text string, links ...linkTo) slack.Block {
	var parts []slack.RichTextSectionElement
	if label != "" {
		parts = append(parts, slack.NewRichTextSectionTextElement(label, &slack.RichTextSectionTextStyle{Bold: true}))
		text = "  " + text
	}
	parts = append(parts, linked(cut(cleanText(text), maxSection-200), links)...)
	return slack.NewRichTextBlock("", slack.NewRichTextSection(parts...))
}

// quotes are lines of a user's, each shown as quote shows one, of room
// characters together. Shown is how many there was room for.
func quotes(lines []string, room int) (blocks []slack.Block, shown int) {
	var items []slack.RichTextElement
	total := 0
	for _, line := range lines {
		line = cut(cleanText(line), maxQuoted)
		if total += utf8.RuneCountInString(line); total > room {
			break
		}
		if line != "" {
			items = append(items, slack.NewRichTextSection(slack.NewRichTextSectionTextElement(line, nil)))
		}
		shown++
	}
	if len(items) > 0 {
		blocks = append(blocks, slack.NewRichTextBlock("", slack.NewRichTextList(slack.RTEListBullet, 0, items...)))
	}
	return blocks, shown
}

// code is text to be copied.
func code(text string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, fence+"\n"+escape(text)+"\n"+fence, false, true), nil, nil)
}

const fence = "```"

// maxCode is how much escaped text fits one code block.
const maxCode = maxSection - 2*len(fence) - 2

// word is a word that somebody may have typed, as code that it cannot end.
func word(s string) string { return "`" + escape(strings.ReplaceAll(s, "`", "'")) + "`" }

// escape writes the three characters that Slack's markup gives a meaning.
func escape(s string) string { return escaper.Replace(s) }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// cut shortens s to n characters, and shows that it did.
func cut(s string, n int) string {
	if len(s) <= n { // bytes are never fewer than characters
		return s
	}
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// when shows a moment in the reader's own time zone.
func when(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} at {time}|%s>", t.Unix(), utc(t))
}

// utc is the moment for those whom Slack shows no dates.
func utc(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") }

// span prints a duration as people write one: 1h30m, not 1h30m0s.
func span(d time.Duration) string {
	d = d.Round(time.Minute)
	h, m := d/time.Hour, d%time.Hour/time.Minute
	switch {
	case h == 0:
		return fmt.Sprintf("%dm", m)
	case m == 0:
		return fmt.Sprintf("%dh", h)
	default:
		return fmt.Sprintf("%dh%dm", h, m)
	}
}

// names lists names of ours as code, in the order given, at most most of them.
func names[T ~string](list []T, most int) string { return someOf(listed(list), most, math.MaxInt) }

// listed are the words of a list of names of ours, as code.
func listed[T ~string](list []T) []string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = "`" + string(n) + "`"
		if i < len(list)-1 {
			words[i] += ","
		}
	}
	return words
}

// someOf are the first of some words, each whole: at most most of them, and of
// room characters. The rest are counted.
func someOf(words []string, most, room int) string {
	for n := min(len(words), most); ; n-- {
		some := words[:n:n]
		if rest := len(words) - n; rest > 0 {
			some = append(some, fmt.Sprintf("and %d more", rest))
		}
		text := strings.Join(some, " ")
		if n == 0 || utf8.RuneCountInString(text) <= room {
			return text
		}
	}
}

// requestLine is the small print that names a Request.
func requestLine(id string) string {
	if id == "" {
		return ""
	}
	return "Request `" + id + "`"
}

// accountOf names the account of a role: its own name, then AWS's.
func accountOf(r *policy.Role) string {
	if r.Account == "" || string(r.Account) == r.AccountID {
		return r.AccountID
	}
	return string(r.Account) + " (" + r.AccountID + ")"
}
