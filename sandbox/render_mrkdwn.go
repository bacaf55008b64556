package sandbox

import (
	"regexp"
	"strings"
)

var (
	// renderAngle is what Slack writes between angle brackets: mentions,
	// dates and links.
	renderAngle = regexp.MustCompile(`<([^<>\s][^<>\n]*)>`)
	renderCode  = regexp.MustCompile("`([^`\n]+)`")
	renderBold  = regexp.MustCompile(`(^|[\s(])\*([^*\n]+)\*`)

	renderUnescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
)

// mrkdwn shows Slack's markup: code blocks indented, links and mentions spelled
// out, entities unescaped. With colours, bold text and code lose their marks and
// gain a style.
func (r *renderer) mrkdwn(text string) string {
	var out []string
	for i, part := range strings.Split(renderClean(text), "```") {
		if i%2 == 1 {
			out = append(out, r.codeBlock(renderAngle.ReplaceAllStringFunc(part, r.angle)))
			continue
		}
		// The newlines beside a code block belong to the block.
		if i > 0 {
			part = strings.TrimPrefix(part, "\n")
		}
		part = strings.TrimSuffix(part, "\n")
		if part == "" {
			continue
		}
		out = append(out, r.inline(part))
	}
	return strings.Join(out, "\n")
}

// inline shows text outside code blocks.
func (r *renderer) inline(text string) string {
	text = renderAngle.ReplaceAllStringFunc(text, r.angle)
	if r.Color {
		text = renderCode.ReplaceAllString(text, "\x1b[36m$1\x1b[0m")
		text = renderBold.ReplaceAllString(text, "$1\x1b[1m$2\x1b[0m")
	}
	return renderUnescape.Replace(text)
}

// codeBlock shows preformatted text, indented line by line.
func (r *renderer) codeBlock(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = renderIndent + renderUnescape.Replace(l)
	}
	return strings.Join(lines, "\n")
}

// angle spells out what is between angle brackets. What it returns is still
// escaped.
func (r *renderer) angle(s string) string {
	body, label, labelled := strings.Cut(s[1:len(s)-1], "|")
	switch {
	case strings.HasPrefix(body, "@"):
		return "@" + r.name(body[1:], label, r.User)
	case strings.HasPrefix(body, "#"):
		return "#" + r.name(body[1:], label, r.Channel)
	case strings.HasPrefix(body, "!date^"):
		return r.date(strings.Split(body, "^")[1:], label)
	case strings.HasPrefix(body, "!subteam^"):
		id, _ := strings.CutPrefix(body, "!subteam^")
		return "@" + r.name(id, strings.TrimPrefix(label, "@"), r.Group)
	case strings.HasPrefix(body, "!"):
		return "@" + body[1:]
	case labelled && label != "" && label != body:
		return label + " <" + r.url(body) + ">"
	default:
		return r.url(body)
	}
}

// name returns the name for an id: as looked up, or as written beside it, or
// the id itself.
func (r *renderer) name(id, label string, lookup func(string) string) string {
	if lookup != nil {
		if name := lookup(id); name != "" {
			return renderClean(name)
		}
	}
	if label != "" {
		return label
	}
	return id
}
