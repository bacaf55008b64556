package cloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// chainedCap is the longest session that AWS issues to a caller that is itself
// a role's session.
const chainedCap = time.Hour

// AssumeRole implements broker.Minter. Base credentials that AWS does not know
// any more are dropped and read again, once.
func (m *Minter) AssumeRole(ctx context.Context, a broker.Assumption) (broker.Credentials, error) {
	c, err := m.assumeOnce(ctx, a)
	if staleBase(err) {
		m.base.Invalidate()
		c, err = m.assumeOnce(ctx, a)
	}
	if err != nil {
		return broker.Credentials{}, fault(err)
	}
	return c, nil
}

func (m *Minter) assumeOnce(ctx context.Context, a broker.Assumption) (broker.Credentials, error) {
	who, err := m.callerOf(ctx, a.Role.Region)
	if err != nil {
		return broker.Credentials{}, err
	}
	duration := a.Duration
	if who.chained {
		duration = min(duration, chainedCap)
	}
	out, err := m.sts(a.Role.Region).AssumeRole(ctx, assumeRoleInput(a, duration))
	if err != nil {
		return broker.Credentials{}, err
	}
	return m.credentials(out, who.chained)
}

// assumeRoleInput says in STS's terms what a asks for.
func assumeRoleInput(a broker.Assumption, d time.Duration) *sts.AssumeRoleInput {
	in := &sts.AssumeRoleInput{
		RoleArn:         aws.String(a.Role.ARN),
		RoleSessionName: aws.String(a.SessionName),
		DurationSeconds: aws.Int32(int32(d / time.Second)),
		SourceIdentity:  optional(a.SourceIdentity),
		ExternalId:      optional(a.Role.ExternalID),
		Policy:          optional(a.Role.SessionPolicy),
	}
	for _, key := range slices.Sorted(maps.Keys(a.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(a.Tags[key])})
	}
	for _, arn := range a.Role.SessionPolicyARNs {
		in.PolicyArns = append(in.PolicyArns, types.PolicyDescriptorType{Arn: aws.String(arn)})
	}
	return in
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// credentials takes over STS's answer, if it is whole.
func (m *Minter) credentials(out *sts.AssumeRoleOutput, chained bool) (broker.Credentials, error) {
	c, who := out.Credentials, out.AssumedRoleUser
	if c == nil || who == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" ||
		aws.ToString(c.SessionToken) == "" || aws.ToString(who.AssumedRoleId) == "" || !m.Now().Before(aws.ToTime(c.Expiration)) {
		return broker.Credentials{}, errors.New("STS answered without whole credentials")
	}
	return broker.Credentials{
		AccessKeyID:   *c.AccessKeyId,
		SecretKey:     broker.NewSecret(*c.SecretAccessKey),
		SessionToken:  broker.NewSecret(*c.SessionToken),
		ExpiresAt:     c.Expiration.UTC(),
		AssumedRoleID: *who.AssumedRoleId,
		Chained:       chained,
	}, nil
}

// A caller is who AWS says the base credentials are.
type caller struct {
	accessKeyID string
	chained     bool // a role's session: what it assumes is chained
}

// callerOf asks AWS who the base credentials are, once for each access key.
func (m *Minter) callerOf(ctx context.Context, region string) (caller, error) {
	base, err := m.base.Retrieve(ctx)
	if err != nil {
		return caller{}, err
	}
	m.mu.Lock()
	known := m.caller
	m.mu.Unlock()
	if known.accessKeyID == base.AccessKeyID && known.accessKeyID != "" {
		return known, nil
	}
	out, err := m.sts(region).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return caller{}, fmt.Errorf("asking AWS who Starback is: %w", err)
	}
	who, err := arn.Parse(aws.ToString(out.Arn))
	if err != nil {
		return caller{}, fmt.Errorf("AWS did not say who Starback is: %w", err)
	}
	found := caller{accessKeyID: base.AccessKeyID, chained: who.Service != "iam"}
	m.mu.Lock()
	m.caller = found
	m.mu.Unlock()
	return found, nil
}

// partitionOf returns the partition of a Role: its ARN's.
func partitionOf(r *policy.Role) string {
	parsed, err := arn.Parse(r.ARN)
	if err != nil {
		return ""
	}
	return parsed.Partition
}
