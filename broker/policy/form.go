package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A form reads the values of one mapping of a policy file. A value that is
// absent reads as the zero value; one that does not fit is reported, and reads
// as the zero value too.
type form struct {
	*parser
	at   position // of the mapping
	name string   // of the mapping, in messages
	node *node
}

// form opens a mapping that may hold the given keys.
func (p *parser) form(name string, n *node, keys ...string) form {
	return p.formElse(oneOfKeys(keys), name, n, keys...)
}

// formElse does so, with what to do about a key that is like none of them.
func (p *parser) formElse(otherwise, name string, n *node, keys ...string) form {
	f := p.openForm(name, n, keys[0])
	before := len(p.found)
	f.node.only(&p.problems, otherwise, keys...)
	if len(p.found) > before {
		f.damage()
	}
	return f
}

// openForm opens a mapping that may hold any keys, such as the one given.
func (p *parser) openForm(name string, n *node, key string) form {
	f := form{parser: p, at: n.at, name: name, node: &node{}}
	switch n.kind {
	case isMapping:
		f.node = n
	case isNull:
		f.report(n.at, hint("write {} for none"), "%s has no value", name)
	default:
		f.report(n.at, hint("write {"+key+": …}"), "%s must be a mapping, not %s", name, n.kind)
	}
	for _, e := range f.node.entries {
		if e.value.kind == isNull {
			f.report(e.at, hint("give it one, or take it out"), "%s has no value", quote(e.key))
		}
	}
	return f
}

// damage says that the mapping is not as it was meant: what seems missing from
// it may be what is wrong in it, and is not reported.
func (f form) damage() {
	if f.damaged == nil {
		f.damaged = map[position]bool{}
	}
	f.damaged[f.at] = true
}

// report adds a problem with the shape of one value.
func (f form) report(at position, suggest suggestion, format string, args ...any) {
	f.add(at, suggest, format, args...)
	f.damage()
}

// need reports that key is missing.
func (f form) need(key string, suggest suggestion) {
	if !f.has(key) && !f.damaged[f.at] {
		f.add(f.at, suggest, "%s has no `%s`", f.name, key)
	}
}

// value returns the value of key if it is of the wanted kind.
func (f form) value(key string, want kind) *node {
	n := f.node.get(key)
	switch {
	case n == nil || n.kind == isNull: // form said so
		return nil
	case n.kind == want:
		return n
	case want == isText && (n.kind == isNumber || n.kind == isBool):
		f.report(n.at, hint(`write "`+n.text+`"`), "%s must be text, and YAML reads %s as %s", quote(key), quote(n.text), n.kind)
	default:
		f.report(n.at, asKind(n, want), "%s must be %s, not %s", quote(key), want, n.kind)
	}
	return nil
}

// asKind suggests how to write n so that it is of the wanted kind.
func asKind(n *node, want kind) suggestion {
	switch plain := n.kind == isText && n.text != "" && !strings.ContainsAny(n.text, marks); {
	case want == isBool && slices.Contains([]string{"true", "yes", "on"}, strings.ToLower(n.text)):
		return hint("write true, without quotes")
	case want == isBool && slices.Contains([]string{"false", "no", "off"}, strings.ToLower(n.text)):
		return hint("write false, without quotes")
	case want == isBool:
		return hint("write one of the two, without quotes")
	case want == isNumber && plain && n.quoted && strings.Trim(n.text, "0123456789") == "":
		return hint("write " + n.text + ", without quotes")
	case want == isNumber:
		return hint("write it in digits")
	case want == isList && plain:
		return hint("write [" + n.text + "]")
	case want == isList:
		return hint("write it in brackets, as in [a, b]")
	case want == isMapping && strings.HasSuffix(n.text, ".json"):
		return hint("write {file: " + n.text + "}")
	case want == isMapping:
		return hint("write it in braces, as in {key: value}")
	default:
		return hint("write one text, in quotes")
	}
}

func (f form) has(key string) bool { return f.node.get(key) != nil }

// where returns the place of the value of key, or of the mapping.
func (f form) where(key string) position { return f.node.locate([]string{key}) }

func (f form) text(key string) string {
	n := f.value(key, isText)
	if n == nil {
		return ""
	}
	if n.text == "" {
		f.report(n.at, hint("fill it in, or take it out"), "%s is empty", quote(key))
	}
	return n.text
}

func (f form) bool(key string, otherwise bool) bool {
	if n := f.value(key, isBool); n != nil {
		return n.text == "true"
	}
	return otherwise
}

func (f form) count(key string, otherwise int) int {
	n := f.value(key, isNumber)
	if n == nil {
		return otherwise
	}
	i, err := strconv.Atoi(n.text)
	if err != nil || strconv.Itoa(i) != n.text {
		f.report(n.at, hint("write it in digits, as in 2"), "%s must be a whole number", quote(key))
	}
	return i
}

// word returns a text, or a number as it is written.
func (f form) word(key string) string {
	if n := f.node.get(key); n != nil && n.kind == isNumber {
		return n.text
	}
	return f.text(key)
}

// lifetime reads a duration that may be of days.
func (f form) lifetime(key string, otherwise time.Duration) time.Duration {
	s := f.word(key)
	if s == "" {
		return otherwise
	}
	d, ok := parseDuration(s)
	if !ok {
		f.report(f.where(key), hint("write 90d or 12h"), "%s is not a duration", quote(s))
	}
	return d
}

func (f form) duration(key string, otherwise time.Duration) time.Duration {
	s := f.word(key)
	if s == "" {
		return otherwise
	}
	d, err := ParseDuration(s)
	if err != nil {
		f.report(f.where(key), hint("write 30m, 8h or 1h30m"), "%s is not a duration", quote(s))
	}
	return d
}

func (f form) instant(key string) time.Time {
	s := f.word(key)
	if s == "" {
		return time.Time{}
	}
	t, err := parseInstant(s)
	if err != nil {
		f.report(f.where(key), hint("write a day such as 2027-06-30, or a time such as 2027-06-30T18:00:00Z"), "%s %v", quote(s), err)
	}
	return t
}

func (f form) pattern(key string) *Pattern {
	s := f.text(key)
	if s == "" {
		return nil
	}
	p, err := NewPattern(s)
	if err != nil {
		f.report(f.where(key), hint(`write one such as '[A-Z]+-[0-9]+'`), "the pattern does not compile: %s", printable(err.Error()))
	}
	return p
}

// items returns the items of a list.
func (f form) items(key string) []*node {
	if n := f.value(key, isList); n != nil {
		return n.items
	}
	return nil
}

// names reads a list of names, each given once.
func names[T ~string](f form, key string) []T {
	var list []T
	given := map[T]bool{}
	for _, item := range f.items(key) {
		name := T(item.text)
		switch {
		case item.kind != isText:
			f.report(item.at, asName(item), "%s must list names, not %s", quote(key), item.kind)
		case name == "":
			f.report(item.at, hint("write one, or take it out"), "the name is empty")
		case given[name]:
			f.report(item.at, hint("take one out"), "%s is listed twice", quote(item.text))
		default:
			list = append(list, name)
		}
		given[name] = true
	}
	return list
}

// asName suggests how to write n, which is not text, as a name.
func asName(n *node) suggestion {
	if n.kind == isNumber || n.kind == isBool {
		return hint(`write "` + n.text + `"`)
	}
	return hint("write a name alone")
}

// arns reads a list of ARNs, which must not be empty: that might be taken for
// a limit, or for none.
func (f form) arns(key string) []string {
	if n := f.value(key, isList); n != nil && len(n.items) == 0 {
		f.report(n.at, hint("leave the key out"), "%s is empty", quote(key))
	}
	return names[string](f, key)
}

// tags reads the session tags: a mapping of them, or false if there can be none
// at all.
func (f form) tags() (tags map[string]string, none bool) {
	const key = "tags"
	n := f.node.get(key)
	switch {
	case n == nil || n.kind == isNull: // openForm said so
	case n.kind == isBool:
		return nil, n.text == "false"
	case n.kind != isMapping:
		f.report(n.at, hint("write it as in {team: data}"), "%s must be true, false or a mapping, not %s", quote(key), n.kind)
	case len(n.entries) == 0:
		f.report(n.at, hint("leave the key out"), "%s is empty", quote(key))
	default:
		tags = map[string]string{}
		section := f.openForm(quote(key), n, "team")
		for _, e := range n.entries {
			if value := section.value(e.key, isText); value != nil {
				tags[e.key] = value.text
			}
		}
	}
	return tags, false
}

// grants reads a list of grants, each a role's name or {role, until}.
func (f form) grants() []Grant {
	var list []Grant
	given := map[RoleName]bool{}
	for _, item := range f.items("grants") {
		var g Grant
		switch item.kind {
		case isText:
			g.Role = RoleName(item.text)
		case isMapping:
			one := f.form("the grant", item, "role", "until")
			g = Grant{Role: RoleName(one.text("role")), Expires: one.instant("until")}
			one.need("role", hint("add it, with a name from `roles`"))
		default:
			f.report(item.at, asName(item), "a grant must be a role or {role: …, until: …}, not %s", item.kind)
		}
		switch {
		case g.Role == "":
			if item.kind == isText {
				f.report(item.at, hint("write one, or take it out"), "the name is empty")
			}
			continue
		case given[g.Role]:
			f.report(item.at, hint("take one out"), "%s is granted twice", quote(string(g.Role)))
			continue
		}
		given[g.Role] = true
		list = append(list, g)
	}
	return list
}
