package broker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// date sets since when u has each of its groups and grants: what was had too,
// since when was had it, and everything else since now. A Grant that ends at
// another time is the same Grant, unless it had ended.
func (u *User) date(was User, now time.Time) {
	u.GroupsSince = dated(u.Groups, was.Groups, was.GroupsSince, now)
	lasting := slices.DeleteFunc(slices.Clone(was.Grants), func(g policy.Grant) bool { return !g.Expires.IsZero() && g.Expires.Before(now) })
	u.GrantsSince = dated(granted(u.Grants), granted(lasting), was.GrantsSince, now)
}

func dated[K ~string](have, had []K, since map[K]time.Time, now time.Time) map[K]time.Time {
	dates := map[K]time.Time{}
	for _, name := range have {
		if !slices.Contains(had, name) {
			dates[name] = now
		} else if at, known := since[name]; known {
			dates[name] = at
		}
	}
	if len(dates) == 0 {
		return nil
	}
	return dates
}

// granted are the Roles of grants.
func granted(grants []policy.Grant) []policy.RoleName {
	roles := make([]policy.RoleName, len(grants))
	for i, g := range grants {
		roles[i] = g.Role
	}
	return roles
}

// A way is what the Policy adds to a membership or a Grant of a User's own: the
// Group's Grant, and the includes that lead from its Role to another.
type way struct {
	via           policy.GroupName // empty: the Grant is the User's own
	granted, role policy.RoleName
}

// since is since when u comes to a Role by a way; zero if that is not known.
func (u User) since(w way, ways map[way]time.Time) time.Time {
	held := u.GrantsSince[w.granted]
	if w.via != "" {
		held = u.GroupsSince[w.via]
	}
	led := ways[w]
	if held.IsZero() || led.IsZero() {
		return time.Time{}
	}
	if led.After(held) {
		return led
	}
	return held
}

// sinceVersions is how many versions of the Policy are read to say since when one
// User may ask for one Role, which somebody waits for. A review has no bound.
const sinceVersions = 500

// waysSince finds since when ways, which lead somewhere under doc now, have led
// there without a break. It reads as many versions of the Policy as that takes,
// but no more than most before doc: what is older than that is not known then.
func (a *Admin) waysSince(ctx context.Context, head Head, doc *policy.Document, ways []way, now time.Time, most int) (map[way]time.Time, error) {
	since := map[way]time.Time{}
	for until, read := now, 0; ; read++ {
		led := leads(doc, until)
		ways = slices.DeleteFunc(ways, func(w way) bool { return !led(w) })
		for _, w := range ways {
			since[w] = head.AppliedAt
		}
		if len(ways) == 0 || head.Version <= 1 {
			return since, nil
		}
		if read == most {
			for _, w := range ways {
				delete(since, w)
			}
			return since, nil
		}
		var err error
		until = head.AppliedAt
		if head, doc, err = a.Policies.Policy(ctx, head.Version-1); err != nil {
			return nil, err
		}
	}
}

// HoldsSince returns since when the Path of each of u's holds has existed; zero
// where that is not known, as Access has it.
func (a *Admin) HoldsSince(ctx context.Context, u User, holds []policy.Hold) ([]time.Time, error) {
	if len(holds) == 0 {
		return nil, nil
	}
	head, doc, err := a.Policy(ctx)
	if err != nil {
		return nil, err
	}
	ways := make([]way, len(holds))
	for i, h := range holds {
		ways[i] = way{h.Via, h.Granted, h.Role.Name}
	}
	led, err := a.waysSince(ctx, head, doc, slices.Clone(ways), a.now(), sinceVersions)
	since := make([]time.Time, len(holds))
	for i, w := range ways {
		since[i] = u.since(w, led)
	}
	return since, err
}

// leads returns what says of a way whether it leads to its Role under d, until
// the moment at which d was replaced.
func leads(d *policy.Document, until time.Time) func(way) bool {
	reacher, reached := policy.NewReacher(d, until), map[policy.RoleName][]policy.RoleName{}
	return func(w way) bool {
		lasts := func(g policy.Grant) bool {
			return g.Role == w.granted && (g.Expires.IsZero() || !g.Expires.Before(until))
		}
		if w.via != "" && !slices.ContainsFunc(d.Groups[w.via].Grants, lasts) {
			return false
		}
		roles, known := reached[w.granted]
		if !known {
			for _, h := range reacher.Reach(policy.Subject{
				Name: "anybody", Enabled: true, Expires: until.Add(time.Hour), Grants: []policy.Grant{{Role: w.granted}},
			}) {
				roles = append(roles, h.Role.Name)
			}
			reached[w.granted] = roles
		}
		return slices.Contains(roles, w.role)
	}
}

// UserHistory returns the Events about a User, newest first; of a removed one
// too. It reads the whole trail.
func (a *Admin) UserHistory(ctx context.Context, name policy.UserName) ([]Event, error) {
	u, err := a.Users.User(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, a.noUser(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	found := map[string]Event{}
	for _, e := range u.Trail.Events { // not passed on yet
		found[e.ID] = e
	}
	err = a.Events(ctx, EventQuery{}, func(e Event) {
		if e.Subject == string(name) {
			found[e.ID] = e
		}
	})
	return slices.SortedFunc(maps.Values(found), func(x, y Event) int {
		return strings.Compare(y.ID, x.ID)
	}), err
}

// Events calls yield for every Event that q chooses, in order. A Limit in q does
// not count.
func (a *Admin) Events(ctx context.Context, q EventQuery, yield func(Event)) error {
	q.Limit = 1000
	for {
		events, err := a.Archive.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, e := range events {
			yield(e)
		}
		if len(events) < q.Limit {
			return nil
		}
		q.After = events[len(events)-1].ID
	}
}

// A RoleChange is what one version of the Policy changed about a Role: what it
// is, and which groups were granted it.
type RoleChange struct {
	Head        Head
	Differences []policy.Difference
}

// RoleHistory returns what was changed about a Role, which may be gone by now,
// newest first and at most limit. It reads as many versions of the Policy as
// that takes.
func (a *Admin) RoleHistory(ctx context.Context, role policy.RoleName, limit int) ([]RoleChange, error) {
	head, newest, err := a.Policy(ctx)
	if err != nil {
		return nil, err
	}
	var changes []RoleChange
	for doc := newest; head.Version > 0 && len(changes) < limit; {
		var before Head
		var was *policy.Document
		if head.Version > 1 {
			if before, was, err = a.Policies.Policy(ctx, head.Version-1); err != nil {
				return nil, err
			}
		}
		about := slices.DeleteFunc(policy.Diff(was, doc), func(d policy.Difference) bool { return !isAbout(d, role) })
		if len(about) > 0 {
			changes = append(changes, RoleChange{head, about})
		}
		head, doc = before, was
	}
	if len(changes) == 0 {
		return nil, roleThere(newest, role)
	}
	return changes, nil
}

// isAbout says whether a Difference is one of a Role, or of a Group's Grant of
// it.
func isAbout(d policy.Difference, role policy.RoleName) bool {
	return len(d.Path) > 1 && d.Path[0] == "roles" && d.Path[1] == string(role) ||
		len(d.Path) > 3 && d.Path[0] == "groups" && d.Path[2] == "grants" && d.Path[3] == string(role)
}
