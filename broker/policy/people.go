package policy

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Person is one User before and after a change, and no Token of theirs: what
// limits one is not looked at.
type Person struct{ Was, Is Subject }

// A Change is what one User gains and loses: Roles that may be asked for, by
// name, and administering Starback.
type Change struct {
	User       UserName   `json:"user"`
	Gains      []RoleName `json:"gains,omitempty"`
	Loses      []RoleName `json:"loses,omitempty"`
	GainsAdmin bool       `json:"gains_admin,omitempty"`
	LosesAdmin bool       `json:"loses_admin,omitempty"`

	// Roles that may be asked for before and after.
	NowNeedsApproval      []RoleName `json:"now_needs_approval,omitempty"`
	NoLongerNeedsApproval []RoleName `json:"no_longer_needs_approval,omitempty"`
}

// none says whether nothing changes.
func (c Change) none() bool {
	return len(c.Gains)+len(c.Loses)+len(c.NowNeedsApproval)+len(c.NoLongerNeedsApproval) == 0 && !c.GainsAdmin && !c.LosesAdmin
}

// An Impact is what a change means for people.
type Impact struct {
	Changes []Change `json:"changes,omitempty"` // of those for whom something changes, by name
	People  int      `json:"people"`            // who could ask for some Role before
	Gaining int      `json:"gaining"`           // who can ask for another Role, or become administrators
	Losing  int      `json:"losing"`            // who can no longer ask for a Role, or administer
}

// Effects returns what having is, in place of was, means for people at now.
// Either Document may be nil, and then lets nobody do anything. What has
// expired by now counts for nothing; what expires later counts in full.
func Effects(was, is *Document, people iter.Seq[Person], now time.Time) Impact {
	e := newEffects(was, is, now)
	var impact Impact
	for p := range people {
		if e.was.some(p.Was) {
			impact.People++
		}
		if e.alike(p) {
			continue
		}
		c := e.change(p)
		if c.none() {
			continue
		}
		impact.Changes = append(impact.Changes, c)
		if len(c.Gains) > 0 || c.GainsAdmin {
			impact.Gaining++
		}
		if len(c.Loses) > 0 || c.LosesAdmin {
			impact.Losing++
		}
	}
	slices.SortFunc(impact.Changes, func(a, b Change) int { return strings.Compare(string(a.User), string(b.User)) })
	return impact
}

// effects compares what two Documents let people do. Roles are numbered in the
// order of their names, in both alike.
type effects struct {
	names   []RoleName
	was, is *side
	same    map[GroupName]bool // what was found out of Groups before
}

func newEffects(was, is *Document, now time.Time) *effects {
	var names []RoleName
	for _, d := range []*Document{was, is} {
		if d != nil {
			names = slices.AppendSeq(names, maps.Keys(d.Roles))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	numbers := make(map[RoleName]int, len(names))
	for n, name := range names {
		numbers[name] = n
	}
	return &effects{
		names: names, same: map[GroupName]bool{},
		was: newSide(was, now, numbers), is: newSide(is, now, numbers),
	}
}

// alike says whether p is certain to notice nothing: nothing is different about
// them, nor about their Groups and Grants. Of others, change finds out.
func (e *effects) alike(p Person) bool {
	_, was := usable(p.Was, e.was.doc, e.was.now)
	_, is := usable(p.Is, e.is.doc, e.is.now)
	if !was && !is {
		return true
	}
	return was && is && p.Was.IsApp == p.Is.IsApp &&
		slices.Equal(p.Was.Groups, p.Is.Groups) && slices.Equal(p.Was.Grants, p.Is.Grants) &&
		!slices.ContainsFunc(p.Is.Groups, func(g GroupName) bool { return !e.sameGroup(g) }) &&
		!slices.ContainsFunc(p.Is.Grants, func(g Grant) bool { return !e.sameRoles(e.was.granted(g), e.is.granted(g)) })
}

// sameGroup says whether a Group means the same to its members.
func (e *effects) sameGroup(name GroupName) bool {
	same, known := e.same[name]
	if !known {
		same = e.was.admins(name) == e.is.admins(name) && e.sameRoles(e.was.group(name), e.is.group(name))
		e.same[name] = same
	}
	return same
}

// sameRoles says whether two lists hold the same Roles, and each of them needs
// approval in both Documents or in neither.
func (e *effects) sameRoles(was, is []int) bool {
	return slices.Equal(was, is) &&
		!slices.ContainsFunc(was, func(n int) bool { return e.was.approved[n] != e.is.approved[n] })
}

// change compares all that p may do.
func (e *effects) change(p Person) Change {
	c := Change{User: p.Is.Name}
	if c.User == "" {
		c.User = p.Was.Name
	}
	was, is := e.was.askable(p.Was), e.is.askable(p.Is)
	for _, n := range was {
		switch {
		case !e.is.has(n):
			c.Loses = append(c.Loses, e.names[n])
		case e.was.approved[n] && !e.is.approved[n]:
			c.NoLongerNeedsApproval = append(c.NoLongerNeedsApproval, e.names[n])
		case !e.was.approved[n] && e.is.approved[n]:
			c.NowNeedsApproval = append(c.NowNeedsApproval, e.names[n])
		}
	}
	for _, n := range is {
		if !e.was.has(n) {
			c.Gains = append(c.Gains, e.names[n])
		}
	}
	for _, list := range [][]RoleName{c.Gains, c.Loses, c.NowNeedsApproval, c.NoLongerNeedsApproval} {
		slices.Sort(list)
	}
	administered, administers := IsAdmin(e.was.doc, p.Was, e.was.now), IsAdmin(e.is.doc, p.Is, e.is.now)
	c.GainsAdmin, c.LosesAdmin = administers && !administered, administered && !administers
	return c
}

// A side is one of the two Documents, with what was found out of it before.
// Lists of Roles are lists of their numbers.
type side struct {
	doc      *Document
	now      time.Time
	numbers  map[RoleName]int
	approved []bool // by number: whether the Role needs approval
	descent  descent
	groups   map[GroupName][]int
	roles    map[RoleName][]int

	// The Roles of one Subject: in a list, and those whose turn is the last.
	list  []int
	turns []int
	turn  int
}

func newSide(d *Document, now time.Time, numbers map[RoleName]int) *side {
	s := &side{
		doc: d, now: now, numbers: numbers, approved: make([]bool, len(numbers)), turns: make([]int, len(numbers)),
		groups: map[GroupName][]int{}, roles: map[RoleName][]int{},
	}
	if d != nil {
		for name, role := range d.Roles {
			s.approved[numbers[name]] = role != nil && role.Approval != nil
		}
	}
	return s
}

// some says whether a Subject may ask for anything.
func (s *side) some(who Subject) bool {
	_, ok := usable(who, s.doc, s.now)
	return ok && (slices.ContainsFunc(who.Grants, func(g Grant) bool { return len(s.granted(g)) > 0 }) ||
		slices.ContainsFunc(who.Groups, func(g GroupName) bool { return len(s.group(g)) > 0 }))
}

// askable returns the Roles that a Subject may ask for, each once. The list, and
// what has says of it, are good until the next call.
func (s *side) askable(who Subject) []int {
	s.turn++
	s.list = s.list[:0]
	if _, ok := usable(who, s.doc, s.now); !ok {
		return nil
	}
	add := func(roles []int) {
		for _, n := range roles {
			if s.turns[n] != s.turn {
				s.turns[n] = s.turn
				s.list = append(s.list, n)
			}
		}
	}
	for _, g := range who.Grants {
		add(s.granted(g))
	}
	for _, g := range who.Groups {
		add(s.group(g))
	}
	return s.list
}

// has says whether a Role is among what askable returned last.
func (s *side) has(n int) bool { return s.turns[n] == s.turn }

// group returns the Roles that the members of a Group may ask for, sorted.
func (s *side) group(name GroupName) []int {
	roles, known := s.groups[name]
	if !known && s.doc != nil {
		roles = s.reach(s.doc.Groups[name].Grants)
		s.groups[name] = roles
	}
	return roles
}

// granted returns the Roles that a direct Grant lets its holder ask for,
// sorted.
func (s *side) granted(g Grant) []int {
	if s.doc == nil || !g.Expires.IsZero() && !s.now.Before(g.Expires) {
		return nil
	}
	roles, known := s.roles[g.Role]
	if !known {
		roles = s.reach([]Grant{{Role: g.Role}})
		s.roles[g.Role] = roles
	}
	return roles
}

// reach returns the Roles that grants lead to, sorted.
func (s *side) reach(grants []Grant) []int {
	var live []start
	for _, g := range grants {
		if g.Expires.IsZero() || s.now.Before(g.Expires) {
			live = append(live, start{role: g.Role})
		}
	}
	s.descent.down(s.doc, live, "")
	roles := make([]int, len(s.descent.queue))
	for i, name := range s.descent.queue {
		roles[i] = s.numbers[name]
	}
	slices.Sort(roles)
	return roles
}

// admins says whether the members of a Group administer Starback.
func (s *side) admins(name GroupName) bool {
	if s.doc == nil || !slices.Contains(s.doc.Admins, name) {
		return false
	}
	_, exists := s.doc.Groups[name]
	return exists
}

// Lines returns the Impact as sentences without a full stop, people with the
// same change together: "alice, bob and 12 more gain prod-admin and
// prod-readonly". Of people and of Roles, a sentence names at most so many.
func (i Impact) Lines(most int) []string {
	type crowd struct {
		change Change
		people []UserName
	}
	var crowds []*crowd
	byChange := map[string]*crowd{}
	for _, c := range i.Changes {
		user := c.User
		c.User = ""
		key := fmt.Sprint(c)
		if byChange[key] == nil {
			byChange[key] = &crowd{change: c}
			crowds = append(crowds, byChange[key])
		}
		byChange[key].people = append(byChange[key].people, user)
	}
	var lines []string
	for _, c := range crowds {
		lines = append(lines, listed(c.people, most)+" "+strings.Join(c.change.clauses(len(c.people) == 1, most), "; "))
	}
	return lines
}

// clauses says what a change does, of one person or of several.
func (c Change) clauses(one bool, most int) []string {
	verb := func(ofOne, ofMany string) string {
		if one {
			return ofOne
		}
		return ofMany
	}
	var clauses []string
	roles := func(verb string, roles []RoleName, rest string) {
		if len(roles) > 0 {
			clauses = append(clauses, verb+" "+listed(roles, most)+rest)
		}
	}
	roles(verb("gains", "gain"), c.Gains, "")
	roles(verb("loses", "lose"), c.Loses, "")
	roles(verb("needs", "need")+" approval for", c.NowNeedsApproval, " now")
	roles(verb("no longer needs", "no longer need")+" approval for", c.NoLongerNeedsApproval, "")
	if c.GainsAdmin {
		clauses = append(clauses, verb("becomes an administrator", "become administrators"))
	}
	if c.LosesAdmin {
		clauses = append(clauses, verb("is no longer an administrator", "are no longer administrators"))
	}
	return clauses
}
