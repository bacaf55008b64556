package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/cloud"
)

const (
	revoker  = "RevokerRole"
	baseUser = "arn:aws:iam::999988887777:user/starback-base"
)

var revokerFile = filepath.Join("aws", "revoker.yml")

// revokerTemplate reads the revoker's template as it is deployed into the
// account that pseudo says.
func revokerTemplate(t *testing.T) template {
	t.Helper()
	text, err := os.ReadFile(revokerFile)
	if err != nil {
		t.Fatal(err)
	}
	given := strings.NewReplacer("${RolePath}", "starback", `{"Ref": BasePrincipals}`, `["`+baseUser+`"]`).Replace(string(text))
	raw, err := yaml.YAMLToJSON([]byte(given))
	if err != nil {
		t.Fatal(err)
	}
	var tpl template
	if err := json.Unmarshal(raw, &tpl); err != nil {
		t.Fatal(err)
	}
	return tpl
}

// The revoker may publish boundaries, and nothing that gives anybody anything.
func TestRevokerPrivilege(t *testing.T) {
	tpl := revokerTemplate(t)
	if roles := tpl.everyRole(t); !slices.Equal(roles, []string{revoker}) {
		t.Fatalf("the template makes the roles %q", roles)
	}
	const (
		here        = "arn:aws:iam::123456789012:"
		elsewhere   = "arn:aws:iam::111122223333:"
		boundary    = here + "policy/starback-boundary/starback-Admin"
		role        = here + "role/starback/Admin"
		revokerRole = here + "role/" + cloud.RevokerRole
	)
	publishing := []string{"iam:ListPolicyVersions", "iam:GetPolicyVersion", "iam:CreatePolicyVersion", "iam:DeletePolicyVersion"}
	var tests []struct {
		allowed          bool
		action, resource string
	}
	row := func(allowed bool, resource string, actions ...string) {
		for _, action := range actions {
			tests = append(tests, struct {
				allowed          bool
				action, resource string
			}{allowed, action, resource})
		}
	}
	row(true, boundary, publishing...)
	row(true, role, "iam:GetRole")

	row(false, here+"policy/starback-Admin", publishing...)
	row(false, here+"policy/starback-boundaryless/starback-Admin", publishing...)
	row(false, here+"policy/team/starback-boundary/starback-Admin", publishing...)
	row(false, "arn:aws:iam::aws:policy/AdministratorAccess", publishing...)
	row(false, elsewhere+"policy/starback-boundary/starback-Admin", publishing...)
	row(false, boundary, "iam:CreatePolicy", "iam:DeletePolicy", "iam:SetDefaultPolicyVersion", "iam:TagPolicy", "iam:ListEntitiesForPolicy")
	for _, r := range []string{role, revokerRole, here + "role/OrganizationAccountAccessRole"} {
		row(false, r, "iam:CreateRole", "iam:DeleteRole", "iam:UpdateRole", "iam:UpdateAssumeRolePolicy", "iam:PassRole",
			"iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:TagRole",
			"iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary", "sts:AssumeRole", "sts:TagSession")
	}
	row(false, here+"user/starback-base", "iam:GetUser", "iam:CreateUser", "iam:CreateAccessKey", "iam:AttachUserPolicy", "iam:PutUserPolicy")
	row(false, revokerRole, "iam:GetRole")
	row(false, here+"role/starback-other/Admin", "iam:GetRole")
	row(false, elsewhere+"role/starback/Admin", "iam:GetRole")
	row(false, "*", "iam:ListRoles", "iam:ListPolicies", "s3:ListAllMyBuckets", "organizations:ListAccounts")

	for _, tt := range tests {
		if got := tpl.may(t, revoker, tt.action, tt.resource, nil); got != tt.allowed {
			t.Errorf("%s %s: allowed is %v", tt.action, tt.resource, got)
		}
	}
}

func TestRevokerLint(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests run no linter")
	}
	lint(t, revokerFile)
}

// The role is the one that the broker assumes, and the identity that Starback
// acts as is the only one it lets in.
func TestRevokerTrust(t *testing.T) {
	tpl := revokerTemplate(t)
	properties := tpl.Resources[revoker].Properties
	if got := tpl.resolve(properties["Path"]) + tpl.resolve(properties["RoleName"]); got != "/"+cloud.RevokerRole {
		t.Errorf("the role is %s, and Starback assumes %s", got, cloud.RevokerRole)
	}
	want := []statement{{
		sid: "Assume", effect: "Allow", actions: []string{"sts:AssumeRole"}, principals: []string{"AWS:" + baseUser},
		conditions: map[string][]string{"sts:RoleSessionName": {"starback-revoker"}},
	}}
	got := tpl.statements(t, properties["AssumeRolePolicyDocument"])
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(statement{})); diff != "" {
		t.Errorf("trust policy (-want +got):\n%s", diff)
	}
}

// A wildcard stands for the names of boundaries and of roles, at the end of
// their paths, and for nothing else.
func TestRevokerWildcards(t *testing.T) {
	tpl := revokerTemplate(t)
	fine := []string{"arn:aws:iam::123456789012:policy/starback-boundary/*", "arn:aws:iam::123456789012:role/starback/*"}
	for _, s := range tpl.own(t, revoker) {
		for _, name := range append(s.actions, s.resources...) {
			if strings.ContainsAny(name, "*?") && !slices.Contains(fine, name) {
				t.Errorf("%s: %s", s.sid, name)
			}
		}
	}
}
