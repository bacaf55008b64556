package cloud

import (
	"context"
	"errors"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// Fence implements broker.Revoker.
func (r *Revoker) Fence(ctx context.Context, role *policy.Role, ended []broker.Ended) (int, error) {
	f := Fence{RoleARN: role.ARN, Region: role.Region, Partition: role.Partition, AccountID: role.AccountID}
	for _, e := range ended {
		f.Deny = append(f.Deny, Denied{SessionID: e.SessionID, Until: e.Until})
	}
	err := r.Publish(ctx, f)
	var many *TooMany
	if errors.As(err, &many) {
		f.Deny = f.Deny[:min(many.Fit, len(f.Deny))]
		err = r.Publish(ctx, f)
	}
	var fault *broker.Fault
	switch {
	case err == nil:
		return len(f.Deny), nil
	case errors.Is(err, ErrNoBoundary):
		return 0, &broker.Fault{Code: broker.FaultNoBoundary, Err: err}
	case errors.As(err, &fault):
		return 0, fault
	default:
		return 0, &broker.Fault{Code: broker.FaultAWS, Err: err}
	}
}

var _ broker.Revoker = (*Revoker)(nil)
