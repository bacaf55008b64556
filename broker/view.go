package broker

import (
	"context"
	"time"

	"github.com/starback/starback/broker/policy"
)

// A Reader reads what a View shows.
type Reader interface {
	Identify(ctx context.Context, id SlackID) (Facts, error)
	Request(ctx context.Context, id string) (Request, error)
	Pace(ctx context.Context, role policy.RoleName) (Pace, error)
}

// A View is what a surface that faces the internet may know, to draw a form: it
// reads, and neither writes nor decides. What it shows is decided anew, and
// whoever asks identified anew, when the form comes back.
type View struct {
	Reader Reader
	Now    func() time.Time
}

// Me returns who the caller is and what they may ask for, as far as is known
// without asking Slack. Somebody who may not use Starback gets a *Refusal that
// has no Request, and that nobody has recorded.
func (v *View) Me(ctx context.Context, caller SlackID) (Me, error) {
	now := v.Now().UTC()
	f, err := v.Reader.Identify(ctx, caller)
	if err != nil {
		return Me{}, &Fault{Code: FaultStore, Err: err}
	}
	refused := refuseStanding(f.Identity.Standing)
	if !bound(f.Identity, f.User) {
		refused = denyIdentity(RuleUnbound)
	} else if d, ok := policy.Usable(f.Policy, f.subject(), now); refused == nil && !ok {
		refused = &d
	}
	if refused != nil {
		return Me{}, &Refusal{Decision: *refused}
	}
	return Me{
		User: f.User, Slack: caller, Ends: f.User.ends(f.Owner.Expires), Admin: policy.IsAdmin(f.Policy, f.subject(), now),
		Roles: policy.Askable(f.Policy, f.subject(), now), PolicyVersion: f.PolicyVersion, policy: f.Policy,
	}, nil
}

// Pace returns how long people take of late to answer what is asked of a Role.
func (v *View) Pace(ctx context.Context, role policy.RoleName) (Pace, error) {
	return v.Reader.Pace(ctx, role)
}

// Request returns a Request as it is now.
func (v *View) Request(ctx context.Context, id string) (Request, error) {
	return v.Reader.Request(ctx, id)
}
