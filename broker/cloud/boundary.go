package cloud

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"sort"

	"github.com/oklog/ulid/v2"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A boundary is the permissions boundary of an IAM role: a managed policy that
// allows everything, except to the Sessions that were ended, and except what
// would let a Session out of it.

// boundaryPath is the path of all boundaries, so that a permission can be
// limited to them.
const boundaryPath = "/starback-boundary/"

// maxBoundary is how many characters a managed policy can have. White space
// does not count, and there is none. Source: the IAM and STS quotas.
const maxBoundary = 6144

// What no Session may do, so that none undoes its own end: give a boundary
// another version, or a role another boundary or none. Making boundaries and
// roles that carry them stays allowed.
var (
	keepVersions   = values{"iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion"}
	keepBoundaries = values{"iam:DeleteRolePermissionsBoundary", "iam:PutRolePermissionsBoundary"}
)

// BoundaryARN returns the ARN of the permissions boundary that RoleTemplate
// gives the IAM role of r: it is named after the IAM role, whose name is unique
// in its account. It is empty when r's ARN is not an IAM role's.
func BoundaryARN(r *policy.Role) string {
	id, ok := parseIdentity(r.ARN)
	if !ok || id.kind != "role" {
		return ""
	}
	return id.boundaryARN()
}

// A boundaryStatement is one of a boundary, in IAM's own names.
type boundaryStatement struct {
	Effect    string
	Action    values
	Resource  string
	Condition conditions `json:",omitempty"`
}

// boundaryDocument returns the boundary of an IAM role, as JSON, that denies
// everything to the Sessions of deny. The same Sessions always give the same
// document. Of nobody's, it is the one of RoleTemplate.
//
// A session's aws:userid is AROA…:<user>@<session ID>, so the session's ID at
// the end of it is enough.
func boundaryDocument(role identity, deny []Denied) (string, error) {
	var ended values
	for _, d := range deny {
		if id, err := ulid.ParseStrict(d.SessionID); err != nil || id.String() != d.SessionID { // case counts to AWS
			return "", fmt.Errorf("%q is not the ID of a session: %w", d.SessionID, broker.ErrInvalid)
		}
		ended = append(ended, "*@"+d.SessionID)
	}
	ended = sortedSet(ended)
	document, err := boundaryDenying(role, ended)
	if err != nil || len(document) <= maxBoundary {
		return document, err
	}
	fit := sort.Search(len(ended), func(n int) bool {
		document, _ := boundaryDenying(role, ended[:n+1])
		return len(document) > maxBoundary
	})
	return "", &TooMany{Given: len(ended), Fit: fit}
}

// boundaryDenying renders a boundary that denies everything to the userids.
func boundaryDenying(role identity, userids values) (string, error) {
	statements := []boundaryStatement{
		{Effect: "Allow", Action: values{"*"}, Resource: "*"},
		{Effect: "Deny", Action: keepVersions, Resource: "arn:" + role.partition + ":iam::" + role.account + ":policy" + boundaryPath + "*"},
		{Effect: "Deny", Action: keepBoundaries, Resource: "*"},
	}
	if len(userids) > 0 {
		statements = append(statements, boundaryStatement{
			Effect: "Deny", Action: values{"*"}, Resource: "*", Condition: conditions{"StringLike": {"aws:userid": userids}},
		})
	}
	document, err := json.Marshal(struct {
		Version   string
		Statement []boundaryStatement
	}{"2012-10-17", statements})
	return string(document), err
}

// sameDocument says whether IAM, which escapes what it returns as in a URL,
// holds the document. Order within objects and white space do not matter.
func sameDocument(held, document string) bool {
	held, err := url.PathUnescape(held)
	if err != nil {
		return false
	}
	var a, b any
	return json.Unmarshal([]byte(held), &a) == nil && json.Unmarshal([]byte(document), &b) == nil && reflect.DeepEqual(a, b)
}
