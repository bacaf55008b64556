package cloud_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
	"github.com/goccy/go-yaml"
	"github.com/oklog/ulid/v2"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/sandbox"
)

const (
	revoker     = "arn:aws:iam::" + account + ":role/" + cloud.RevokerRole
	adminARN    = "arn:aws:iam::" + account + ":role/starback/Admin"
	adminLimits = "arn:aws:iam::" + account + ":policy/starback-boundary/starback-Admin"
	allowAll    = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`
)

// deployedPermissions returns what deploy/aws/revoker.yml lets the revoker do
// in account, whose requestable roles have the path starback.
func deployedPermissions(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "aws", "revoker.yml"))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var tpl struct {
		Resources struct {
			RevokerRole struct {
				Properties struct {
					Policies []struct {
						PolicyDocument struct {
							Version   string
							Statement []struct {
								Effect   string
								Action   any
								Resource map[string]string
							}
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(asJSON, &tpl); err != nil {
		t.Fatal(err)
	}
	document := tpl.Resources.RevokerRole.Properties.Policies[0].PolicyDocument
	values := strings.NewReplacer("${AWS::Partition}", "aws", "${AWS::AccountId}", account, "${RolePath}", "starback")
	var statements []map[string]any
	for _, s := range document.Statement {
		statements = append(statements, map[string]any{"Effect": s.Effect, "Action": s.Action, "Resource": values.Replace(s.Resource["Fn::Sub"])})
	}
	permissions, err := json.Marshal(map[string]any{"Version": document.Version, "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	return string(permissions)
}

// newFencedWorld is a world with the revoker as it is deployed, and a role that
// may look for the account's aliases and carries its boundary.
func newFencedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.AddPolicy(adminLimits, adminBoundary(t))
	w.AddRole(sandbox.Role{
		ARN: adminARN, MaxSessionDuration: 12 * time.Hour, Permissions: allowAll, Boundary: adminLimits,
		Trust: sandbox.Trust{Principals: []string{w.user.ARN, baseRole}, TagSession: true, SetSourceIdentity: true},
	})
	w.addRevoker(t)
	return w
}

func (w *world) addRevoker(t *testing.T) {
	t.Helper()
	w.AddRole(sandbox.Role{ARN: revoker, Permissions: deployedPermissions(t), Trust: sandbox.Trust{Principals: []string{w.user.ARN, baseRole}}})
}

func newRevoker(t *testing.T, c cloud.Config) *cloud.Revoker {
	t.Helper()
	return cloud.NewRevoker(newMinter(t, c))
}

// sessionID is the nth ULID of a row.
func sessionID(n int) string {
	id := ulid.MustParse("01JDBKT1XR0000000000000000")
	id[14], id[15] = byte(n>>8), byte(n)
	return id.String()
}

// fence is the end of some Sessions of the role.
func fence(ids ...string) cloud.Fence {
	f := cloud.Fence{RoleARN: adminARN, Region: "eu-west-1", Partition: "aws", AccountID: account}
	for _, id := range ids {
		f.Deny = append(f.Deny, cloud.Denied{SessionID: id, User: "alice", Until: began.Add(time.Hour)})
	}
	return f
}

// ended is the end of the first n Sessions.
func ended(n int) cloud.Fence {
	var ids []string
	for i := range n {
		ids = append(ids, sessionID(i))
	}
	return fence(ids...)
}

// aliases asks AWS, as a Session, for the account's aliases: the answer to
// GetCallerIdentity would be the same whatever is denied.
func (w *world) aliases(t *testing.T, c broker.Credentials) string {
	t.Helper()
	_, err := w.as(c).ListAccountAliases(t.Context(), nil)
	return refusalOf(t, err)
}

// as is IAM, called as a Session.
func (w *world) as(c broker.Credentials) *iam.Client {
	config := w.config().AWS
	config.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretKey.Reveal(), c.SessionToken.Reveal())
	return iam.NewFromConfig(config)
}

// refusalOf is the code of AWS's refusal, or "".
func refusalOf(t *testing.T, err error) string {
	t.Helper()
	var api smithy.APIError
	if err != nil && !errors.As(err, &api) {
		t.Fatal(err)
	}
	if err != nil {
		return api.ErrorCode()
	}
	return ""
}

// boundary returns the document in force and the versions there are.
func (w *world) boundary(t *testing.T) (document string, versions []string) {
	t.Helper()
	c, err := w.RoleCredentials(adminARN, "reader", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config := w.config().AWS
	config.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
	return inForce(t, iam.NewFromConfig(config), adminLimits)
}

// inForce reads a managed policy's default version, and lists all.
func inForce(t *testing.T, client *iam.Client, arn string) (document string, versions []string) {
	t.Helper()
	list, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: &arn})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list.Versions {
		versions = append(versions, aws.ToString(v.VersionId))
		if !v.IsDefaultVersion {
			continue
		}
		got, err := client.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: v.VersionId})
		if err != nil {
			t.Fatal(err)
		}
		document, err = url.PathUnescape(aws.ToString(got.PolicyVersion.Document))
		if err != nil {
			t.Fatal(err)
		}
	}
	return document, versions
}
