package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// RevokerRole is the path and name of the IAM role, one in each account, that
// ends Sessions there. Its path is outside those that can be requested.
const RevokerRole = "starback-system/starback-revoker"

const (
	revokerSession = "starback-revoker"
	revokerTerm    = 15 * time.Minute // the least that STS issues
	revokerMargin  = time.Minute      // before its end, a session is used no more
)

// maxVersions is how many versions a managed policy can have. Source: the IAM
// and STS quotas.
const maxVersions = 5

// publishTries is how often a Publish looks again because somebody else changed
// the versions under it. Whenever that happens, the other one got ahead.
const publishTries = 10

// A Fence is the Sessions of one IAM role that were ended.
type Fence struct {
	RoleARN              string
	Region               string // where STS is called; empty: Starback's own
	Partition, AccountID string // the IAM role's
	Deny                 []Denied
}

// A Denied is one Session that was ended. The session's ID alone, a ULID, tells
// AWS which one it is; the rest is for the broker.
type Denied struct {
	SessionID string
	User      string
	Until     time.Time // when AWS ends it in any case
}

// ErrNoBoundary says that the IAM role does not carry the permissions boundary
// that RoleTemplate gives it: its Sessions can't be ended early.
var ErrNoBoundary = errors.New("the IAM role has no boundary of Starback's: its sessions can't be ended early")

// TooMany says that a boundary does not hold all Sessions of a Fence. Nothing
// was published.
type TooMany struct {
	Given, Fit int // different Sessions
}

// Error describes the case for logs.
func (e *TooMany) Error() string {
	return fmt.Sprintf("%d sessions are ended, and the boundary holds %d", e.Given, e.Fit)
}

// A Revoker ends Sessions at AWS. It acts as RevokerRole in the account of the
// Session's role, and is safe for concurrent use.
type Revoker struct {
	minter *Minter

	mu       sync.Mutex
	sessions map[sessionKey]revokerIn
}

// A sessionKey tells the revoker's sessions apart.
type sessionKey struct{ roleARN, region string }

// A revokerIn is the revoker's session in one account.
type revokerIn struct {
	client      *iam.Client
	credentials *aws.CredentialsCache
}

// NewRevoker returns a Revoker that assumes its roles with m's base
// credentials. It does not touch the network.
func NewRevoker(m *Minter) *Revoker {
	return &Revoker{minter: m, sessions: map[sessionKey]revokerIn{}}
}

// Publish makes the boundary of an IAM role deny everything to the Sessions of
// f, and to no others: a Session that is missing from f works again. It can
// take AWS some minutes to apply. Where the boundary says so already, nothing
// is changed.
//
// Of several calls for one role the last wins, whatever it knew: the caller
// sees to it that there is one at a time, and that it knows all.
//
// Errors are a *broker.Fault, or ErrNoBoundary, or *TooMany, or
// broker.ErrInvalid for a Fence that makes no sense. After a Fault it is not
// known whether the Fence was published.
func (r *Revoker) Publish(ctx context.Context, f Fence) error {
	role, err := iamRole(f.RoleARN)
	if err != nil {
		return err
	}
	if role.partition != f.Partition || role.account != f.AccountID {
		return fmt.Errorf("%s is not in the account %s of %s: %w", f.RoleARN, f.AccountID, f.Partition, broker.ErrInvalid)
	}
	document, err := boundaryDocument(role, f.Deny)
	if err != nil {
		return err
	}
	return r.do(role, f.Region, func(client *iam.Client) error {
		carried, err := carriesBoundary(ctx, client, role)
		if err != nil {
			return err
		}
		if !carried {
			return fmt.Errorf("%s: %w", f.RoleARN, ErrNoBoundary)
		}
		return publish(ctx, client, role.boundaryARN(), document)
	})
}

// Check says whether the IAM role of role carries its boundary, so that its
// Sessions can be ended early. Errors are a *broker.Fault, or broker.ErrInvalid
// for what is not an IAM role: then it is not known.
func (r *Revoker) Check(ctx context.Context, role *policy.Role) (bool, error) {
	id, err := iamRole(role.ARN)
	if err != nil {
		return false, err
	}
	carried := false
	err = r.do(id, role.Region, func(client *iam.Client) error {
		carried, err = carriesBoundary(ctx, client, id)
		return err
	})
	return carried, err
}

// do calls f with IAM as the revoker sees it in role's account. Credentials
// that AWS does not know any more are dropped and made again, once.
func (r *Revoker) do(role identity, region string, f func(*iam.Client) error) error {
	session := r.session(role, region)
	err := f(session.client)
	if staleBase(err) {
		r.minter.base.Invalidate()
		session.credentials.Invalidate()
		err = f(session.client)
	}
	if err == nil || errors.Is(err, ErrNoBoundary) {
		return err
	}
	found := fault(err)
	if found.Code == broker.FaultSessionPolicy { // it was a boundary that AWS refused
		found.Code = broker.FaultAWS
	}
	return found
}

// session returns the revoker's session for role's account, with credentials
// that are made when they are first used, and again shortly before they end.
func (r *Revoker) session(role identity, region string) revokerIn {
	key := sessionKey{"arn:" + role.partition + ":iam::" + role.account + ":role/" + RevokerRole, region}
	r.mu.Lock()
	defer r.mu.Unlock()
	session, ok := r.sessions[key]
	if !ok {
		where, _ := policy.PartitionNamed(role.partition)
		assumed := stscreds.NewAssumeRoleProvider(r.minter.sts(region), key.roleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = revokerSession
			o.Duration = revokerTerm
		})
		session.credentials = aws.NewCredentialsCache(assumed, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = revokerMargin })
		session.client = iam.NewFromConfig(r.minter.AWS, func(o *iam.Options) {
			o.Region = where.IAM
			o.Credentials = session.credentials
		})
		r.sessions[key] = session
	}
	return session
}

// iamRole parses the ARN of an IAM role.
func iamRole(arn string) (identity, error) {
	role, ok := parseIdentity(arn)
	if !ok || role.kind != "role" {
		return identity{}, fmt.Errorf("%q is not the ARN of an IAM role: %w", arn, broker.ErrInvalid)
	}
	return role, nil
}

// carriesBoundary asks IAM whether role carries its boundary.
func carriesBoundary(ctx context.Context, client *iam.Client, role identity) (bool, error) {
	out, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: &role.Name})
	if iamCode(err) == "NoSuchEntity" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for the IAM role's boundary: %w", err)
	}
	carried := out.Role != nil && out.Role.PermissionsBoundary != nil &&
		aws.ToString(out.Role.PermissionsBoundary.PermissionsBoundaryArn) == role.boundaryARN()
	return carried, nil
}

// publish makes document the default version of the policy at arn, however
// many do so at the same time.
func publish(ctx context.Context, client *iam.Client, arn, document string) error {
	var err error
	for range publishTries {
		if err = publishOnce(ctx, client, arn, document); !raced(err) {
			return err
		}
	}
	return err
}

func publishOnce(ctx context.Context, client *iam.Client, arn, document string) error {
	versions, err := versionsOf(ctx, client, arn)
	if err != nil {
		return err
	}
	current := slices.IndexFunc(versions, func(v types.PolicyVersion) bool { return v.IsDefaultVersion })
	if current < 0 {
		return fmt.Errorf("%s has no default version", arn)
	}
	said, err := client.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: versions[current].VersionId})
	if err != nil {
		return fmt.Errorf("reading the boundary: %w", err)
	}
	if said.PolicyVersion != nil && sameDocument(aws.ToString(said.PolicyVersion.Document), document) {
		return nil
	}
	if len(versions) >= maxVersions {
		oldest := slices.Delete(versions, current, current+1)[0]
		if _, err := client.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: oldest.VersionId}); err != nil {
			return fmt.Errorf("deleting the boundary's oldest version: %w", err)
		}
	}
	_, err = client.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &document, SetAsDefault: true})
	if err != nil {
		return fmt.Errorf("publishing the boundary: %w", err)
	}
	return nil
}

// versionsOf returns the versions of a managed policy, oldest first. IAM counts
// them v1, v2 and so on; its dates are by the second.
func versionsOf(ctx context.Context, client *iam.Client, arn string) ([]types.PolicyVersion, error) {
	var versions []types.PolicyVersion
	for pages := iam.NewListPolicyVersionsPaginator(client, &iam.ListPolicyVersionsInput{PolicyArn: &arn}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if iamCode(err) == "NoSuchEntity" {
			return nil, fmt.Errorf("%s does not exist: %w", arn, ErrNoBoundary)
		}
		if err != nil {
			return nil, fmt.Errorf("listing the boundary's versions: %w", err)
		}
		versions = append(versions, page.Versions...)
	}
	slices.SortFunc(versions, func(a, b types.PolicyVersion) int {
		x, y := aws.ToString(a.VersionId), aws.ToString(b.VersionId)
		return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
	})
	return versions, nil
}

// raced says whether a call failed because somebody else changed the policy's
// versions after they were listed.
func raced(err error) bool {
	switch iamCode(err) {
	case "LimitExceeded", "DeleteConflict", "NoSuchEntity", "EntityAlreadyExists", "ConcurrentModification":
		return true
	}
	return false
}

// iamCode returns the code of IAM's refusal, or "".
func iamCode(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	return api.ErrorCode()
}
