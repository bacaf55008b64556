package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A Kind says what became of a part of a Document.
type Kind string

// The Kinds of a Difference.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// A Difference is one thing that two Documents do not agree on, named as a
// policy file names it.
type Difference struct {
	Path []string `json:"path"` // "roles", "prod-admin", "max_duration"; of a list, down to its item
	Kind Kind     `json:"kind"`
	Was  string   `json:"was,omitempty"` // as a file has it; a session policy as minified JSON
	Is   string   `json:"is,omitempty"`
	// Weakens says that it lets an approval, a reason, a ticket or a session
	// policy mean less than it did, or a Session last longer. Where that cannot
	// be told, as of a ticket's new pattern, it is taken to.
	Weakens bool `json:"weakens,omitempty"`
}

// String returns the Difference on one line:
// "roles.prod-admin.max_duration: 4h → 8h".
func (x Difference) String() string {
	s := strings.Join(x.Path, ".") + ": "
	switch {
	case x.isDocument():
		return s + string(x.Kind)
	case x.Kind == Changed:
		return s + x.Was + " → " + x.Is
	case x.Is != "":
		return s + "added, " + x.Is
	case x.Was != "":
		return s + "removed, was " + x.Was
	}
	return s + string(x.Kind)
}

// isDocument says whether it is about an IAM policy document, which is too long
// for a line.
func (x Difference) isDocument() bool {
	return len(x.Path) == 3 && (x.Path[2] == "session_policy" || x.Path[2] == "permissions")
}

// Diff returns what is has otherwise than was, which may be nil, in the order
// of a policy file. What is added comes with what is in it; what is removed
// comes alone. Documents of one Digest have no Difference, others some.
func Diff(was, is *Document) []Difference {
	c := &comparison{was: was, is: is}
	c.parts(nil, outline(was), outline(is))
	return c.found
}

// A comparison collects the Differences of two Documents.
type comparison struct {
	was, is *Document
	found   []Difference
}

// parts compares what is in two mappings, or two lists, of one order.
func (c *comparison) parts(path []string, was, is *part) {
	before, after := was.index(), is.index()
	i, j := 0, 0
	for i < len(was.parts) || j < len(is.parts) {
		if i < len(was.parts) {
			if p := &was.parts[i]; after[p.key] == nil {
				c.removed(append(path, p.key), p)
				i++
				continue
			}
		}
		if p := &is.parts[j]; before[p.key] == nil {
			c.added(append(path, p.key), p)
		} else {
			c.both(append(path, p.key), &was.parts[i], p)
			i++
		}
		j++
	}
}

// index returns the parts of p by their keys.
func (p *part) index() map[string]*part {
	index := make(map[string]*part, len(p.parts))
	for i := range p.parts {
		index[p.parts[i].key] = &p.parts[i]
	}
	return index
}

func (c *comparison) removed(path []string, p *part) {
	if p.contains() {
		c.parts(path, p, &part{})
		return
	}
	c.add(path, Removed, p.text, "")
}

func (c *comparison) added(path []string, p *part) {
	if p.contains() {
		c.parts(path, &part{}, p)
		return
	}
	c.add(path, Added, "", p.text)
	if p.whole() {
		return
	}
	for i := range p.parts {
		if q := &p.parts[i]; !q.implied {
			c.added(append(path, q.key), q)
		}
	}
}

func (c *comparison) both(path []string, was, is *part) {
	switch {
	case !was.whole() && !is.whole():
		c.parts(path, was, is)
	case was.text != is.text && !(was.implied && is.implied): // what both follow from is a Difference
		c.add(path, Changed, was.text, is.text)
	}
}

// contains says whether p is no more than what is in it.
func (p *part) contains() bool {
	return !p.whole() && p.shape != isEntity
}

func (c *comparison) add(path []string, kind Kind, was, is string) {
	if path[0] == "removed" && c.saidOf(GroupName(path[1])) {
		return
	}
	x := Difference{Path: slices.Clone(path), Kind: kind, Was: was, Is: is}
	x.Weakens = c.weakens(x)
	c.found = append(c.found, x)
}

// saidOf says whether a Group was removed or came back: that its name is in
// use no more, or again, goes without saying.
func (c *comparison) saidOf(name GroupName) bool {
	return c.was.hasGroup(name) != c.is.hasGroup(name)
}

func (d *Document) hasGroup(name GroupName) bool {
	if d == nil {
		return false
	}
	_, ok := d.Groups[name]
	return ok
}

// weakens says whether x lets a rule mean less than it did. What was not there
// cannot be weakened.
func (c *comparison) weakens(x Difference) bool {
	if c.was == nil {
		return false
	}
	switch x.Path[0] {
	case "settings":
		return x.Path[1] == "two_admins" && c.was.Settings.TwoAdmins && !c.is.Settings.TwoAdmins ||
			x.Path[1] == "token_lifetime" && c.is.Settings.TokenCap() > c.was.Settings.TokenCap()
	case "roles":
		name := RoleName(x.Path[1])
		was, is := c.was.Roles[name], c.is.Roles[name]
		return was != nil && is != nil && weakerRole(x, was, is)
	}
	return false
}

// weakerRole says whether x, which is of a Role, weakens it.
func weakerRole(x Difference, was, is *Role) bool {
	switch x.Path[2] {
	case "max_duration":
		return is.MaxDuration > was.MaxDuration
	case "reason":
		return was.ReasonRequired && !is.ReasonRequired
	case "ticket", "session_policy":
		return x.Kind != Added
	case "session_policy_arns": // each allows something more, but the first
		return len(was.SessionPolicyARNs) > 0 && (x.Kind == Added || len(is.SessionPolicyARNs) == 0)
	case "approval":
		return was.Approval != nil && (is.Approval == nil || weakerApproval(x, was.Approval, is.Approval))
	}
	return false
}

func weakerApproval(x Difference, was, is *Approval) bool {
	switch x.Path[3] {
	case "by", "escalate_to":
		return x.Kind == Added
	case "count":
		return is.Count < was.Count
	case "within":
		return is.Within > was.Within
	case "claim_within":
		return is.ClaimWithin > was.ClaimWithin
	default: // when somebody is asked, who may answer all along
		return false
	}
}

// Lacking returns what head has otherwise than base, which may be nil, and
// file does not have as head has it: what a command changed since the file was
// written, and what applying the file would undo.
func Lacking(base, head, file *Document) []Difference {
	want, have := outline(head).byPath(), outline(file).byPath()
	var all []Difference
	for _, x := range Diff(base, head) {
		if x.Path[0] == "removed" { // no file holds that
			continue
		}
		path := strings.Join(x.Path, "\n")
		there := have[path]
		switch {
		case x.Kind == Removed && there == nil:
		case x.Kind != Removed && there != nil && there.text == x.Is && (!there.implied || want[path].implied):
		default:
			all = append(all, x)
		}
	}
	return all
}

// byPath returns what is in p by its path, the steps on lines of their own: no
// key holds a line's end.
func (p *part) byPath() map[string]*part {
	all := map[string]*part{}
	var add func(prefix string, p *part)
	add = func(prefix string, p *part) {
		for i := range p.parts {
			path := prefix + p.parts[i].key
			all[path] = &p.parts[i]
			add(path+"\n", &p.parts[i])
		}
	}
	add("", p)
	return all
}

// Fragment returns what to merge into a policy file that lacks d, which are
// Differences of head: the parts of the sections that it needs, in YAML, and
// as comments what to take out of it. Lists hold only what is to be added.
func Fragment(head *Document, d []Difference) []byte {
	from, into := outline(head), &part{shape: isSection}
	var gone bytes.Buffer
	for _, x := range d {
		if x.Kind == Removed {
			fmt.Fprintf(&gone, "# removed by command: %s\n", strings.Join(x.Path, "."))
			continue
		}
		into.graft(from, x.Path)
	}
	var b bytes.Buffer
	for i := range into.parts {
		into.parts[i].write(&b, 0, 0)
	}
	b.Write(gone.Bytes())
	return b.Bytes()
}

// graft adds to p what from has at path, and what leads there.
func (p *part) graft(from *part, path []string) {
	for _, key := range path {
		if from = from.get(key); from == nil {
			return
		}
		next := p.get(key)
		if next == nil {
			copied := *from
			if !copied.whole() {
				copied.parts = nil
			}
			p.parts = append(p.parts, copied)
			next = &p.parts[len(p.parts)-1]
		}
		p = next
	}
}
