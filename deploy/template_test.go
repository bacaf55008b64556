package deploy_test

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What stands for the account that the template would be deployed to.
var pseudo = map[string]string{
	"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012", "AWS::URLSuffix": "amazonaws.com",
}

// A template is the synthesised CloudFormation template.
type template struct {
	Resources map[string]struct {
		Type           string
		Properties     map[string]any
		DeletionPolicy string
	}
}

// synthesise packages serverless.yml for the stage prod.
func synthesise(t *testing.T) template {
	t.Helper()
	if testing.Short() {
		t.Skip("unit tests package nothing")
	}
	if _, err := exec.LookPath("npm"); err != nil {
		if os.Getenv("STARBACK_REQUIRE_ENGINES") != "" {
			t.Fatal("npm is not on this machine")
		}
		t.Skip("npm is not on this machine, so osls cannot be installed")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	artifact := filepath.Join(root, "dist", "lambda.zip")
	if _, err := os.Stat(artifact); err != nil {
		emptyZip(t, artifact)
	}
	cmd := exec.Command(filepath.Join(root, "scripts", "osls"))
	osls, err := cmd.Output()
	if err != nil {
		t.Fatalf("installing osls: %v", err)
	}
	out := t.TempDir()
	pack := exec.Command(strings.TrimSpace(string(osls)), "package", "--stage", "prod", "--param=slackTeams=T012AB", "--param=auditChannel=C012AB", "--param=approvalsChannel=C034CD", "--package", out)
	pack.Dir = root
	pack.Env = append(os.Environ(), "SLS_TELEMETRY_DISABLED=1")
	if said, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("osls package: %v\n%s", err, said)
	}
	file := filepath.Join(out, "cloudformation-template-update-stack.json")
	lint(t, file)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tpl template
	if err := json.Unmarshal(raw, &tpl); err != nil {
		t.Fatal(err)
	}
	return tpl
}

// emptyZip stands in for the functions, which the template only names.
func emptyZip(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	if _, err := w.Create("bootstrap"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
}

// lint runs cfn-lint, where the machine has it.
func lint(t *testing.T, file string) {
	t.Helper()
	linter, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Log("cfn-lint is not on this machine")
		return
	}
	if said, err := exec.Command(linter, "-i", "W3005", "--", file).CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, said)
	}
}

// resolve writes a template value as the string it will be.
func (tpl template) resolve(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		if sub, ok := v["Fn::Sub"].(string); ok {
			return placeholder.ReplaceAllStringFunc(sub, func(p string) string { return pseudo[p[2:len(p)-1]] })
		}
		if ref, ok := v["Ref"].(string); ok {
			return pseudo[ref]
		}
		if get, ok := v["Fn::GetAtt"].([]any); ok && len(get) == 2 && get[1] == "Arn" {
			return tpl.arn(fmt.Sprint(get[0]))
		}
	}
	return fmt.Sprintf("unresolved %v", v)
}

var placeholder = regexp.MustCompile(`\$\{[A-Za-z:]+\}`)

// arn is the ARN that a resource will have.
func (tpl template) arn(id string) string {
	r := tpl.Resources[id]
	switch r.Type {
	case "AWS::IAM::Role":
		return "arn:aws:iam::123456789012:role/" + tpl.resolve(r.Properties["RoleName"])
	case "AWS::SQS::Queue":
		return "arn:aws:sqs:eu-west-1:123456789012:" + tpl.resolve(r.Properties["QueueName"])
	}
	return "unresolved " + id
}

// A statement is one statement of a policy, with everything resolved.
type statement struct {
	sid, effect                    string
	actions, resources, principals []string
	conditions                     map[string][]string // of StringEquals
}

// statements reads a policy document. Whatever the evaluator does not know is
// an error: it must not be taken for less than it is.
func (tpl template) statements(t *testing.T, doc any) []statement {
	t.Helper()
	var out []statement
	for _, raw := range doc.(map[string]any)["Statement"].([]any) {
		s := statement{conditions: map[string][]string{}}
		for key, value := range raw.(map[string]any) {
			switch key {
			case "Sid":
				s.sid = value.(string)
			case "Effect":
				s.effect = value.(string)
			case "Action":
				s.actions = tpl.list(value)
			case "Resource":
				s.resources = tpl.list(value)
			case "Principal":
				for kind, who := range value.(map[string]any) {
					for _, name := range tpl.list(who) {
						s.principals = append(s.principals, kind+":"+name)
					}
				}
			case "Condition":
				for operator, tests := range value.(map[string]any) {
					if operator != "StringEquals" {
						t.Fatalf("statement %s: the evaluator does not know %s", s.sid, operator)
					}
					for name, want := range tests.(map[string]any) {
						s.conditions[name] = tpl.list(want)
					}
				}
			default:
				t.Fatalf("statement %s: the evaluator does not know %s", s.sid, key)
			}
		}
		out = append(out, s)
	}
	return out
}

func (tpl template) list(v any) []string {
	values, ok := v.([]any)
	if !ok {
		return []string{tpl.resolve(v)}
	}
	var out []string
	for _, each := range values {
		out = append(out, tpl.resolve(each))
	}
	return out
}

// matches says whether the statement speaks of a call.
func (s statement) matches(action, resource string, context map[string]string) bool {
	if !slices.ContainsFunc(s.actions, func(p string) bool { return wild(strings.ToLower(p), strings.ToLower(action)) }) {
		return false
	}
	if !slices.ContainsFunc(s.resources, func(p string) bool { return wild(p, resource) }) {
		return false
	}
	for name, want := range s.conditions {
		if !slices.Contains(want, context[name]) {
			return false
		}
	}
	return true
}

// wild matches IAM's patterns: * for anything, ? for one character.
func wild(pattern, s string) bool {
	re := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`^` + re + `$`).MatchString(s)
}

// may evaluates a call by a function's role: what its own policies allow, and
// for KMS what the key's policy allows it. An explicit Deny wins.
func (tpl template) may(t *testing.T, role, action, resource string, context map[string]string) bool {
	t.Helper()
	allowed := false
	apply := func(statements []statement, applies func(statement) bool) bool {
		for _, s := range statements {
			if !applies(s) || !s.matches(action, resource, context) {
				continue
			}
			if s.effect == "Deny" {
				return false
			}
			allowed = true
		}
		return true
	}
	for _, p := range tpl.Resources[role].Properties["Policies"].([]any) {
		if !apply(tpl.statements(t, p.(map[string]any)["PolicyDocument"]), func(statement) bool { return true }) {
			return false
		}
	}
	if strings.HasPrefix(action, "kms:") {
		me := "AWS:" + tpl.arn(role)
		if !apply(tpl.statements(t, tpl.Resources["Key"].Properties["KeyPolicy"]), func(s statement) bool { return slices.Contains(s.principals, me) }) {
			return false
		}
	}
	return allowed
}

// everyRole are the roles that the template makes, by name.
func (tpl template) everyRole() []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(tpl.Resources)) {
		if tpl.Resources[id].Type == "AWS::IAM::Role" {
			out = append(out, id)
		}
	}
	return out
}
