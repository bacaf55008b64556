package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// Back is what a rollback brings back: removed groups with those who are still
// marked as their members, and what all of it means for people.
type Back struct {
	Groups []GroupBack   `json:"groups,omitempty"` // by name
	Impact policy.Impact `json:"impact"`
}

// A GroupBack is a removed group that comes back. It is the one that was
// removed: its name is its identity, and nobody can have taken that meanwhile.
type GroupBack struct {
	Name    policy.GroupName  `json:"name"`
	Members []policy.UserName `json:"members,omitempty"` // by name
}

// A rollback says so much in words: so many members of a group, and so many
// lines on people, of whom and of whose roles each names so many.
const (
	maxMembersBack = 10
	maxImpactLines = 10
	maxImpactNames = 10
)

// words says it in sentences without a full stop.
func (b *Back) words() (lines []string) {
	if b == nil {
		return nil
	}
	for _, g := range b.Groups {
		who := "without members"
		if len(g.Members) > 0 {
			who = "with its members " + someOf(g.Members, maxMembersBack)
		}
		lines = append(lines, fmt.Sprintf("the removed group %s comes back, %s", g.Name, who))
	}
	return append(lines, shortened(b.Impact.Lines(maxImpactNames), maxImpactLines)...)
}

// someOf names at most so many, and counts the others.
func someOf(names []policy.UserName, most int) string {
	if rest := len(names) - most; rest > 0 {
		return fmt.Sprintf("%s and %d more", joinNames(names[:most]), rest)
	}
	return joinNames(names)
}

// back works out what it brings back to put doc in place of was, at now.
func (a *Admin) back(ctx context.Context, was, doc *policy.Document, now time.Time) (*Back, error) {
	stored, err := a.stored(ctx)
	if err != nil {
		return nil, err
	}
	members := map[policy.GroupName][]policy.UserName{}
	for name, u := range stored {
		for _, g := range u.RemovedGroups(was) {
			members[g] = append(members[g], name)
		}
	}
	b := Back{Impact: policy.Effects(was, doc, state{}.people(stored), now)}
	for _, name := range was.Removed {
		if _, there := doc.Groups[name]; there {
			b.Groups = append(b.Groups, GroupBack{name, slices.Sorted(slices.Values(members[name]))})
		}
	}
	return &b, nil
}

// loud says of removed groups that they come back, in a sentence; nothing, if
// none does.
func (b *Back) loud() string {
	if b == nil || len(b.Groups) == 0 {
		return ""
	}
	if len(b.Groups) == 1 {
		return fmt.Sprintf("The removed group %s comes back.", b.Groups[0].Name)
	}
	names := make([]string, len(b.Groups))
	for i, g := range b.Groups {
		names[i] = string(g.Name)
	}
	return fmt.Sprintf("These removed groups come back: %s.", strings.Join(shortened(names, 5), ", "))
}

// Preview says what a Change would do now, and does nothing. What Do would
// refuse it refuses. Benefit is what the Change would give its author; where the
// Policy asks for two administrators, it would wait for the second then.
func (a *Admin) Preview(ctx context.Context, ch Change) (done Done, benefit string, err error) {
	now := a.now()
	s, err := a.work(ctx, ch, now, now)
	if err != nil {
		return Done{}, "", err
	}
	done, benefit, err = a.weigh(ctx, ch, s, now)
	if !s.was.Settings.TwoAdmins {
		benefit = ""
	}
	return done, benefit, err
}

// older is the document that a rollback to version puts in place.
func (a *Admin) older(ctx context.Context, head Head, doc *policy.Document, version int64) (*policy.Document, error) {
	if version == head.Version {
		return doc, nil
	}
	_, old, err := a.Policies.Policy(ctx, version)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("there is no version %d of the policy; the newest is %d: %w", version, head.Version, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	old = old.Restored(doc)
	if old.Digest() == head.Digest {
		return doc, nil
	}
	return old, nil
}
