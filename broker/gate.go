package broker

import (
	"context"
	"fmt"

	"github.com/starback/starback/broker/policy"
)

// RuleNotAdmin refuses what only administrators may do.
const RuleNotAdmin policy.Rule = "admin.none"

// AsAdmin returns the Admin through which the caller, who must be an
// administrator now, administers. Everybody else gets a *Refusal, which is
// recorded; a failure is a *Fault. It is asked for anew at every command.
func (b *Broker) AsAdmin(ctx context.Context, slack SlackID, key string) (*Admin, error) {
	me, err := b.Whoami(ctx, slack, key)
	if err != nil {
		return nil, err
	}
	if !me.Admin {
		id := requestID(slack.String(), "lookup", key)
		refused := policy.Decision{Effect: policy.Deny, Rule: RuleNotAdmin}
		return nil, b.refuseAside(ctx, EventLookupDenied, id, caller{slack: slack}, Facts{User: me.User, PolicyVersion: me.PolicyVersion}, refused, b.now())
	}
	return &Admin{
		Users: b.Users, Identities: b.Identities, Policies: b.Policies, Proposals: b.Proposals, Tokens: b.Tokens, Archive: b.Archive,
		Now: b.Now, Entropy: b.Entropy, Author: Author{Name: string(me.User.Name), User: me.User.Name, Slack: slack},
		ids: &b.ids, wake: b.wake,
	}, nil
}

// Why explains to the caller whether and why they may ask for a Role. A Role
// that they were never granted is not told from one that does not exist:
// Explanation.Rule is then RoleUnknown, and Me names those they may ask for.
func (b *Broker) Why(ctx context.Context, caller SlackID, key string, role policy.RoleName) (policy.Explanation, Me, error) {
	if role == "" || len(role) > 64 {
		return policy.Explanation{}, Me{}, fmt.Errorf("no usable role name: %w", ErrInvalid)
	}
	me, err := b.Whoami(ctx, caller, key)
	if err != nil {
		return policy.Explanation{}, Me{}, err
	}
	x := policy.Explain(me.policy, me.User.Subject(User{}), role, b.now())
	if len(x.Routes) == 0 {
		x = policy.Explanation{Rule: policy.RuleRoleUnknown}
	}
	return x, me, nil
}
