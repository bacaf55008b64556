package cloud_test

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

const (
	account   = "111122223333"
	readOnly  = "arn:aws:iam::" + account + ":role/starback/ReadOnly"
	untagged  = "arn:aws:iam::" + account + ":role/Untagged"
	baseRole  = "arn:aws:iam::" + account + ":role/Base"
	parameter = "/starback/base"
)

// began is when every world begins. The SDK signs by the machine's clock,
// which the sandbox compares with the world's.
var began = time.Now().UTC().Truncate(time.Second)

// A world is AWS in the sandbox, with a user who may assume roles.
type world struct {
	*sandbox.AWS
	url   string
	user  sandbox.Key
	clock time.Duration // of AWS, ahead of the machine's
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	w.AWS = sandbox.NewAWS(sandbox.AWSConfig{Now: func() time.Time { return began.Add(w.clock) }})
	w.user = w.AddUser(account, "starback")
	w.AddRole(sandbox.Role{ARN: baseRole, MaxSessionDuration: 12 * time.Hour})
	trusted := []string{w.user.ARN, baseRole}
	w.AddRole(sandbox.Role{
		ARN: readOnly, MaxSessionDuration: 12 * time.Hour,
		Trust: sandbox.Trust{Principals: trusted, TagSession: true, SetSourceIdentity: true},
	})
	w.AddRole(sandbox.Role{
		ARN: untagged, MaxSessionDuration: 12 * time.Hour, Trust: sandbox.Trust{Principals: trusted, ExternalID: "shared-words"},
	})
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// config is a Minter's, acting as the user.
func (w *world) config() cloud.Config {
	return cloud.Config{
		AWS: aws.Config{
			Region: "eu-west-1", BaseEndpoint: aws.String(w.url), Retryer: onlyReset,
			Credentials: credentials.NewStaticCredentialsProvider(w.user.AccessKeyID, w.user.SecretAccessKey, ""),
		},
		Base: "default", SignInURL: w.url + "/federation", Issuer: "https://slack.example/", HTTP: httpClient,
		Now: func() time.Time { return began },
	}
}

// onlyReset tries again where the system reset a connection to the sandbox, as
// the SDK does on its own, and nowhere else: a call that fails is one call.
func onlyReset() aws.Retryer {
	reset := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
		said := err.Error()
		return aws.BoolTernary(strings.Contains(said, "use of closed network connection") || strings.Contains(said, "connection reset"))
	})
	return retry.NewStandard(func(o *retry.StandardOptions) { o.Retryables = []retry.IsErrorRetryable{reset} })
}

// asRole is config, acting as a role's session.
func (w *world) asRole(t *testing.T) cloud.Config {
	t.Helper()
	base, err := w.RoleCredentials(baseRole, "instance", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := w.config()
	c.AWS.Credentials = credentials.NewStaticCredentialsProvider(base.AccessKeyID, base.SecretAccessKey, base.SessionToken)
	return c
}

func newMinter(t *testing.T, c cloud.Config) *cloud.Minter {
	t.Helper()
	m, err := cloud.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// assumption asks for two hours of a role.
func assumption(arn string) broker.Assumption {
	return broker.Assumption{
		Role:        &policy.Role{Name: "r", ARN: arn},
		SessionName: "alice@01K", Duration: 2 * time.Hour,
	}
}

// actions lists the calls that AWS had, by name.
func (w *world) actions() []string {
	var names []string
	for _, c := range w.Calls() {
		names = append(names, c.Action)
	}
	return names
}

// count counts the calls of one action.
func (w *world) count(action string) int {
	return len(slices.DeleteFunc(w.actions(), func(a string) bool { return a != action }))
}

// code is the code of a Fault, "" for any other error.
func code(err error) broker.FaultCode {
	var f *broker.Fault
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}
