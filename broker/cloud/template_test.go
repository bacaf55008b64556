package cloud_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	baseUser = "arn:aws:iam::999988887777:user/starback-base"
	// tricky holds what YAML would take for something else than text.
	tricky = `{"Version":"2012-10-17","Statement":[{"Sid":"yes","Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::é/${aws:username}/*",` +
		`"Condition":{"StringEquals":{"aws:PrincipalAccount":"011112222333","aws:PrincipalTag/on":["no","1e3","2027-01-31","a \"b\" \\ # c: d"]},"Bool":{"aws:ViaAWSService":false}}}]}`
)

// admin is a Role with everything, after which the others are made.
func admin(change ...func(*policy.Role)) *policy.Role {
	r := &policy.Role{
		Name: "prod-admin", Account: "prod", AccountID: account, Partition: "aws", ARN: "arn:aws:iam::" + account + ":role/starback/Admin",
		MaxDuration: 4 * time.Hour, DefaultDuration: time.Hour, ExternalID: "starback:7f3a",
		Tags: map[string]string{"team": "platform", "cost-center": "42"}, Permissions: tricky,
	}
	for _, c := range change {
		c(r)
	}
	return r
}

// named renames a Role, and says nothing of what its IAM role may do.
func named(name policy.RoleName) func(*policy.Role) {
	return func(r *policy.Role) { r.Name, r.Permissions, r.PermissionARNs = name, "", nil }
}

// templates are the golden ones.
var templates = map[string]struct {
	roles   []*policy.Role
	options cloud.TemplateOptions
}{
	"everything": {[]*policy.Role{admin()}, cloud.TemplateOptions{Trust: []string{baseUser}}},
	"managed-only": {
		[]*policy.Role{{
			Name: "prod-readonly", ARN: readOnly, MaxDuration: 15 * time.Minute,
			PermissionARNs: []string{"arn:aws:iam::aws:policy/job-function/ViewOnlyAccess", "arn:aws:iam::aws:policy/ReadOnlyAccess"},
		}},
		cloud.TemplateOptions{Trust: []string{baseUser}, NoBoundary: true},
	},
	"shared": {
		[]*policy.Role{
			admin(),
			admin(named("prod-blue"), func(r *policy.Role) { r.MaxDuration, r.Tags = 12*time.Hour, map[string]string{"colour": "blue"} }),
			admin(named("test-admin"), func(r *policy.Role) { r.ARN = strings.Replace(r.ARN, account, "444455556666", 1) }),
		},
		cloud.TemplateOptions{Trust: []string{baseUser, "arn:aws:iam::999988887777:role/starback-broker"}},
	},
	"untagged-china": {
		[]*policy.Role{{
			Name: "china-ops", ARN: "arn:aws-cn:iam::222233334444:role/Ops", MaxDuration: time.Hour, NoTags: true, NoSourceIdentity: true,
		}},
		cloud.TemplateOptions{
			Trust:          []string{"arn:aws-cn:iam::222233334444:role/team/starback-base"},
			Permissions:    "\n{\n \"Version\": \"2012-10-17\", \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"ec2:Describe*\", \"Resource\": \"*\"}\n}\n",
			PermissionARNs: []string{"arn:aws-cn:iam::aws:policy/ReadOnlyAccess"},
		},
	},
}

func render(t *testing.T, roles []*policy.Role, o cloud.TemplateOptions) []byte {
	t.Helper()
	text, err := cloud.RoleTemplate(roles, o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func goldenFile(name string) string { return filepath.Join("testdata", "role-"+name+".yaml") }

func TestRoleTemplate(t *testing.T) {
	for name, tt := range templates {
		t.Run(name, func(t *testing.T) {
			got := render(t, tt.roles, tt.options)
			if *update {
				if err := os.WriteFile(goldenFile(name), got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(goldenFile(name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("template (-want +got):\n%s", diff)
			}
			backwards := slices.Clone(tt.roles)
			slices.Reverse(backwards)
			if diff := cmp.Diff(string(got), string(render(t, backwards, tt.options))); diff != "" {
				t.Errorf("in another order (-want +got):\n%s", diff)
			}
		})
	}
}

// CloudFormation's own linter reads the golden templates.
func TestRoleTemplateLint(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests run no linter")
	}
	linter, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("cfn-lint is not on this machine")
	}
	args := []string{"--"}
	for name := range templates {
		args = append(args, goldenFile(name))
	}
	if said, err := exec.CommandContext(t.Context(), linter, args...).CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, said)
	}
}

// A stack is a template as CloudFormation reads it.
type stack struct {
	Resources map[string]struct {
		Type       string
		Properties struct {
			RoleName, ManagedPolicyName, Path string
			MaxSessionDuration                int
			AssumeRolePolicyDocument          trust
			PolicyDocument                    any
			PermissionsBoundary               map[string]string
			ManagedPolicyArns                 []string
			Policies                          []struct{ PolicyDocument any }
		}
	}
}

func parse(t *testing.T, text []byte) stack {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var s stack
	if err := json.Unmarshal(asJSON, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// What the policy file says of the IAM role is what CloudFormation reads.
func TestRoleTemplateSaysWhatThePolicyDoes(t *testing.T) {
	var tests = map[string]struct{ seconds, inline, managed int }{
		"everything":     {4 * 3600, 1, 0},
		"managed-only":   {3600, 0, 2},
		"shared":         {12 * 3600, 1, 0},
		"untagged-china": {3600, 1, 1},
	}
	for name, want := range tests {
		tt := templates[name]
		s := parse(t, render(t, tt.roles, tt.options))
		role := s.Resources["Role"].Properties
		arn := tt.roles[0].ARN
		if got := arn[:strings.Index(arn, ":role")] + ":role" + role.Path + role.RoleName; got != arn {
			t.Errorf("%s: the role is %s, want %s", name, got, arn)
		}
		got := struct{ seconds, inline, managed int }{role.MaxSessionDuration, len(role.Policies), len(role.ManagedPolicyArns)}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		if document := tt.roles[0].Permissions; document != "" {
			var same any
			if err := json.Unmarshal([]byte(document), &same); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(same, role.Policies[0].PolicyDocument); diff != "" {
				t.Errorf("%s: permissions (-want +got):\n%s", name, diff)
			}
		}
		boundary, ok := s.Resources["Boundary"]
		if ok == tt.options.NoBoundary || (role.PermissionsBoundary["Ref"] == "Boundary") != ok {
			t.Errorf("%s: a boundary: %v, and the role has %v", name, ok, role.PermissionsBoundary)
		}
		if arn := cloud.BoundaryARN(tt.roles[0]); ok && !strings.HasSuffix(arn, tt.roles[0].AccountID+":policy"+boundary.Properties.Path+boundary.Properties.ManagedPolicyName) {
			t.Errorf("%s: the boundary is %s in the template, and %s", name, boundary.Properties.ManagedPolicyName, arn)
		}
	}
}

func TestRoleTemplateRefuses(t *testing.T) {
	user := cloud.TemplateOptions{Trust: []string{baseUser}}
	trusting := func(arns ...string) cloud.TemplateOptions { return cloud.TemplateOptions{Trust: arns} }
	allowed := func(document string) cloud.TemplateOptions {
		return cloud.TemplateOptions{Trust: []string{baseUser}, Permissions: document}
	}
	document := func(resource string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"` + resource + `"}}`
	}
	var crowd []*policy.Role
	for i := range 60 {
		crowd = append(crowd, admin(func(r *policy.Role) { r.Name = policy.RoleName(fmt.Sprintf("%060d", i)) }))
	}
	tests := []struct {
		name    string
		roles   []*policy.Role
		options cloud.TemplateOptions
		want    string
	}{
		{"no role", nil, user, "no role to render"},
		{"not a role", []*policy.Role{admin(func(r *policy.Role) { r.ARN = baseUser })}, user, "prod-admin: .* is not the ARN of an IAM role"},
		{"two IAM roles", []*policy.Role{admin(), admin(func(r *policy.Role) { r.Name, r.ARN = "b", readOnly })}, user, "prod-admin and b|b and prod-admin"},
		{"two partitions", []*policy.Role{admin(), admin(func(r *policy.Role) { r.ARN = strings.Replace(r.ARN, "aws", "aws-cn", 1) })}, user, "partitions"},
		{"too many", crowd, user, "the trust policy has [0-9]+ characters, and AWS takes 4096"},

		{"nobody trusted", []*policy.Role{admin()}, trusting(), "nobody is trusted"},
		{"anybody trusted", []*policy.Role{admin()}, trusting("*"), `"\*" is not the ARN`},
		{"a pattern", []*policy.Role{admin()}, trusting("arn:aws:iam::999988887777:user/*"), "is not the ARN"},
		{"an account", []*policy.Role{admin()}, trusting("arn:aws:iam::999988887777:root"), "is a whole account"},
		{"a session", []*policy.Role{admin()}, trusting(baseUser, "arn:aws:sts::999988887777:assumed-role/starback-base/i-0123"), "one session of a role; give the role itself"},
		{"across partitions", []*policy.Role{admin()}, trusting("arn:aws-cn:iam::999988887777:user/starback-base"), "another partition"},
		{"no partition", []*policy.Role{admin()}, trusting("arn:aws-nowhere:iam::999988887777:user/starback-base"), "is not the ARN"},

		{"no permissions", []*policy.Role{admin(named("a"))}, user, "a: nothing says what the IAM role may do: .*`permissions` or `permission_arns`"},
		{"two permissions", []*policy.Role{admin(), admin(func(r *policy.Role) { r.Name, r.Permissions = "x", document("*") })}, user, "prod-admin and x .* differ in `permissions`"},
		{"more permissions", []*policy.Role{admin(), admin(func(r *policy.Role) { r.Name, r.PermissionARNs = "x", []string{"arn:aws:iam::aws:policy/A"} })}, user, "differ"},
		{"another external id", []*policy.Role{admin(), admin(named("x"), func(r *policy.Role) { r.ExternalID = "" })}, user, "prod-admin and x .* agree in `external_id`"},
		{"other tags", []*policy.Role{admin(), admin(named("x"), func(r *policy.Role) { r.NoTags = true })}, user, "agree"},
		{"another source identity", []*policy.Role{admin(), admin(named("x"), func(r *policy.Role) { r.NoSourceIdentity = true })}, user, "agree"},

		{"not JSON", []*policy.Role{admin()}, allowed("Version: 1"), "not an IAM policy document"},
		{"JSON and more", []*policy.Role{admin()}, allowed(document("*") + "{}"), "not an IAM policy document"},
		{"a list", []*policy.Role{admin()}, allowed("[]"), "not an IAM policy document"},
		{"no version", []*policy.Role{admin()}, allowed(`{"Statement":[]}`), "Version"},
		{"no statement", []*policy.Role{admin()}, allowed(`{"Version":"2012-10-17"}`), "Statement"},
		{"an escape", []*policy.Role{admin()}, allowed(document(`\u00e9`)), `the escape \\u`},
		{"a slash escaped", []*policy.Role{admin()}, allowed(document(`arn:aws:s3:::\/`)), `the escape \\/`},
		{"beyond Latin-1", []*policy.Role{admin()}, allowed(document("…")), `beyond U\+00FF`},
		{"a control character", []*policy.Role{admin()}, allowed(document("\x7f")), "control characters"},
		{"too long", []*policy.Role{admin()}, allowed(document(strings.Repeat("x", 10240))), "characters without white space, and AWS takes 10240"},
		{"not a policy", []*policy.Role{admin()}, cloud.TemplateOptions{Trust: []string{baseUser}, PermissionARNs: []string{readOnly}}, "not the ARN of a managed policy"},
		{"another partition's policy", []*policy.Role{admin()},
			cloud.TemplateOptions{Trust: []string{baseUser}, PermissionARNs: []string{"arn:aws-cn:iam::aws:policy/A"}}, "not the ARN of a managed policy in the partition aws"},
	}
	for _, tt := range tests {
		got, err := cloud.RoleTemplate(tt.roles, tt.options)
		if err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
		if got != nil {
			t.Errorf("%s: a template all the same", tt.name)
		}
	}
}

// Options say better than the policy what the IAM role may do.
func TestRoleTemplateOptionsWin(t *testing.T) {
	s := parse(t, render(t, []*policy.Role{admin()}, cloud.TemplateOptions{
		Trust: []string{baseUser, baseUser}, PermissionARNs: []string{"arn:aws:iam::aws:policy/B", "arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"},
	}))
	role := s.Resources["Role"].Properties
	if want := []string{"arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"}; !slices.Equal(role.ManagedPolicyArns, want) || role.Policies != nil {
		t.Errorf("managed policies %v, inline ones %v", role.ManagedPolicyArns, role.Policies)
	}
	if got := role.AssumeRolePolicyDocument.Statement[0].Principal["AWS"]; !slices.Equal(got, []string{baseUser}) {
		t.Errorf("trusts %v", got)
	}
}

// A trust is a trust policy.
type trust struct {
	Version   string
	Statement []struct {
		Sid, Effect, Action string
		Principal           map[string]oneOrMore
		Condition           map[string]map[string]oneOrMore
	}
}

// OneOrMore values need no brackets in IAM's documents when they are one.
type oneOrMore []string

func (v *oneOrMore) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(v))
	}
	*v = make(oneOrMore, 1)
	return json.Unmarshal(b, &(*v)[0])
}

// keysOf are the condition keys that AWS documents for an action, of those that
// a call to AssumeRole can carry.
var keysOf = map[string]*regexp.Regexp{
	"sts:AssumeRole":        regexp.MustCompile(`^(sts:(ExternalId|RoleSessionName|SourceIdentity)|aws:RequestTag/.+|aws:TagKeys)$`),
	"sts:TagSession":        regexp.MustCompile(`^(aws:RequestTag/.+|aws:TagKeys)$`),
	"sts:SetSourceIdentity": regexp.MustCompile(`^sts:SourceIdentity$`),
}

// lets says whether the trust policy lets principal make a call, as IAM works
// it out: every action that the call comes to needs a statement that allows it.
func (p trust) lets(t *testing.T, principal string, call sandbox.Call, externalID string) bool {
	t.Helper()
	values := map[string][]string{"sts:RoleSessionName": {call.SessionName}}
	actions := []string{"sts:AssumeRole"}
	if externalID != "" {
		values["sts:ExternalId"] = []string{externalID}
	}
	if call.SourceIdentity != "" {
		values["sts:SourceIdentity"] = []string{call.SourceIdentity}
		actions = append(actions, "sts:SetSourceIdentity")
	}
	if len(call.Tags) > 0 {
		values["aws:TagKeys"] = slices.Collect(maps.Keys(call.Tags))
		actions = append(actions, "sts:TagSession")
	}
	for key, value := range call.Tags {
		values["aws:RequestTag/"+key] = []string{value}
	}
	return !slices.ContainsFunc(actions, func(action string) bool { return !p.allows(t, principal, action, values) })
}

func (p trust) allows(t *testing.T, principal, action string, values map[string][]string) bool {
	t.Helper()
	for _, s := range p.Statement {
		if s.Effect != "Allow" || s.Action != action || !slices.Contains(s.Principal["AWS"], principal) {
			continue
		}
		holds := true
		for operator, tests := range s.Condition {
			for key, patterns := range tests {
				if !keysOf[action].MatchString(key) {
					t.Errorf("%s has no key %s: the statement %s would always refuse it", action, key, s.Sid)
				}
				some := func(value string) bool {
					return slices.ContainsFunc(patterns, func(p string) bool { return p == value || operator == "StringLike" && like(p, value) })
				}
				switch operator {
				case "StringEquals", "StringLike":
					holds = holds && len(values[key]) == 1 && some(values[key][0])
				case "ForAllValues:StringEquals":
					holds = holds && !slices.ContainsFunc(values[key], func(value string) bool { return !some(value) })
				default:
					t.Fatalf("the operator %s is not known here", operator)
				}
			}
		}
		if holds {
			return true
		}
	}
	return false
}

// like matches a pattern of IAM's: * for anything, ? for one character.
func like(pattern, value string) bool {
	expression := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`^(?:` + expression + `)$`).MatchString(value)
}

// The trust policy lets in Starback's own call and no other. What is sent is
// what AWS got of it.
func TestTrust(t *testing.T) {
	w := newWorld(t)
	m := newMinter(t, w.config())
	blue := admin(named("prod-blue"))
	full := parse(t, render(t, []*policy.Role{admin(), blue}, cloud.TemplateOptions{Trust: []string{w.user.ARN}})).Resources["Role"].Properties.AssumeRolePolicyDocument
	plainRole := admin(func(r *policy.Role) {
		r.ARN, r.NoTags, r.NoSourceIdentity, r.ExternalID, r.Tags = untagged, true, true, "", nil
	})
	plain := parse(t, render(t, []*policy.Role{plainRole}, cloud.TemplateOptions{Trust: []string{w.user.ARN}})).Resources["Role"].Properties.AssumeRolePolicyDocument
	w.AddRole(sandbox.Role{
		ARN: admin().ARN, MaxSessionDuration: 4 * time.Hour,
		Trust: sandbox.Trust{Principals: full.Statement[0].Principal["AWS"], TagSession: true, SetSourceIdentity: true, ExternalID: "starback:7f3a"},
	})
	a := assumption(admin().ARN)
	a.Role, a.SourceIdentity = admin(), "alice"
	a.Tags = map[string]string{"starback:user": "alice", "starback:request": "R", "starback:role": "prod-admin", "team": "platform", "cost-center": "42"}
	if _, err := m.AssumeRole(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	calls := w.Calls()
	sent := calls[len(calls)-1]
	with := func(change func(*sandbox.Call)) sandbox.Call {
		c := sent
		c.Tags = maps.Clone(sent.Tags)
		change(&c)
		return c
	}
	tag := func(key, value string) sandbox.Call { return with(func(c *sandbox.Call) { c.Tags[key] = value }) }
	without := func(key string) sandbox.Call { return with(func(c *sandbox.Call) { delete(c.Tags, key) }) }
	bare := sandbox.Call{SessionName: "alice@01K"}
	tests := []struct {
		name  string
		trust trust
		who   string
		call  sandbox.Call
		id    string // the external id
		want  bool
	}{
		{"Starback's own call", full, w.user.ARN, sent, "starback:7f3a", true},
		{"the other role of the same IAM role", full, w.user.ARN, tag("starback:role", "prod-blue"), "starback:7f3a", true},
		{"no tags of the role's own", full, w.user.ARN, with(func(c *sandbox.Call) { delete(c.Tags, "team"); delete(c.Tags, "cost-center") }), "starback:7f3a", true},
		{"somebody else", full, "arn:aws:iam::999988887777:user/mallory", sent, "starback:7f3a", false},
		{"no external id", full, w.user.ARN, sent, "", false},
		{"another external id", full, w.user.ARN, sent, "starback:7f3b", false},
		{"for another role", full, w.user.ARN, tag("starback:role", "prod-readonly"), "starback:7f3a", false},
		{"for no role", full, w.user.ARN, without("starback:role"), "starback:7f3a", false},
		{"without a request", full, w.user.ARN, without("starback:request"), "starback:7f3a", false},
		{"with an empty request", full, w.user.ARN, tag("starback:request", ""), "starback:7f3a", false},
		{"without a user", full, w.user.ARN, without("starback:user"), "starback:7f3a", false},
		{"with another tag", full, w.user.ARN, tag("department", "finance"), "starback:7f3a", false},
		{"without tags", full, w.user.ARN, with(func(c *sandbox.Call) { c.Tags = nil }), "starback:7f3a", false},
		{"without a source identity", full, w.user.ARN, with(func(c *sandbox.Call) { c.SourceIdentity = "" }), "starback:7f3a", false},
		{"with a session name of its own", full, w.user.ARN, with(func(c *sandbox.Call) { c.SessionName = "debugging" }), "starback:7f3a", false},

		{"plain: Starback's own call", plain, w.user.ARN, bare, "", true},
		{"plain: somebody else", plain, baseUser, bare, "", false},
		{"plain: a session name of its own", plain, w.user.ARN, sandbox.Call{SessionName: "debugging"}, "", false},
		{"plain: with a source identity", plain, w.user.ARN, sandbox.Call{SessionName: "alice@01K", SourceIdentity: "alice"}, "", false},
		{"plain: with a tag", plain, w.user.ARN, sandbox.Call{SessionName: "alice@01K", Tags: map[string]string{"team": "x"}}, "", false},
	}
	for _, tt := range tests {
		if got := tt.trust.lets(t, tt.who, tt.call, tt.id); got != tt.want {
			t.Errorf("%s: let in: %v, want %v", tt.name, got, tt.want)
		}
	}
}
