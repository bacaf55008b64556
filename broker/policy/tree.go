package policy

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Both readers, of YAML and of JSON, make the same tree, so that an IAM
// policy document is checked alike wherever it is written.

// A kind is what a node is.
type kind int

const (
	isNull kind = iota
	isBool
	isNumber
	isText
	isList
	isMapping
)

// String names k as messages do.
func (k kind) String() string {
	return [...]string{"empty", "true or false", "a number", "text", "a list", "a mapping"}[k]
}

// A node is one value of a file, with its place. The place of a mapping that
// has a key, and of nothing that has one, is that of the key.
type node struct {
	kind    kind
	at      position
	text    string  // a text's value; a number, true or false as written
	quoted  bool    // of a text
	items   []*node // of a list
	entries []entry // of a mapping, in the order of the file, each key once
}

// An entry is one key of a mapping and its value.
type entry struct {
	key   string
	at    position // of the key
	value *node
}

// get returns the value of key in a mapping, or nil.
func (n *node) get(key string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// under returns what a mapping has under key, if that is a mapping.
func (n *node) under(key string) []entry {
	if value := n.get(key); value != nil {
		return value.entries
	}
	return nil
}

// locate returns the place in n that best answers to path: keys of mappings
// and, in lists, the text of an item or of its role.
func (n *node) locate(path []string) position {
	for _, step := range path {
		next := n.step(step)
		if next == nil {
			break
		}
		n = next
	}
	return n.at
}

func (n *node) step(to string) *node {
	if n.kind == isList {
		for _, item := range n.items {
			role := item.get("role")
			if role == nil {
				role = item
			}
			if role.kind == isText && role.text == to {
				return role
			}
		}
		return nil
	}
	if to == "arn" { // what an iam_role comes to
		if value := n.get("iam_role"); value != nil {
			return value
		}
	}
	return n.get(to)
}

// A builder is what both readers share: where problems go, and the limits on
// a tree.
type builder struct {
	src      *source
	problems *problems
}

// maxNesting bounds how deep a tree goes. A policy needs 9 levels: roles, a
// name, session_policy, Statement, its item, Condition, operator, key, value.
const maxNesting = 16

// checkText reports a text that cannot be shown as it is.
func (b *builder) checkText(at position, s string) {
	if i := strings.IndexFunc(s, unsafeRune); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		b.problems.add(at, hint("take it out"), "the text holds a control character, %U", r)
	}
}

// put adds an entry to a mapping, unless its key is there.
func (b *builder) put(n *node, keys map[string]bool, e entry) {
	if keys[e.key] {
		b.problems.add(e.at, hint("keep one of them"), "the key %s is given twice", quote(e.key))
		return
	}
	keys[e.key] = true
	if e.value.kind == isMapping || e.value.kind == isNull {
		e.value.at = e.at
	}
	n.entries = append(n.entries, e)
}

// oneOfKeys says what to do about a key that is like none of those known: it
// lists them, unless they are many.
func oneOfKeys(known []string) string {
	if len(known) > 8 {
		return "take it out"
	}
	return "write " + joined(known, len(known), "or") + ", or take it out"
}

// only reports the keys of a mapping that are not among known, and what to do
// about one that is like none of those.
func (n *node) only(ps *problems, otherwise string, known ...string) {
	for _, e := range n.entries {
		if !slices.Contains(known, e.key) {
			ps.add(e.at, didYouMean(e.key, known, otherwise), "unknown key %s", quote(e.key))
		}
	}
}
