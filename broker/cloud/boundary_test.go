package cloud_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
)

func TestBoundaryARN(t *testing.T) {
	tests := []struct{ arn, want string }{
		{"arn:aws:iam::111122223333:role/starback/Admin", "arn:aws:iam::111122223333:policy/starback-boundary/starback-Admin"},
		{"arn:aws-cn:iam::222233334444:role/Ops", "arn:aws-cn:iam::222233334444:policy/starback-boundary/starback-Ops"},
		{"arn:aws-iso-b:iam::222233334444:role/Ops", "arn:aws-iso-b:iam::222233334444:policy/starback-boundary/starback-Ops"},
		{"arn:aws-nowhere:iam::222233334444:role/Ops", ""},
		{"arn:aws:iam::111122223333:user/Admin", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := cloud.BoundaryARN(&policy.Role{ARN: tt.arn}); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.arn, got, tt.want)
		}
	}
}

func TestBoundaryDocument(t *testing.T) {
	w := newFencedWorld(t)
	if err := newRevoker(t, w.config()).Publish(t.Context(), fence(sessionID(2), sessionID(1), sessionID(3), sessionID(1))); err != nil {
		t.Fatal(err)
	}
	got, _ := w.boundary(t)
	file := filepath.Join("testdata", "boundary.json")
	if *update {
		if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got+"\n"); diff != "" {
		t.Errorf("boundary (-want +got):\n%s", diff)
	}
}

// A Session of a role that may do anything cannot undo its own end, nor keep it
// from coming: neither under the template's boundary nor under one that was
// published.
func TestNoWayOutOfTheBoundary(t *testing.T) {
	w := newFencedWorld(t)
	const wide = "arn:aws:iam::" + account + ":policy/wide"
	w.AddPolicy(wide, allowAll)
	m := newMinter(t, w.config())
	a := assumption(adminARN)
	a.SessionName = "alice@" + sessionID(1)
	c, err := m.AssumeRole(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	client := w.as(c)
	ways := map[string]func() error{
		"another version": func() error {
			_, err := client.CreatePolicyVersion(t.Context(), &iam.CreatePolicyVersionInput{
				PolicyArn: aws.String(adminLimits), PolicyDocument: aws.String(allowAll), SetAsDefault: true,
			})
			return err
		},
		"an older version": func() error {
			_, err := client.SetDefaultPolicyVersion(t.Context(), &iam.SetDefaultPolicyVersionInput{PolicyArn: aws.String(adminLimits), VersionId: aws.String("v1")})
			return err
		},
		"fewer versions": func() error {
			_, err := client.DeletePolicyVersion(t.Context(), &iam.DeletePolicyVersionInput{PolicyArn: aws.String(adminLimits), VersionId: aws.String("v1")})
			return err
		},
		"no boundary": func() error {
			_, err := client.DeleteRolePermissionsBoundary(t.Context(), &iam.DeleteRolePermissionsBoundaryInput{RoleName: aws.String("Admin")})
			return err
		},
		"another boundary": func() error {
			_, err := client.PutRolePermissionsBoundary(t.Context(), &iam.PutRolePermissionsBoundaryInput{
				RoleName: aws.String("Admin"), PermissionsBoundary: aws.String(wide),
			})
			return err
		},
	}
	r := cloud.NewRevoker(m)
	for _, boundary := range []string{"the template's", "a published one"} {
		if _, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: aws.String(adminLimits)}); err != nil {
			t.Fatalf("under %s, what does no harm is denied: %v", boundary, err)
		}
		for name, try := range ways {
			if got := refusalOf(t, try()); got != "AccessDenied" {
				t.Errorf("under %s, %s: AWS says %q", boundary, name, got)
			}
		}
		if err := r.Publish(t.Context(), fence(sessionID(2))); err != nil { // somebody else's end
			t.Fatal(err)
		}
	}
	if err := r.Publish(t.Context(), fence(sessionID(1))); err != nil {
		t.Fatal(err)
	}
	if got := w.aliases(t, c); got != "AccessDenied" {
		t.Errorf("after its end the session is answered %q", got)
	}
}

// adminBoundary is the boundary of adminARN, as CloudFormation makes it of the
// role's template.
func adminBoundary(t *testing.T) string {
	t.Helper()
	s := parse(t, render(t, []*policy.Role{admin()}, cloud.TemplateOptions{Trust: []string{baseUser}}))
	document, err := json.Marshal(s.Resources["Boundary"].Properties.PolicyDocument)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("${AWS::Partition}", "aws", "${AWS::AccountId}", account).Replace(string(document))
	before, rest, sub := strings.Cut(text, `{"Fn::Sub":`)
	resource, after, closed := strings.Cut(rest, "}")
	if !sub || !closed {
		t.Fatalf("the boundary names no policies by account:\n%s", text)
	}
	return before + resource + after
}
