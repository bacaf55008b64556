package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Export returns a policy file that says what d and users do, in an order that
// does not change: Parse reads it back as the same Document and Users. With
// nil users it has no users section. Session policies are written in place.
//
// The names of removed groups are in no file, and Parse refuses one that is
// too long: see File.
func Export(d *Document, users []User) []byte {
	var b bytes.Buffer
	b.WriteString("version: 1\n")
	for _, section := range outline(d).parts {
		if section = section.stated(); section.key != "removed" && len(section.parts) > 0 {
			b.WriteByte('\n')
			section.write(&b, 0, exportWidth)
		}
	}
	if users != nil {
		b.WriteByte('\n')
		b.Write(ExportUsers(users))
	}
	return b.Bytes()
}

// ExportUsers returns the users section of a policy file, by name.
func ExportUsers(users []User) []byte {
	section := part{key: "users", shape: isSection}
	for _, u := range users {
		p := part{key: string(u.Name), shape: isEntity}
		if u.App {
			p.flag("app", true, false)
		}
		p.word("owner", string(u.Owner), "")
		p.word("slack", u.Slack, "")
		p.word("email", u.Email, "")
		p.list(namesPart("groups", u.Groups))
		p.list(grantsPart(u.Grants))
		if !u.Expires.IsZero() {
			p.plain("expires", instantText(u.Expires), false)
		}
		if u.Disabled {
			p.flag("disabled", true, false)
		}
		section.parts = append(section.parts, p)
	}
	slices.SortFunc(section.parts, func(a, b part) int { return strings.Compare(a.key, b.key) })
	var b bytes.Buffer
	section.write(&b, 0, exportWidth)
	return b.Bytes()
}

// stated returns p without what a file can leave out.
func (p part) stated() part {
	var parts []part
	for _, q := range p.parts {
		if !q.implied {
			parts = append(parts, q.stated())
		}
	}
	p.parts = parts
	return p
}

// exportWidth is how wide, in bytes, a line may be that holds a list or a
// mapping whole.
const exportWidth = 100

// write writes p as YAML, so far indented. What is no section, fits into width
// and holds no more than one level of mappings is on one line.
func (p *part) write(b *bytes.Buffer, indent, width int) {
	lead := strings.Repeat(" ", indent) + yamlText(p.key) + ":"
	if p.shape == isScalar || len(p.parts) == 0 {
		fmt.Fprintf(b, "%s %s\n", lead, p.flow())
		return
	}
	if line := lead + " " + p.flow(); p.short(indent) && len(line) <= width {
		b.WriteString(line + "\n")
		return
	}
	b.WriteString(lead + "\n")
	for i := range p.parts {
		if p.shape == isSequence {
			p.parts[i].writeItem(b, indent+2)
		} else {
			p.parts[i].write(b, indent+2, width)
		}
	}
}

// writeItem writes an item of a list: whole on its line if it fits.
func (p *part) writeItem(b *bytes.Buffer, indent int) {
	line := fmt.Sprintf("%*s- %s", indent, "", p.flow())
	if p.shape == isScalar || len(line) <= exportWidth {
		b.WriteString(line + "\n")
		return
	}
	start := b.Len()
	for i := range p.parts {
		p.parts[i].write(b, indent+2, exportWidth)
	}
	b.Bytes()[start+indent] = '-'
}

// short says whether p reads well on one line: a list of scalars anywhere, and
// a mapping inside a section if it is one of scalars and such lists.
func (p *part) short(indent int) bool {
	if p.shape != isSequence && indent == 0 || len(p.parts) > 8 {
		return false
	}
	for _, q := range p.parts {
		if q.shape == isEntity || q.shape == isSection || q.shape == isSequence && (p.shape == isSequence || !q.short(indent)) {
			return false
		}
	}
	return true
}

// flow returns the value of p on one line.
func (p *part) flow() string {
	if p.shape == isScalar {
		return p.yaml
	}
	var items []string
	for i := range p.parts {
		item := p.parts[i].flow()
		if p.shape != isSequence {
			item = yamlText(p.parts[i].key) + ": " + item
		}
		items = append(items, item)
	}
	if p.shape == isSequence {
		return "[" + strings.Join(items, ", ") + "]"
	}
	return "{" + strings.Join(items, ", ") + "}"
}

var (
	plainPattern = expression(`^[A-Za-z](?: ?[\w./@=-])*$`)
	yamlWords    = expression(`^(?i:true|false|yes|no|on|off|y|n|null|nan|inf)$`) // of YAML 1.1 or 1.2
)

// yamlText writes s as YAML that is read as text: in quotes, unless it is
// plainly words.
func yamlText(s string) string {
	if plainPattern().MatchString(s) && !yamlWords().MatchString(s) {
		return s
	}
	return inQuotes(s)
}

// inQuotes writes s in double quotes. What does not print is escaped.
func inQuotes(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			b.WriteString(`\U` + fmt.Sprintf("%08X", r))
		default:
			b.WriteString(`\u` + fmt.Sprintf("%04X", r))
		}
	}
	b.WriteByte('"')
	return b.String()
}
