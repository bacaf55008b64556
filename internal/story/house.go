// Package story tests Starback as it is shipped, from outside: what people do
// in Slack, and what comes of it there, at AWS, and on the trail. The stories
// are the same for serve and for the functions of Lambda, on every store; the
// tests of each build a House, and tell them.
package story

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// Policy is the policy of a House.
const Policy = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  dev: {grants: [prod-readonly, prod-console]}
  ops: {grants: [prod-guarded, prod-oncall]}
  leads: {}
  platform: {}
admins: [platform]
roles:
  prod-guarded:
    account: prod
    iam_role: starback/ReadOnly
    max_duration: 4h
    default_duration: 1h
    approval: {by: [leads], count: 2, within: 1h, claim_within: 1h}
  prod-oncall:
    account: prod
    iam_role: starback/ReadOnly
    max_duration: 4h
    default_duration: 1h
    approval: {by: [leads], count: 2, within: 1h, claim_within: 1h, escalate_to: [platform], escalate_after: 20m}
  prod-readonly:
    account: prod
    iam_role: starback/ReadOnly
    max_duration: 8h
    default_duration: 1h
    ticket: 'INC-[0-9]+'
  prod-console:
    account: prod
    iam_role: starback/Console
    max_duration: 1h
    console: true
users:
  alice: {slack: T0TEST/U0ALICE, groups: [dev], expires: 2099-12-31}
  bob: {slack: T0TEST/U0BOB, groups: [dev], expires: 2099-12-31}
  carol: {slack: T0TEST/U0CAROL, groups: [platform], expires: 2099-12-31}
  erin: {slack: T0TEST/U0ERIN, groups: [dev], expires: 2020-01-01}
  fred: {slack: T0TEST/U0FRED, groups: [dev], expires: 2099-12-31, disabled: true}
  grace: {slack: T0TEST/U0GRACE, groups: [dev], expires: 2099-12-31}
  rob: {slack: T0TEST/U0ROBOT, groups: [dev], expires: 2099-12-31}
  gone: {slack: T0TEST/U0GONE, groups: [dev], expires: 2099-12-31}
  olga: {slack: T0TEST/U0OLGA, groups: [ops], expires: 2099-12-31}
  lea: {slack: T0TEST/U0LEA, groups: [leads], expires: 2099-12-31}
  mia: {slack: T0TEST/U0MIA, groups: [leads], expires: 2099-12-31}
`

// The workspace, its channels, and whom AWS knows Starback as.
const (
	Team      = "T0TEST"
	General   = "C0GENERAL"
	Audit     = "C0AUDIT"
	Approvals = "C0APPROVALS"

	BaseUser = "arn:aws:iam::999988887777:user/starback"
)

// A House is Starback, running, among its neighbours: a sandbox's Slack and AWS
// and a store, each behind a wire that can fail.
type House struct {
	T         *testing.T
	Slack     *sandbox.Slack
	AWS       *sandbox.AWS // nil where another engine stands for AWS
	SlackWire *faultproxy.Proxy
	AWSWire   *faultproxy.Proxy
	StoreWire *faultproxy.Proxy // nil for a file
	Gate      *faultproxy.Gate  // for calls that are held; Heal opens it

	URL     string                       // where Slack sends what people do
	Store   func(*testing.T) store.Store // as another process would open it
	Kept    func() string                // all that stands in the store
	Printed func() string                // all that Starback has printed
	Stop    func()                       // ends it well, with all done that it has taken
	Secrets []string                     // what nobody may find, besides sandbox.Marker

	handed []string // the keys that applications were answered with
}

// people are those in the workspace; dave is unknown to the policy.
var people = []sandbox.SlackUser{
	{ID: "U0ALICE", Name: "alice"}, {ID: "U0BOB", Name: "bob"}, {ID: "U0CAROL", Name: "carol"},
	{ID: "U0DAVE", Name: "dave"}, {ID: "U0ERIN", Name: "erin"}, {ID: "U0FRED", Name: "fred"},
	{ID: "U0GRACE", Name: "grace", Restricted: true}, {ID: "U0ROBOT", Name: "rob", Bot: true},
	{ID: "U0GONE", Name: "gone", Deleted: true}, {ID: "U0OLGA", Name: "olga"}, {ID: "U0LEA", Name: "lea"}, {ID: "U0MIA", Name: "mia"},
}

// NewSlack is a workspace with everybody whom the stories need.
func NewSlack(now func() time.Time) *sandbox.Slack {
	slack := sandbox.NewSlack(sandbox.SlackConfig{Now: now, TeamID: Team})
	var members []string
	for _, u := range people {
		slack.AddUser(u)
		members = append(members, u.ID)
	}
	slack.AddChannel(sandbox.SlackChannel{ID: General, Name: "general", Members: members})
	slack.AddChannel(sandbox.SlackChannel{ID: Audit, Name: "starback-audit", Members: []string{"U0CAROL"}, BotIn: true})
	slack.AddChannel(sandbox.SlackChannel{ID: Approvals, Name: "starback-approvals", Members: []string{"U0LEA", "U0MIA", "U0CAROL"}, BotIn: true})
	return slack
}

// Furnish puts the IAM roles of the policy and Starback's own key into a
// sandbox's AWS, the key also into its Parameter Store, under a name.
func Furnish(aws *sandbox.AWS, parameter string) sandbox.Key {
	key := aws.AddUser("999988887777", "starback")
	for _, name := range []string{"ReadOnly", "Console"} {
		aws.AddRole(sandbox.Role{
			ARN: roleARN(name), MaxSessionDuration: 12 * time.Hour,
			Trust: sandbox.Trust{Principals: []string{BaseUser}, TagSession: true, SetSourceIdentity: true},
		})
	}
	aws.PutParameter(parameter, fmt.Sprintf(`{"access_key_id":%q,"secret_access_key":%q}`, key.AccessKeyID, key.SecretAccessKey), true)
	return key
}

func roleARN(name string) string { return "arn:aws:iam::111122223333:role/starback/" + name }

// AddBoundary gives an IAM role of the policy permission for everything, within
// the boundary that its template has, and the account the role that publishes
// it, which the principals may assume besides Starback's own user.
func AddBoundary(aws *sandbox.AWS, name string, principals ...string) {
	const allowAll = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`
	boundary := cloud.BoundaryARN(&policy.Role{ARN: roleARN(name)})
	aws.AddPolicy(boundary, allowAll)
	aws.AddRole(sandbox.Role{
		ARN: roleARN(name), MaxSessionDuration: 12 * time.Hour, Permissions: allowAll, Boundary: boundary,
		Trust: sandbox.Trust{Principals: []string{BaseUser}, TagSession: true, SetSourceIdentity: true},
	})
	aws.AddRole(sandbox.Role{
		ARN: "arn:aws:iam::111122223333:role/" + cloud.RevokerRole, Permissions: allowAll,
		Trust: sandbox.Trust{Principals: append(principals, BaseUser)},
	})
}

// Serve serves a handler until the test ends, and returns its URL.
func Serve(t *testing.T, handler http.Handler) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// SlackCall names a call to Slack by its method; a post to a response URL is
// "response_url".
func SlackCall(r *http.Request, _ []byte) string {
	if method, ok := strings.CutPrefix(r.URL.Path, "/api/"); ok {
		return method
	}
	return "response_url"
}

// Heal ends whatever is wrong with the neighbours.
func (h *House) Heal() {
	if h.AWS != nil {
		h.AWS.SetFault(nil)
	}
	h.Slack.SetFault(nil)
	for _, wire := range []*faultproxy.Proxy{h.AWSWire, h.SlackWire, h.StoreWire} {
		if wire != nil {
			wire.SetRule(nil)
		}
	}
	h.Gate.Open()
}

// Assumed counts the Sessions that AWS was asked for so far. A call whose answer
// was lost on the way is made again by the SDK, for the same Session.
func (h *House) Assumed() int {
	sessions := map[string]bool{}
	for _, call := range h.AWSWire.Calls() {
		form, err := url.ParseQuery(call.Body)
		if name := form.Get("RoleSessionName"); err == nil && call.Name == "AssumeRole" && strings.Contains(name, "@") { // a person's
			sessions[form.Get("RoleArn")+" "+name] = true
		}
	}
	return len(sessions)
}

// Client is an AWS client's configuration, with keys as a person was given them.
func (h *House) Client(k Keys) aws.Config {
	h.T.Helper()
	return Client(h.T, h.AWSWire.URL, k["AWS_ACCESS_KEY_ID"], k["AWS_SECRET_ACCESS_KEY"], k["AWS_SESSION_TOKEN"])
}

// Client is an AWS client's configuration that points to an engine.
func Client(t *testing.T, endpoint, id, secret, token string) aws.Config {
	t.Helper()
	cfg, err := awsconfig.LoadDefaultConfig(context.Background(),
		awsconfig.WithRegion("eu-west-1"), awsconfig.WithBaseEndpoint(endpoint),
		awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(id, secret, token)))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
