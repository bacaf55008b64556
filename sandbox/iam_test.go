package sandbox_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/sandbox"
)

const (
	iamAdmin    = "arn:aws:iam::" + awsAccount + ":role/team/Admin"
	iamPolicy   = "arn:aws:iam::" + awsAccount + ":policy/boundaries/Admin"
	iamAllowAll = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`
)

// newIAMWorld is an awsWorld with a role that may do everything in IAM, within
// a boundary that allows everything.
func newIAMWorld(t *testing.T) *awsWorld {
	t.Helper()
	w := newAWSWorld(t)
	w.AddPolicy(iamPolicy, iamAllowAll)
	w.AddRole(sandbox.Role{ARN: iamAdmin, Permissions: iamAllowAll, Boundary: iamPolicy})
	return w
}

// iamAs is IAM as a new session of a role sees it.
func (w *awsWorld) iamAs(t *testing.T, roleARN, session string) *iam.Client {
	t.Helper()
	c, err := w.RoleCredentials(roleARN, session, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return iam.NewFromConfig(w.config(c.AccessKeyID, c.SecretAccessKey, c.SessionToken))
}

// iamStatements is a policy of statements, in JSON.
func iamStatements(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func createVersion(t *testing.T, client *iam.Client, document string, isDefault bool) (id, code string) {
	t.Helper()
	out, err := client.CreatePolicyVersion(t.Context(), &iam.CreatePolicyVersionInput{
		PolicyArn: aws.String(iamPolicy), PolicyDocument: &document, SetAsDefault: isDefault,
	})
	if err != nil {
		return "", awsCode(t, err)
	}
	return aws.ToString(out.PolicyVersion.VersionId), ""
}

func deleteVersion(t *testing.T, client *iam.Client, id string) (code string) {
	t.Helper()
	_, err := client.DeletePolicyVersion(t.Context(), &iam.DeletePolicyVersionInput{PolicyArn: aws.String(iamPolicy), VersionId: &id})
	return awsCode(t, err)
}

// versions lists a policy's versions, with a star at the default one.
func versions(t *testing.T, client *iam.Client) []string {
	t.Helper()
	out, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: aws.String(iamPolicy)})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, v := range out.Versions {
		mark := ""
		if v.IsDefaultVersion {
			mark = "*"
		}
		list = append(list, aws.ToString(v.VersionId)+mark)
	}
	return list
}

func TestPolicyVersions(t *testing.T) {
	w := newIAMWorld(t)
	client := w.iamAs(t, iamAdmin, "admin")
	create := func(isDefault bool) string {
		id, code := createVersion(t, client, iamAllowAll, isDefault)
		return id + code
	}
	steps := []struct {
		name string
		do   func() string
		want string // its answer
		then string // the versions, newest first
	}{
		{"as it was made", func() string { return "" }, "", "v1*"},
		{"the only one can't go", func() string { return deleteVersion(t, client, "v1") }, "DeleteConflict", "v1*"},
		{"a second", func() string { return create(false) }, "v2", "v2 v1*"},
		{"a new default", func() string { return create(true) }, "v3", "v3* v2 v1"},
		{"the default can't go", func() string { return deleteVersion(t, client, "v3") }, "DeleteConflict", "v3* v2 v1"},
		{"an old one can", func() string { return deleteVersion(t, client, "v1") }, "", "v3* v2"},
		{"and only once", func() string { return deleteVersion(t, client, "v1") }, "NoSuchEntity", "v3* v2"},
		{"no version's name", func() string { return deleteVersion(t, client, "3") }, "ValidationError", "v3* v2"},
		{"numbers are not used again", func() string { return create(false) }, "v4", "v4 v3* v2"},
		{"a fourth", func() string { return create(false) }, "v5", "v5 v4 v3* v2"},
		{"a fifth", func() string { return create(true) }, "v6", "v6* v5 v4 v3 v2"},
		{"no sixth", func() string { return create(true) }, "LimitExceeded", "v6* v5 v4 v3 v2"},
		{"room again", func() string { return deleteVersion(t, client, "v2") }, "", "v6* v5 v4 v3"},
		{"for one", func() string { return create(true) }, "v7", "v7* v6 v5 v4 v3"},
	}
	for _, step := range steps {
		if got := step.do(); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
		if got := strings.Join(versions(t, client), " "); got != step.then {
			t.Errorf("%s: the versions are %s, want %s", step.name, got, step.then)
		}
	}
}

func TestGetPolicyVersion(t *testing.T) {
	w := newIAMWorld(t)
	client := w.iamAs(t, iamAdmin, "admin")
	document := iamStatements(`{"Sid":"a b+c%20é","Effect":"Allow","Action":"iam:*","Resource":"*"}`)
	id, _ := createVersion(t, client, document, true)
	out, err := client.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: aws.String(iamPolicy), VersionId: &id})
	if err != nil {
		t.Fatal(err)
	}
	v := out.PolicyVersion
	got, err := url.PathUnescape(aws.ToString(v.Document))
	if err != nil || got != document || strings.ContainsAny(aws.ToString(v.Document), ` "{`) {
		t.Errorf("the document is %s, %v", aws.ToString(v.Document), err)
	}
	if !v.IsDefaultVersion || w.now().Sub(aws.ToTime(v.CreateDate)).Abs() > time.Second {
		t.Errorf("default: %v, made %v", v.IsDefaultVersion, v.CreateDate)
	}
	_, err = client.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: aws.String(iamPolicy), VersionId: aws.String("v9")})
	if got := awsCode(t, err); got != "NoSuchEntity" {
		t.Errorf("a version that is not there: %q", got)
	}
}

func TestGetRole(t *testing.T) {
	w := newIAMWorld(t)
	client := w.iamAs(t, iamAdmin, "admin")
	tests := []struct{ name, path, boundary, want string }{
		{"Admin", "/team/", iamPolicy, ""},
		{"ReadOnly", "/starback/", "", ""},
		{"Base", "/", "", ""},
		{"None", "", "", "NoSuchEntity"},
	}
	for _, tt := range tests {
		out, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &tt.name})
		if got := awsCode(t, err); got != tt.want {
			t.Errorf("%s: code %q, want %q", tt.name, got, tt.want)
		}
		if err != nil {
			continue
		}
		boundary := ""
		if b := out.Role.PermissionsBoundary; b != nil {
			boundary = aws.ToString(b.PermissionsBoundaryArn)
		}
		if path := aws.ToString(out.Role.Path); path != tt.path || boundary != tt.boundary ||
			aws.ToString(out.Role.Arn) != "arn:aws:iam::"+awsAccount+":role"+path+tt.name {
			t.Errorf("%s: %s at %s, with the boundary %q", tt.name, aws.ToString(out.Role.Arn), path, boundary)
		}
	}
}

func TestPolicyDocuments(t *testing.T) {
	deny := func(userID string) string {
		return iamStatements(`{"Effect":"Allow","Action":"*","Resource":"*"}`,
			`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:userid":"`+userID+`"}}}`)
	}
	limit := func(size int) string { return deny(strings.Repeat("x", size-len(deny("")))) }
	one := func(statement string) string { return iamStatements(statement) }
	tests := []struct{ name, document, want string }{
		{"as long as it can be", limit(6144), ""},
		{"white space does not count", "\n\t " + limit(6144) + strings.Repeat(" ", 500), ""},
		{"too long", limit(6145), "LimitExceeded"},
		{"not JSON", "Version: 1", "MalformedPolicyDocument"},
		{"no statement", `{"Version":"2012-10-17"}`, "MalformedPolicyDocument"},
		{"no effect", one(`{"Action":"*","Resource":"*"}`), "MalformedPolicyDocument"},
		{"no resource", one(`{"Effect":"Allow","Action":"*"}`), "MalformedPolicyDocument"},
		{"a principal", one(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), "MalformedPolicyDocument"},
		{"an action without its service", one(`{"Effect":"Allow","Action":"GetRole","Resource":"*"}`), "MalformedPolicyDocument"},
		{"a resource that is none", one(`{"Effect":"Allow","Action":"*","Resource":"Admin"}`), "MalformedPolicyDocument"},
		{"an action that is no text", one(`{"Effect":"Allow","Action":7,"Resource":"*"}`), "MalformedPolicyDocument"},
		{"NotAction", one(`{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`), "NotImplemented"},
		{"NotResource", one(`{"Effect":"Allow","Action":"*","NotResource":"*"}`), "NotImplemented"},
		{"another operator", one(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotLike":{"aws:userid":"x"}}}`), "NotImplemented"},
		{"another key", one(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:username":"x"}}}`), "NotImplemented"},
		{"a variable", deny("${aws:userid}"), "NotImplemented"},
		{"a variable in a resource", one(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:userid}"}`), "NotImplemented"},
	}
	for _, tt := range tests {
		w := newIAMWorld(t)
		if _, got := createVersion(t, w.iamAs(t, iamAdmin, "admin"), tt.document, true); got != tt.want {
			t.Errorf("%s: code %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Permissions and the boundary must both allow a call, and what one of them
// denies is denied.
func TestPermissions(t *testing.T) {
	allow := func(action, resource string) string {
		return `{"Effect":"Allow","Action":` + action + `,"Resource":` + resource + `}`
	}
	deny := func(condition string) string {
		return `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{` + condition + `}}`
	}
	all := allow(`"*"`, `"*"`)
	tests := []struct {
		name        string
		permissions string
		boundary    string
		want        string // allowed to list the aliases, and the versions of the policy
	}{
		{"everything", all, all, "aliases versions"},
		{"an action", allow(`"iam:ListAccountAliases"`, `"*"`), all, "aliases"},
		{"in other letters", allow(`"IAM:listaccountaliases"`, `"*"`), all, "aliases"},
		{"actions", allow(`["s3:*","iam:List*"]`, `"*"`), all, "aliases versions"},
		{"one letter", allow(`"iam:ListAccountAliase?"`, `"*"`), all, "aliases"},
		{"one letter too few", allow(`"iam:ListAccountAliases?"`, `"*"`), all, ""},
		{"a point is no pattern", allow(`"iam.ListAccountAliases:"`, `"*"`), all, ""},
		{"the policy", allow(`"*"`, `"`+iamPolicy+`"`), all, "versions"},
		{"its path", allow(`"*"`, `["arn:aws:s3:::x","arn:aws:iam::`+awsAccount+`:policy/boundaries/*"]`), all, "versions"},
		{"its path in other letters", allow(`"*"`, `"arn:aws:iam::`+awsAccount+`:policy/Boundaries/*"`), all, ""},
		{"nothing of IAM's", allow(`"s3:*"`, `"*"`), all, ""},
		{"a narrower boundary", all, allow(`"iam:ListAccountAliases"`, `"*"`), "aliases"},
		{"a boundary gives nothing", allow(`"iam:ListPolicyVersions"`, `"*"`), all, "versions"},
		{"a Deny wins", all + "," + `{"Effect":"Deny","Action":"iam:ListAccountAliases","Resource":"*"}`, all, "versions"},
		{"and before an Allow", `{"Effect":"Deny","Action":"iam:ListAccountAliases","Resource":"*"},` + all, all, "versions"},

		{"this session", all, all + "," + deny(`"StringLike":{"aws:userid":"*:alice@1"}`), ""},
		{"the key in other letters", all, all + "," + deny(`"StringLike":{"AWS:UserID":"*@1"}`), ""},
		{"in a list", all, all + "," + deny(`"StringLike":{"aws:userid":["*@2","*@1"]}`), ""},
		{"another session", all, all + "," + deny(`"StringLike":{"aws:userid":["*@2","*@11","*@"]}`), "aliases versions"},
		{"the session in other letters", all, all + "," + deny(`"StringLike":{"aws:userid":"*:Alice@1"}`), "aliases versions"},
		{"one letter of the session", all, all + "," + deny(`"StringLike":{"aws:userid":"*:alice@?"}`), ""},
		{"a part of it", all, all + "," + deny(`"StringLike":{"aws:userid":"alice@1"}`), "aliases versions"},
		{"a pattern is text to StringEquals", all, all + "," + deny(`"StringEquals":{"aws:userid":"*:alice@1"}`), "aliases versions"},
		{"all operators must hold", all, all + "," + deny(`"StringLike":{"aws:userid":"*@1"},"StringEquals":{"aws:userid":"x"}`), "aliases versions"},
		{"no value holds", all, all + "," + deny(`"StringLike":{"aws:userid":[]}`), "aliases versions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newAWSWorld(t)
			w.AddPolicy(iamPolicy, iamStatements(tt.boundary))
			w.AddRole(sandbox.Role{ARN: iamAdmin, Permissions: iamStatements(tt.permissions), Boundary: iamPolicy})
			client := w.iamAs(t, iamAdmin, "alice@1")
			var may []string
			try := func(name string, err error) {
				switch got := awsCode(t, err); got {
				case "":
					may = append(may, name)
				case "AccessDenied":
				default:
					t.Errorf("%s: code %q", name, got)
				}
			}
			_, err := client.ListAccountAliases(t.Context(), nil)
			try("aliases", err)
			_, err = client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: aws.String(iamPolicy)})
			try("versions", err)
			if got := strings.Join(may, " "); got != tt.want {
				t.Errorf("may %q, want %q", got, tt.want)
			}
		})
	}
}

// A new default version counts at once, for sessions that are there already.
func TestBoundaryEndsOneSession(t *testing.T) {
	w := newIAMWorld(t)
	alice, bob := w.iamAs(t, iamAdmin, "alice@1"), w.iamAs(t, iamAdmin, "bob@2")
	aliases := func(client *iam.Client) string {
		_, err := client.ListAccountAliases(t.Context(), nil)
		return awsCode(t, err)
	}
	deny := iamStatements(`{"Effect":"Allow","Action":"*","Resource":"*"}`,
		`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:userid":"*@1"}}}`)
	steps := []struct {
		name       string
		do         func()
		alice, bob string
	}{
		{"before", func() {}, "", ""},
		{"a version that is not the default", func() { createVersion(t, bob, deny, false) }, "", ""},
		{"the default", func() { createVersion(t, bob, deny, true) }, "AccessDenied", ""},
		{"the one before again", func() { createVersion(t, bob, iamAllowAll, true) }, "", ""},
	}
	for _, step := range steps {
		step.do()
		if a, b := aliases(alice), aliases(bob); a != step.alice || b != step.bob {
			t.Errorf("%s: alice got %q and bob %q, want %q and %q", step.name, a, b, step.alice, step.bob)
		}
	}
}

func TestIAMRefuses(t *testing.T) {
	const elsewhere = "arn:aws:iam::999988887777:policy/boundaries/Admin"
	w := newIAMWorld(t)
	w.AddPolicy(elsewhere, iamAllowAll)
	w.AddRole(sandbox.Role{ARN: "arn:aws:iam::999988887777:role/Theirs"})
	admin, base := w.iamAs(t, iamAdmin, "admin"), w.iamAs(t, awsBase, "base")
	user := iam.NewFromConfig(w.config(w.User.AccessKeyID, w.User.SecretAccessKey, ""))
	forged := iam.NewFromConfig(w.config(w.User.AccessKeyID, "guessed", ""))
	list := func(client *iam.Client, arn string) error {
		_, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: &arn})
		return err
	}
	role := func(client *iam.Client, name string) error {
		_, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &name})
		return err
	}
	_, marked := admin.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: aws.String(iamPolicy), Marker: aws.String("x")})
	_, unknown := admin.ListUsers(t.Context(), nil)
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"a user", list(user, iamPolicy), "AccessDenied"},
		{"a user with a wrong key", list(forged, iamPolicy), "SignatureDoesNotMatch"},
		{"a role without permissions", list(base, iamPolicy), "AccessDenied"},
		{"a role without permissions, for what is not there", role(base, "None"), "AccessDenied"},
		{"another account's policy", list(admin, elsewhere), "AccessDenied"},
		{"another account's role", role(admin, "Theirs"), "NoSuchEntity"},
		{"no such policy", list(admin, iamPolicy+"2"), "NoSuchEntity"},
		{"no policy", list(admin, ""), "ValidationError"},
		{"a parameter that is not implemented", marked, "NotImplemented"},
		{"an action that is not implemented", unknown, "InvalidAction"},
	}
	for _, tt := range tests {
		if got := awsCode(t, tt.err); got != tt.want {
			t.Errorf("%s: code %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Calls of IAM are recorded, and fail as they are told to, by IAM's name.
func TestIAMCallsAndFaults(t *testing.T) {
	w := newIAMWorld(t)
	client := w.iamAs(t, iamAdmin, "admin")
	w.SetFault(func(service, action string) *sandbox.Fault {
		if service == "iam" && action == "ListAccountAliases" {
			return &sandbox.Fault{Status: http.StatusBadRequest, Code: "Throttling", Message: "Rate exceeded"}
		}
		return nil
	})
	_, err := client.ListAccountAliases(t.Context(), nil)
	if got := awsCode(t, err); got != "Throttling" {
		t.Errorf("code %q", got)
	}
	if _, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String("Base")}); err != nil {
		t.Error(err)
	}
	if _, err := w.stsAsUser().GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
	var got []string
	for _, c := range w.Calls() {
		got = append(got, fmt.Sprint(c.Service, " ", c.Action, " ", c.ErrorCode))
	}
	want := []string{"iam ListAccountAliases Throttling", "iam GetRole ", "sts GetCallerIdentity "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestIAMSetUpPanics(t *testing.T) {
	tests := map[string]func(*awsWorld){
		"a policy that is none":        func(w *awsWorld) { w.AddPolicy(iamAdmin, iamAllowAll) },
		"a document that is none":      func(w *awsWorld) { w.AddPolicy(iamPolicy+"2", "{}") },
		"a policy twice":               func(w *awsWorld) { w.AddPolicy(iamPolicy, iamAllowAll) },
		"permissions that are none":    func(w *awsWorld) { w.AddRole(sandbox.Role{ARN: iamAdmin, Permissions: "{}"}) },
		"a boundary that is not there": func(w *awsWorld) { w.AddRole(sandbox.Role{ARN: iamAdmin, Boundary: iamPolicy + "2"}) },
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			w := newIAMWorld(t)
			awsMustPanic(t, func() { do(w) })
		})
	}
	if got := versions(t, newIAMWorld(t).iamAs(t, iamAdmin, "admin")); !slices.Equal(got, []string{"v1*"}) {
		t.Errorf("what does not panic has the versions %v", got)
	}
}
