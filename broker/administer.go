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

// changeTries bounds how often a Change is worked out anew because somebody
// else wrote first. One of any number of writers at once always succeeds, so a
// bound is only met where a hundred write without pause.
const changeTries = 200

// Done says what came of a Change.
type Done struct {
	Change        Change    `json:"change"`
	Same          bool      `json:"same,omitempty"`   // it was so already, and nothing was written
	Detail        []string  `json:"detail,omitempty"` // what changed, in words
	Back          *Back     `json:"back,omitempty"`   // what a rollback brings back
	Bereft        []string  `json:"bereft,omitempty"` // applications that lose their access with their owner, in words
	Loud          string    `json:"loud,omitempty"`   // why everybody is told
	PolicyVersion int64     `json:"policy_version,omitempty"`
	Proposal      *Proposal `json:"proposal,omitempty"` // it waits for a second administrator
}

// A state is what a Change is about, before and after.
type state struct {
	head      Head
	was, doc  *policy.Document // the same where the Policy does not change
	users     []wantedUser     // those named
	back      *Back            // of a rollback
	lastAdmin bool             // somebody may stop being an administrator
	lasting   time.Duration    // from now, for which there must be another
}

// changed says whether the Change would do anything.
func (s state) changed() bool {
	return s.doc != s.was || slices.ContainsFunc(s.users, func(w wantedUser) bool { return !sameUser(w.was, w.want) })
}

// detail says in words what changes.
func (s state) detail() []string {
	lines := append(s.back.words(), s.policyDetail()...)
	for _, w := range s.users {
		if words := changeDetail(w.was, w.want); words != "" {
			lines = append(lines, string(w.want.Name)+": "+words)
		}
	}
	return lines
}

func (s state) policyDetail() (lines []string) {
	for _, d := range s.differences() {
		lines = append(lines, d.String())
	}
	return lines
}

func (s state) differences() []policy.Difference {
	if s.doc == s.was {
		return nil
	}
	return policy.Diff(s.was, s.doc)
}

// Do carries out one Change: it is worked out on what is stored now, checked
// as a policy file is, and written on the condition that nothing else was
// meanwhile. With two_admins, a Change that benefits its author becomes a
// Proposal instead. What is wrong with the Change is ErrInvalid, ErrNotFound
// or ErrConflict, in a sentence.
func (a *Admin) Do(ctx context.Context, ch Change) (Done, error) { return a.do(ctx, ch, nil) }

// do carries out ch, to which a second administrator has agreed if confirmed is
// not nil.
func (a *Admin) do(ctx context.Context, ch Change, confirmed *confirmation) (Done, error) {
	for range changeTries {
		now := a.now()
		asked := now
		if confirmed != nil { // what was to last so long lasts from when it was proposed
			asked = confirmed.of.MadeAt
		}
		s, err := a.work(ctx, ch, now, asked)
		if err != nil {
			return Done{}, err
		}
		done, benefit, err := a.weigh(ctx, ch, s, now)
		switch {
		case err != nil:
			return Done{}, err
		case done.Same: // a binding that was cut off half-way is completed
			return done, a.bindAll(ctx, s, now)
		}
		by := ""
		switch {
		case confirmed != nil && !confirmed.covers(s, benefit):
			return Done{}, fmt.Errorf("what this would change is not what was proposed any more; it has to be asked for again: %w", ErrConflict)
		case confirmed != nil:
			by = confirmed.by
		case benefit != "" && s.was.Settings.TwoAdmins:
			p, err := a.propose(ctx, ch, s, benefit, now)
			done.Proposal = &p
			return done, err
		}
		switch err := a.write(ctx, ch, s, done.Loud, by, now); {
		case isConflict(err):
			if err := ctx.Err(); err != nil {
				return Done{}, err
			}
			continue
		case err != nil:
			return Done{}, err
		}
		if s.doc != s.was {
			done.PolicyVersion++
		}
		return done, a.undoLastAdmin(ctx, s)
	}
	return Done{}, fmt.Errorf("others keep changing the same: %w", ErrConflict)
}

// weigh says what ch, which comes to s, would do, and what it would give its
// author.
func (a *Admin) weigh(ctx context.Context, ch Change, s state, now time.Time) (done Done, benefit string, err error) {
	done = Done{Change: ch, Detail: s.detail(), Back: s.back, PolicyVersion: s.head.Version, Same: !s.changed()}
	if done.Same {
		return done, "", nil
	}
	if err := a.keepsAdmin(ctx, s, now); err != nil {
		return Done{}, "", err
	}
	if done.Bereft, err = a.bereft(ctx, s, now); err != nil {
		return Done{}, "", err
	}
	mine, err := a.mine(ctx, s)
	if err != nil {
		return Done{}, "", err
	}
	benefit = s.benefit(mine, now)
	done.Loud = s.loud(a.Author, benefit, now)
	return done, benefit, nil
}

// work puts ch to what is stored now. What is to end some time from when it was
// asked for has that end from here on.
func (a *Admin) work(ctx context.Context, ch Change, now, asked time.Time) (state, error) {
	head, doc, err := a.Policies.Head(ctx)
	if err != nil {
		return state{}, err
	}
	if doc == nil {
		return state{}, fmt.Errorf("there is no policy yet; make one with init: %w", ErrNotFound)
	}
	s := state{head: head, was: doc, doc: doc}
	if until := ch.Until.from(asked); ch.Op == OpGrantAdd && !until.IsZero() && !now.Before(until) {
		return s, fmt.Errorf("%s has passed already; to take a grant back, remove it: %w", day(until), ErrInvalid)
	}
	switch {
	case ch.Op == OpGroupAdd:
		s.doc, err = doc.AddGroup(ch.Group)
	case ch.Op == OpGroupRemove:
		s.doc, err = doc.RemoveGroup(ch.Group)
	case ch.Op == OpAdminsAdd:
		s.doc, err = doc.AddAdmins(ch.Group)
	case ch.Op == OpAdminsRemove:
		s.doc, err = doc.RemoveAdmins(ch.Group)
	case ch.Op == OpGrantAdd && ch.Group != "":
		s.doc, err = doc.AddGrant(ch.Group, policy.Grant{Role: ch.Role, Expires: ch.Until.from(asked)})
	case ch.Op == OpGrantRemove && ch.Group != "":
		s.doc, err = doc.RemoveGrant(ch.Group, ch.Role)
	case ch.Op == OpRollback:
		if s.doc, err = a.older(ctx, head, doc, ch.Version); err == nil && s.doc != doc {
			s.back, err = a.back(ctx, doc, s.doc, now)
		}
	default:
		return s, a.workUsers(ctx, ch, &s, now, asked)
	}
	switch {
	case errors.Is(err, policy.ErrAlready):
		s.doc, err = doc, nil
	case errors.Is(err, policy.ErrNotThere):
		err = fmt.Errorf("%w (%w)", err, ErrNotFound)
	case errors.Is(err, policy.ErrMeaningless):
		err = fmt.Errorf("%w (%w)", err, ErrInvalid)
	}
	s.lastAdmin = ch.Op == OpGroupRemove || ch.Op == OpAdminsRemove || ch.Op == OpRollback
	return s, err
}

// workUsers puts ch to the Users it names.
func (a *Admin) workUsers(ctx context.Context, ch Change, s *state, now, asked time.Time) error {
	for _, name := range ch.Users {
		was, err := a.Users.User(ctx, name)
		if ch.Op == OpUserAdd {
			if errors.Is(err, ErrNotFound) {
				err = nil
			}
		} else if was.Removed || errors.Is(err, ErrNotFound) {
			return a.noUser(ctx, name)
		}
		if err != nil {
			return err
		}
		want := was.clone()
		if err := a.edit(ctx, ch, s, &want, now, asked); err != nil {
			return err
		}
		want.markManual(was)
		s.users = append(s.users, wantedUser{was, want})
		if ch.Op == OpUserRenew && policy.IsAdmin(s.was, was.Subject(User{}), now) && want.Expires.Before(now.Add(adminLasts)) {
			s.lastAdmin, s.lasting = true, adminLasts
		}
	}
	s.lastAdmin = s.lastAdmin || ch.Op == OpUserDisable || ch.Op == OpUserRemove || ch.Op == OpMemberRemove
	return nil
}

// noUser says that nobody has the name, and who was likely meant.
func (a *Admin) noUser(ctx context.Context, name policy.UserName) error {
	var names []policy.UserName
	err := a.Users.Users(ctx, func(u User) bool {
		if !u.Removed {
			names = append(names, u.Name)
		}
		return true
	})
	if err != nil {
		return err
	}
	words := fmt.Sprintf("there is no user %s", name)
	if near, ok := policy.Suggest(string(name), names); ok {
		words += fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Errorf("%s (%w)", words, ErrNotFound)
}

// edit makes u what ch wants of it.
func (a *Admin) edit(ctx context.Context, ch Change, s *state, u *User, now, asked time.Time) error {
	switch ch.Op {
	case OpUserAdd:
		return a.add(ctx, ch, s, u, now, asked)
	case OpUserDisable:
		u.Enabled = false
	case OpUserEnable:
		u.Enabled = true
	case OpUserRenew:
		return a.renew(ctx, ch, s, u, now, asked)
	case OpUserBind:
		if u.IsApp {
			return fmt.Errorf("%s is an application, which has no account in Slack: %w", u.Name, ErrInvalid)
		}
		if err := a.free(ctx, ch.Slack, u.Name); err != nil {
			return err
		}
		u.Slack = ch.Slack
	case OpUserRemove:
		*u = u.tombstone()
	case OpMemberAdd:
		if err := groupThere(s.was, ch.Group); err != nil {
			return err
		}
		if !slices.Contains(u.Groups, ch.Group) {
			u.Groups = append(u.Groups, ch.Group)
			slices.Sort(u.Groups)
		}
	case OpMemberRemove: // of a group that was removed, too
		if !slices.Contains(u.Groups, ch.Group) {
			return groupThere(s.was, ch.Group)
		}
		u.Groups = slices.DeleteFunc(u.Groups, func(g policy.GroupName) bool { return g == ch.Group })
	case OpGrantAdd:
		if err := roleThere(s.was, ch.Role); err != nil {
			return err
		}
		u.Grants = slices.DeleteFunc(u.Grants, func(g policy.Grant) bool { return g.Role == ch.Role })
		u.Grants = append(u.Grants, policy.Grant{Role: ch.Role, Expires: ch.Until.from(asked)})
		slices.SortFunc(u.Grants, func(x, y policy.Grant) int { return strings.Compare(string(x.Role), string(y.Role)) })
	case OpGrantRemove: // of a role that was removed, too
		if !slices.Contains(granted(u.Grants), ch.Role) {
			return roleThere(s.was, ch.Role)
		}
		u.Grants = slices.DeleteFunc(u.Grants, func(g policy.Grant) bool { return g.Role == ch.Role })
	case OpTokenRevoke:
		return revoke(u, ch.Token, now)
	default:
		return fmt.Errorf("%q is not a change: %w", ch.Op, ErrInvalid)
	}
	return nil
}

// add makes u a new User. One that is there already, just as wanted, is left
// alone.
func (a *Admin) add(ctx context.Context, ch Change, s *state, u *User, now, asked time.Time) error {
	name := ch.Users[0]
	switch {
	case u.Removed:
		return fmt.Errorf("the name %s was a removed user's and is never used again: %w", name, ErrInvalid)
	case u.Version > 0:
		return fmt.Errorf("there is a user %s already: %w", name, ErrConflict)
	}
	for _, g := range ch.Groups {
		if err := groupThere(s.was, g); err != nil {
			return err
		}
	}
	if err := a.free(ctx, ch.Slack, name); err != nil {
		return err
	}
	if err := a.freeEmail(ctx, ch.Email, name); err != nil {
		return err
	}
	*u = User{
		Name: name, ID: a.newID(now), CreatedAt: now, Enabled: true, Slack: ch.Slack, Email: ch.Email,
		IsApp: ch.Owner != "", Owner: ch.Owner, Groups: slices.Sorted(slices.Values(ch.Groups)),
	}
	u.Groups = slices.Compact(u.Groups)
	return a.renew(ctx, ch, s, u, now, asked)
}

// renew sets when u's access ends: when ch says, or by the Policy's default. An
// application's ends with its owner's at the latest.
func (a *Admin) renew(ctx context.Context, ch Change, s *state, u *User, now, asked time.Time) error {
	u.Expires = ch.Until.from(asked)
	if ch.Until.IsZero() {
		u.Expires = asked.Add(s.was.Settings.UserLifetime)
	}
	u.Expires = u.Expires.UTC().Truncate(time.Second)
	if !now.Before(u.Expires) {
		return fmt.Errorf("%s has passed already; to switch a user off, disable them: %w", day(u.Expires), ErrInvalid)
	}
	if !u.IsApp {
		return nil
	}
	owner, err := a.Users.User(ctx, u.Owner)
	for _, w := range s.users { // renewed by the same command
		if w.want.Name == u.Owner {
			owner = w.want
		}
	}
	switch {
	case errors.Is(err, ErrNotFound), err == nil && (owner.Removed || owner.IsApp):
		return fmt.Errorf("the owner %s is not a person here: %w", u.Owner, ErrInvalid)
	case err != nil:
		return err
	case u.Expires.After(owner.Expires) && ch.Until.IsZero():
		u.Expires = owner.Expires
	case u.Expires.After(owner.Expires):
		return fmt.Errorf("%s answers for %s and has access until %s, no longer: %w", owner.Name, u.Name, day(owner.Expires), ErrInvalid)
	}
	return nil
}

// free refuses a Slack account that is bound to another User.
func (a *Admin) free(ctx context.Context, id SlackID, name policy.UserName) error {
	if id.IsZero() {
		return nil
	}
	i, err := a.Identities.Identity(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	other, err := a.Users.User(ctx, i.User)
	if errors.Is(err, ErrNotFound) || err == nil && (other.Name == name || !bound(i, other)) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the account %s in Slack is %s's: %w", id, other.Name, ErrConflict)
}

// freeEmail refuses an address that another User has.
func (a *Admin) freeEmail(ctx context.Context, email string, name policy.UserName) error {
	if email == "" {
		return nil
	}
	users, err := a.Identities.UsersByEmail(ctx, email)
	if err != nil {
		return err
	}
	for _, other := range users {
		if other.Name != name {
			return fmt.Errorf("the address %s is %s's: %w", email, other.Name, ErrConflict)
		}
	}
	return nil
}

func groupThere(d *policy.Document, name policy.GroupName) error {
	if _, ok := d.Groups[name]; ok {
		return nil
	}
	return notThere("group", name, d.Groups)
}

func roleThere(d *policy.Document, name policy.RoleName) error {
	if d.Roles[name] != nil {
		return nil
	}
	return notThere("role", name, d.Roles)
}

// notThere says that nothing has the name, and what was likely meant.
func notThere[K ~string, V any](what string, name K, all map[K]V) error {
	words := fmt.Sprintf("there is no %s %s", what, name)
	names := make([]K, 0, len(all))
	for n := range all {
		names = append(names, n)
	}
	if near, ok := policy.Suggest(string(name), names); ok {
		words += fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Errorf("%s (%w)", words, ErrNotFound)
}

// write stores what s has worked out.
func (a *Admin) write(ctx context.Context, ch Change, s state, loud, confirmed string, now time.Time) error {
	note := ch.Message
	if confirmed != "" {
		note = strings.TrimPrefix(note+", confirmed by "+confirmed, ", ")
	}
	if s.doc != s.was {
		how, event := HowCommand, EventPolicyChanged
		if ch.Op == OpRollback {
			how, event = HowRollback, EventPolicyRolledBack
		}
		return a.putPolicy(ctx, s.head, s.doc, version{how: how, event: event, message: note, detail: s.detail(), loud: loud}, now)
	}
	for _, w := range s.users {
		if sameUser(w.was, w.want) {
			continue
		}
		stored, err := a.putUser(ctx, w.was, w.want, written{note: note, loud: loud, token: ch.Token}, now)
		if err != nil {
			return err
		}
		if err := a.bind(ctx, stored, now); err != nil {
			return err
		}
	}
	return nil
}

func (a *Admin) bindAll(ctx context.Context, s state, now time.Time) error {
	for _, w := range s.users {
		if err := a.bind(ctx, w.was, now); err != nil {
			return err
		}
	}
	return nil
}
