package policy

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// A Hold is one Role that a Subject may ask for, and by which Grant.
type Hold struct {
	Role          *Role
	Path          []string  // in words, as a Decision's
	Via           GroupName // whose Grant it is; empty for one that is held directly
	Granted       RoleName  // the Role of that Grant: Role itself, or one above it
	Expires       time.Time // when the authority ends
	NeedsApproval bool
}

// A Reacher finds what Subjects may ask for, of one Document at one time. Its
// answers are Decide's; it is for asking about many. It must not be used by
// two goroutines at once.
type Reacher struct {
	doc     *Document
	now     time.Time
	descent descent
}

// NewReacher returns a Reacher for d at now. A nil d lets nobody ask for
// anything.
func NewReacher(d *Document, now time.Time) *Reacher {
	return &Reacher{doc: d, now: now}
}

// Reach returns every Role that s may ask for, by name, each by the route that
// Decide takes.
func (r *Reacher) Reach(s Subject) []Hold {
	var holds []Hold
	for _, name := range r.askable(s) {
		begun := r.descent.came[name].start
		holds = append(holds, Hold{
			Role: r.doc.Roles[name], Path: r.descent.path(s.Name, name), Via: begun.via, Granted: begun.role,
			Expires: begun.expires, NeedsApproval: r.doc.Roles[name].Approval != nil,
		})
	}
	return holds
}

// askable returns the names of the Roles that s may ask for, sorted, and
// leaves the descent to them in r.
func (r *Reacher) askable(s Subject) []RoleName {
	if _, ok := usable(s, r.doc, r.now); !ok {
		return nil
	}
	live, _ := starts(r.doc, s, r.now)
	r.descent.down(r.doc, live, "")
	var names []RoleName
	for _, name := range r.descent.queue {
		if s.covers(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Reach returns every Role that s may ask for now, by name. For many Subjects,
// make one Reacher.
func Reach(d *Document, s Subject, now time.Time) []Hold { return NewReacher(d, now).Reach(s) }

// A Holder is a User who may ask for a Role.
type Holder struct {
	User          UserName
	Path          []string  // in words, as a Decision's
	Expires       time.Time // when the authority ends
	NeedsApproval bool
}

// WhoCan returns those of people who may ask for role now, in the order of
// people.
func WhoCan(d *Document, role RoleName, people iter.Seq[Subject], now time.Time) iter.Seq[Holder] {
	return func(yield func(Holder) bool) {
		if d == nil {
			return
		}
		var w descent
		above := d.above(role)
		for s := range people {
			if _, ok := usable(s, d, now); !ok || !s.covers(role) {
				continue
			}
			live, _ := starts(d, s, now)
			live = slices.DeleteFunc(live, func(s start) bool { return !above[s.role] })
			if !w.down(d, live, role) {
				continue
			}
			holder := Holder{
				User: s.Name, Path: w.path(s.Name, role), Expires: w.came[role].start.expires,
				NeedsApproval: d.Roles[role].Approval != nil,
			}
			if !yield(holder) {
				return
			}
		}
	}
}

// A start is a Grant in a Subject's hands: where its routes begin.
type start struct {
	via     GroupName // empty: held directly
	role    RoleName
	expires time.Time // of the Grant or of the Subject, whichever is first
}

// starts returns the Subject's Grants, those that last now and those that have
// ended. Each is in the order in which routes are chosen: what lasts longest,
// then what is held directly, then by the names of the Group and the Role.
func starts(p *Document, s Subject, now time.Time) (live, ended []start) {
	ends := s.ends()
	add := func(via GroupName, grants []Grant) {
		for _, g := range grants {
			switch {
			case g.Expires.IsZero() || g.Expires.After(ends):
				live = append(live, start{via, g.Role, ends})
			case now.Before(g.Expires):
				live = append(live, start{via, g.Role, g.Expires})
			default:
				ended = append(ended, start{via, g.Role, g.Expires})
			}
		}
	}
	add("", s.Grants)
	for _, name := range s.Groups {
		add(name, p.Groups[name].Grants)
	}
	slices.SortFunc(live, start.compare)
	slices.SortFunc(ended, start.compare)
	return live, ended
}

func (s start) compare(t start) int {
	return cmp.Or(t.expires.Compare(s.expires), cmp.Compare(s.via, t.via), cmp.Compare(s.role, t.role))
}

// A descent goes down from a Subject's Grants along the includes, and comes to
// each Role by its best route: the one that lasts longest, then has the fewest
// steps, then comes first by its names. The order of lists does not matter.
type descent struct {
	came  map[RoleName]step
	queue []RoleName // the Roles come to, in that order
}

// A step is how a descent came to a Role.
type step struct {
	start *start
	above RoleName // the Role that includes it; empty where the descent starts
	below int      // how many steps below that
}

// down goes from starts, which are sorted, until it comes to target, and says
// whether it did. Without a target it comes to every Role that there is.
//
// It goes breadth first from all starts that last equally long, so the first
// way to a Role is the best; and as all that lies below a Role is come to no
// later than that Role's best route allows, no Role is looked at twice.
func (w *descent) down(p *Document, starts []start, target RoleName) bool {
	for _, name := range w.queue {
		delete(w.came, name)
	}
	if w.came == nil {
		w.came = map[RoleName]step{}
	}
	w.queue = w.queue[:0]
	for at := 0; len(starts) > 0; {
		same := slices.IndexFunc(starts, func(s start) bool { return !s.expires.Equal(starts[0].expires) })
		if same < 0 {
			same = len(starts)
		}
		for i := range starts[:same] {
			w.come(p, starts[i].role, step{start: &starts[i]})
		}
		starts = starts[same:]
		for ; at < len(w.queue); at++ {
			name := w.queue[at]
			if name == target {
				return true
			}
			how := w.came[name]
			for _, next := range inOrder(p.Roles[name].Includes) {
				w.come(p, next, step{how.start, name, how.below + 1})
			}
		}
	}
	return false
}

// come notes how the descent came to a Role, if it is the first time and there is
// such a Role.
func (w *descent) come(p *Document, name RoleName, how step) {
	if _, before := w.came[name]; before || p.Roles[name] == nil {
		return
	}
	w.came[name] = how
	w.queue = append(w.queue, name)
}

// inOrder returns includes sorted: as they are, if they are.
func inOrder(includes []RoleName) []RoleName {
	if slices.IsSorted(includes) {
		return includes
	}
	return sorted(includes)
}

// path returns the way from a user to a Role that the descent came to, in words.
func (w *descent) path(user UserName, role RoleName) []string {
	how := w.came[role]
	path := make([]string, 0, 5+3*how.below)
	for ; how.above != ""; how = w.came[role] {
		path = append(path, string(role), "includes", "→")
		role = how.above
	}
	path = append(path, string(role), "→")
	if how.start.via != "" {
		path = append(path, string(how.start.via), "∈")
	}
	path = append(path, string(user))
	slices.Reverse(path)
	return path
}
