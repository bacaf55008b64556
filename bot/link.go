package bot

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
)

// Text of a user's never becomes a link by itself. These are links that
// Starback has made: of the policy's template and a ticket, or of what Slack
// said of the message that a shortcut was chosen on.

// A linkTo is a word of a text, and where it leads; nowhere, if the URL is empty.
type linkTo struct{ word, url string }

// linksOf are the links in what a Request says.
func linksOf(r *broker.Request) []linkTo { return []linkTo{{r.Ticket, r.TicketLink}, {r.Link, r.Link}} }

// linked is a text in which the first of each word that is a link leads there.
func linked(text string, links []linkTo) []slack.RichTextSectionElement {
	for i, l := range links {
		word := cleanText(l.word)
		before, after, found := aroundWord(text, word)
		if l.url == "" || !found {
			continue
		}
		parts := append(linked(before, links[i+1:]), slack.NewRichTextSectionLinkElement(l.url, word, nil))
		return append(parts, linked(after, links[i+1:])...)
	}
	if text == "" {
		return nil
	}
	return []slack.RichTextSectionElement{rich(text)}
}

// aroundWord cuts a text around the first place where a word of it stands, with
// space or nothing beside it.
func aroundWord(text, word string) (before, after string, found bool) {
	for from := 0; word != ""; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			break
		}
		start, end := from+i, from+i+len(word)
		last, _ := utf8.DecodeLastRuneInString(text[:start])
		next, _ := utf8.DecodeRuneInString(text[end:])
		if (start == 0 || unicode.IsSpace(last)) && (end == len(text) || unicode.IsSpace(next)) {
			return text[:start], text[end:], true
		}
		from = end
	}
	return text, "", false
}
