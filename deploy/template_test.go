package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What stands for the account that the template would be deployed to.
var pseudo = map[string]string{
	"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012", "AWS::URLSuffix": "amazonaws.com",
}

// A template is the synthesised CloudFormation template.
type template struct {
	Resources map[string]struct {
		Type                                string
		Properties                          map[string]any
		DeletionPolicy, UpdateReplacePolicy string
	}
}

// synthesise returns serverless.yml as osls packages it for the stage prod.
func synthesise(t *testing.T) template {
	t.Helper()
	var tpl template
	if err := json.Unmarshal(synthesised(t), &tpl); err != nil {
		t.Fatal(err)
	}
	return tpl
}

// synthesised is the template as osls writes it, which it does once for all
// tests.
func synthesised(t *testing.T) []byte {
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
	raw, err := packageOnce()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var packageOnce = sync.OnceValues(func() ([]byte, error) {
	osls, err := exec.Command("../scripts/osls").Output()
	if err != nil {
		return nil, fmt.Errorf("installing osls: %w", err)
	}
	service, err := copyService()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(service)
	pack := exec.Command(strings.TrimSpace(string(osls)), "package", "--stage", "prod", "--param=slackTeams=T012AB", "--param=auditChannel=C012AB",
		"--param=approvalsChannel=C034CD", "--param=base=ssm:/starback/prod/base", "--package", "out")
	pack.Dir = service
	pack.Env = append(os.Environ(), "SLS_TELEMETRY_DISABLED=1")
	if said, err := pack.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("osls package: %w\n%s", err, said)
	}
	return os.ReadFile(filepath.Join(service, "out", "cloudformation-template-update-stack.json"))
})

// copyService makes a folder with the service in it, and empty files for the
// programs, which the template only names.
func copyService() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "starback-service-"); err != nil {
		return "", err
	}
	raw, err := os.ReadFile("../serverless.yml")
	if err != nil {
		return "", err
	}
	archives := filepath.Join(folder, "dist")
	return folder, errors.Join(
		os.WriteFile(filepath.Join(folder, "serverless.yml"), raw, 0o600),
		os.CopyFS(filepath.Join(folder, "deploy", "aws"), os.DirFS("aws")),
		os.MkdirAll(archives, 0o755),
		os.WriteFile(filepath.Join(archives, "lambda.zip"), nil, 0o600),
		os.WriteFile(filepath.Join(archives, "front.zip"), nil, 0o600),
	)
}

// TestLint has cfn-lint read the template, where the machine has it.
func TestLint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "template.json")
	if err := os.WriteFile(file, synthesised(t), 0o600); err != nil {
		t.Fatal(err)
	}
	lint(t, file)
}

// lint runs cfn-lint, where the machine has it.
func lint(t *testing.T, file string) {
	t.Helper()
	linter, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("cfn-lint is not on this machine")
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
			return placeholder.ReplaceAllStringFunc(sub, func(p string) string { return tpl.ref(p[2 : len(p)-1]) })
		}
		if ref, ok := v["Ref"].(string); ok {
			return tpl.ref(ref)
		}
		if get, ok := v["Fn::GetAtt"].([]any); ok && len(get) == 2 && get[1] == "Arn" {
			return tpl.arn(fmt.Sprint(get[0]))
		}
		if join, ok := v["Fn::Join"].([]any); ok && len(join) == 2 {
			return strings.Join(tpl.list(join[1]), fmt.Sprint(join[0]))
		}
	}
	return fmt.Sprintf("unresolved %v", v)
}

var placeholder = regexp.MustCompile(`\$\{[A-Za-z:]+\}`)

// ref is what Ref gives: of a resource, something to know it by.
func (tpl template) ref(name string) string {
	if value, ok := pseudo[name]; ok {
		return value
	}
	return "ref-" + name
}

// arn is the ARN that a resource will have.
func (tpl template) arn(id string) string {
	r := tpl.Resources[id]
	switch r.Type {
	case "AWS::IAM::Role":
		return "arn:aws:iam::123456789012:role/" + tpl.resolve(r.Properties["RoleName"])
	case "AWS::SQS::Queue":
		return "arn:aws:sqs:eu-west-1:123456789012:" + tpl.resolve(r.Properties["QueueName"])
	case "AWS::Lambda::Function":
		return "arn:aws:lambda:eu-west-1:123456789012:function:" + tpl.resolve(r.Properties["FunctionName"])
	}
	return "arn-of-" + id
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

// every are the resources of a type, by name.
func (tpl template) every(kind string) []string {
	var out []string
	for id, r := range tpl.Resources {
		if r.Type == kind {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
