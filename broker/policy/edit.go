package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What an edit is refused for. The error that wraps one of them is a sentence
// for whoever asked for the edit, and suggests a name where one is near.
var (
	ErrNotThere    = errors.New("policy: not there")      // what is to be changed, or what the change names
	ErrAlready     = errors.New("policy: already so")     // the Document says just that
	ErrMeaningless = errors.New("policy: makes no sense") // the edited Document would not be accepted
)

// A refusal is an edit's error.
type refusal struct {
	sentence string
	reason   error
}

func (r *refusal) Error() string { return r.sentence }
func (r *refusal) Unwrap() error { return r.reason }

func refuse(reason error, format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), reason}
}

// Every edit leaves d as it is and returns a new Document, in canonical order,
// that has been checked whole: one that Parse would refuse is ErrMeaningless.

// AddGroup returns d with a Group that holds no Grants. The name of a Group
// that was removed is ErrMeaningless: it is never used again.
func (d *Document) AddGroup(name GroupName) (*Document, error) {
	if _, ok := d.Groups[name]; ok {
		return nil, refuse(ErrAlready, "there is a group %s already", quote(string(name)))
	}
	if slices.Contains(d.Removed, name) {
		return nil, usedUp(name)
	}
	next := d.canonical()
	next.Groups[name] = Group{Name: name}
	return checked(next)
}

// RemoveGroup returns d without a Group, whose name is never used again. It is
// taken from Admins too. A Group that a Role's approval asks, and the only
// Group that administers, is ErrMeaningless.
func (d *Document) RemoveGroup(name GroupName) (*Document, error) {
	if err := d.needGroup(name); err != nil {
		return nil, err
	}
	if roles := d.ApprovedBy(name); len(roles) > 0 {
		return nil, refuse(ErrMeaningless, "the members of %s approve requests for %s", quote(string(name)), listed(roles, 10))
	}
	next := d.canonical()
	if slices.Contains(next.Admins, name) {
		if len(next.Admins) == 1 {
			return nil, lastAdmins(name)
		}
		next.Admins = without(next.Admins, name)
	}
	delete(next.Groups, name)
	next.Removed = union(next.Removed, []GroupName{name})
	return checked(next)
}

// AddGrant returns d with g among the group's Grants, in place of the one of
// the same Role if that ends at another time.
func (d *Document) AddGrant(group GroupName, g Grant) (*Document, error) {
	if err := d.needGroup(group); err != nil {
		return nil, err
	}
	if err := d.needRole(g.Role); err != nil {
		return nil, err
	}
	next := d.canonical()
	edited := next.Groups[group]
	i := slices.IndexFunc(edited.Grants, func(have Grant) bool { return have.Role == g.Role })
	switch {
	case i < 0:
		edited.Grants = sortGrants(append(edited.Grants, g))
	case edited.Grants[i].Expires.Equal(g.Expires):
		return nil, refuse(ErrAlready, "%s has the grant of %s already", quote(string(group)), quote(string(g.Role)))
	default:
		edited.Grants[i] = g
		edited.Grants = sortGrants(edited.Grants)
	}
	next.Groups[group] = edited
	return checked(next)
}

// RemoveGrant returns d without the group's Grant of role. Where there is none,
// of a Role that there is, that is ErrAlready.
func (d *Document) RemoveGrant(group GroupName, role RoleName) (*Document, error) {
	if err := d.needGroup(group); err != nil {
		return nil, err
	}
	next := d.canonical()
	edited := next.Groups[group]
	i := slices.IndexFunc(edited.Grants, func(have Grant) bool { return have.Role == role })
	if i < 0 && d.Roles[role] != nil {
		return nil, refuse(ErrAlready, "%s has no grant of %s", quote(string(group)), quote(string(role)))
	}
	if i < 0 {
		held := make([]RoleName, len(edited.Grants))
		for n, g := range edited.Grants {
			held[n] = g.Role
		}
		return nil, refuse(ErrNotThere, "%s has no grant of %s%s", quote(string(group)), quote(string(role)), meant(role, held))
	}
	edited.Grants = slices.Delete(edited.Grants, i, i+1)
	if len(edited.Grants) == 0 {
		edited.Grants = nil
	}
	next.Groups[group] = edited
	return checked(next)
}

// AddAdmins returns d with the members of g administering Starback.
func (d *Document) AddAdmins(g GroupName) (*Document, error) {
	if err := d.needGroup(g); err != nil {
		return nil, err
	}
	if slices.Contains(d.Admins, g) {
		return nil, refuse(ErrAlready, "the members of %s administer Starback already", quote(string(g)))
	}
	next := d.canonical()
	next.Admins = union(next.Admins, []GroupName{g})
	return checked(next)
}

// RemoveAdmins returns d without g among its Admins. The only one there is
// stays: that is ErrMeaningless.
func (d *Document) RemoveAdmins(g GroupName) (*Document, error) {
	if err := d.needGroup(g); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(d.Admins, g):
		return nil, refuse(ErrAlready, "the members of %s do not administer Starback", quote(string(g)))
	case len(d.Admins) == 1:
		return nil, lastAdmins(g)
	}
	next := d.canonical()
	next.Admins = without(next.Admins, g)
	return checked(next)
}

// After returns d, as it was read from a file, as the successor of head, which
// is nil if there is none: with the names of all the Groups that were removed,
// those removed by leaving them out of d among them. A Group of d whose name
// was removed before is ErrMeaningless.
func (d *Document) After(head *Document) (*Document, error) {
	next := d.canonical()
	if head != nil {
		for _, name := range head.Removed {
			if _, back := d.Groups[name]; back {
				return nil, usedUp(name)
			}
		}
		next.Removed = d.removed(d.Removed, head.Removed, slices.Collect(maps.Keys(head.Groups)))
	}
	return checked(next)
}

// Restored returns d, an older version, as it is put back over head. Its
// Groups are those that they were, so their names are in use again; the names
// of all others are not.
func (d *Document) Restored(head *Document) *Document {
	next := d.canonical()
	next.Removed = d.removed(d.Removed, head.Removed, slices.Collect(maps.Keys(head.Groups)))
	return next
}

// removed returns the names that are in one of lists and not a Group of d.
func (d *Document) removed(lists ...[]GroupName) []GroupName {
	return sorted(slices.DeleteFunc(union(lists...), func(name GroupName) bool {
		_, there := d.Groups[name]
		return there
	}))
}

func (d *Document) needGroup(name GroupName) error {
	if _, ok := d.Groups[name]; ok {
		return nil
	}
	return refuse(ErrNotThere, "there is no group %s%s", quote(string(name)), meant(name, slices.Collect(maps.Keys(d.Groups))))
}

func (d *Document) needRole(name RoleName) error {
	if d.Roles[name] != nil {
		return nil
	}
	return refuse(ErrNotThere, "there is no role %s%s", quote(string(name)), meant(name, slices.Collect(maps.Keys(d.Roles))))
}

func usedUp(name GroupName) error {
	return refuse(ErrMeaningless, "the name %s was a removed group's and is never used again; only a rollback brings that group back", quote(string(name)))
}

func lastAdmins(name GroupName) error {
	return refuse(ErrMeaningless, "%s is the only group that administers Starback", quote(string(name)))
}

// meant returns a suggestion to add to a sentence, or nothing.
func meant[T ~string](word T, names []T) string {
	if suggestion := didYouMean(string(word), names, "").words(); suggestion != "" {
		return "; " + suggestion
	}
	return ""
}

// checked returns an edited Document, unless it makes no sense.
func checked(d *Document) (*Document, error) {
	found := checkStored(d)
	if len(found) == 0 {
		return d, nil
	}
	return nil, refuse(ErrMeaningless, "%s", strings.TrimSuffix(found[0].message+"; "+found[0].suggest.words(), "; "))
}

// union returns what is in one of lists, sorted, each once; nil if that is
// nothing.
func union[T cmp.Ordered](lists ...[]T) []T {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// without returns list without one of its items.
func without[T comparable](list []T, item T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(have T) bool { return have == item })
}
