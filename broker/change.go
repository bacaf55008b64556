package broker

import (
	"time"

	"github.com/starback/starback/broker/policy"
)

// An Op is a kind of administrative change, by the words that ask for it.
type Op string

// The changes.
const (
	OpUserAdd      Op = "user add"
	OpUserDisable  Op = "user disable"
	OpUserEnable   Op = "user enable"
	OpUserRenew    Op = "user renew"
	OpUserBind     Op = "user bind"
	OpUserRemove   Op = "user remove"
	OpGroupAdd     Op = "group add"
	OpGroupRemove  Op = "group remove"
	OpMemberAdd    Op = "group add-member"
	OpMemberRemove Op = "group remove-member"
	OpGrantAdd     Op = "grant add"
	OpGrantRemove  Op = "grant remove"
	OpAdminsAdd    Op = "admins add"
	OpAdminsRemove Op = "admins remove"
	OpRollback     Op = "policy rollback"
	OpTokenRevoke  Op = "token revoke"
)

// A Change is one administrative change, as a command asks for it. Which fields
// it needs follows from its Op.
type Change struct {
	Op      Op                 `json:"op"`
	Users   []policy.UserName  `json:"users,omitempty"`
	Group   policy.GroupName   `json:"group,omitempty"`
	Groups  []policy.GroupName `json:"groups,omitempty"` // a new User's
	Role    policy.RoleName    `json:"role,omitempty"`
	Slack   SlackID            `json:"slack,omitzero"`
	Email   string             `json:"email,omitempty"`
	Owner   policy.UserName    `json:"owner,omitempty"` // makes a new User an application
	Until   When               `json:"until,omitzero"`  // of a User or a Grant
	Version int64              `json:"version,omitempty"`
	Token   string             `json:"token,omitempty"` // its ID
	Message string             `json:"message,omitempty"`
}

// A When is a moment: At, or For from now. Zero: not said.
type When struct {
	At  time.Time     `json:"at,omitzero"`
	For time.Duration `json:"for,omitempty"`
}

// IsZero says whether no moment was said.
func (w When) IsZero() bool { return w.At.IsZero() && w.For == 0 }
