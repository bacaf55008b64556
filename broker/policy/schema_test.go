package policy_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
)

// schemaObjects are the mappings of a policy file: where the schema has each,
// how the parser calls it, and a file with a key in it.
var schemaObjects = []struct{ def, name, file string }{
	{"", "the file", "%q: x"},
	{"settings", "`settings`", "settings: {%q: x}"},
	{"account", "the account ", "accounts: {a: {%q: x}}"},
	{"group", "the group ", "groups: {g: {%q: x}}"},
	{"grant", "the grant", "groups: {g: {grants: [{%q: x}]}}"},
	{"role", "the role ", "roles: {r: {%q: x}}"},
	{"approval", "`approval`", "roles: {r: {approval: {%q: x}}}"},
	{"file", "a document", "roles: {r: {permissions: {%q: x, file: x}}}"},
	{"policy", "policyKeys", "roles: {r: {session_policy: {%q: x}}}"},
	{"statement", "statementKeys", "roles: {r: {session_policy: {Statement: {%q: x}}}}"},
	{"user", "the user ", "users: {u: {%q: x}}"},
}

func readSchema(t *testing.T) map[string]any {
	t.Helper()
	var schema map[string]any
	if err := json.Unmarshal(policy.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// schemaKeys returns the keys that the schema knows of a mapping.
func schemaKeys(t *testing.T, schema map[string]any, def string) []string {
	t.Helper()
	if def != "" {
		schema = schema["$defs"].(map[string]any)[def].(map[string]any)
	}
	if schema["additionalProperties"] != false {
		t.Errorf("the schema takes any key in %q", def)
	}
	return slices.Sorted(maps.Keys(schema["properties"].(map[string]any)))
}

// TestSchemaKeys checks that the parser knows just the keys that the schema
// does.
func TestSchemaKeys(t *testing.T) {
	schema, known := readSchema(t), parserKeys(t)
	for _, o := range schemaObjects {
		keys := schemaKeys(t, schema, o.def)
		if diff := cmp.Diff(known[o.name], keys); diff != "" {
			t.Errorf("keys of %s (-parser +schema):\n%s", o.name, diff)
		}
		delete(known, o.name)
		for _, key := range keys {
			if unknownKey(o.file, key) {
				t.Errorf("the parser does not know %s in %s", key, o.name)
			}
			if !unknownKey(o.file, key+"x") {
				t.Errorf("the parser knows %sx in %s", key, o.name)
			}
		}
	}
	if len(known) > 0 {
		t.Errorf("the schema does not know %v", known)
	}
}

func unknownKey(file, key string) bool {
	_, err := policy.Parse("policy.yaml", fmt.Appendf(nil, file, key), nil)
	return err != nil && strings.Contains(err.Error(), fmt.Sprintf("unknown key `%s`", key))
}

// parserKeys collects the keys of every call of form or formElse, and the two lists of an
// IAM policy document, by what each is called.
func parserKeys(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{}
	for _, file := range []string{"parse.go", "form.go", "users.go", "session.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || f.Sel.Name != "form" && f.Sel.Name != "formElse" {
					return true
				}
				args := n.Args
				if f.Sel.Name == "formElse" {
					args = args[1:]
				}
				keys, name := literals(args[2:]...), "a document"
				if texts := literals(args[0]); len(texts) > 0 {
					name = texts[0]
				}
				if len(keys) > 0 { // else form hands on what it is given
					known[name] = slices.Sorted(slices.Values(keys))
				}
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if name.Name == "policyKeys" || name.Name == "statementKeys" {
						known[name.Name] = slices.Sorted(slices.Values(literals(n.Values[i])))
					}
				}
			}
			return true
		})
	}
	return known
}

// literals returns the string literals of some expressions.
func literals(list ...ast.Expr) []string {
	var texts []string
	for _, e := range list {
		ast.Inspect(e, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				texts = append(texts, text)
			}
			return true
		})
	}
	return texts
}

// readAll returns the files whose names match a pattern.
func readAll(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	return files
}

var wholePolicy = regexp.MustCompile("(?s)```yaml\n(version: 1\n.*?)```")

// TestSchemaValid checks that the schema takes what the parser takes: the good
// files, and every policy that the documentation shows whole.
func TestSchemaValid(t *testing.T) {
	files, shown := readAll(t, "testdata/good/*.yaml"), 0
	for name, page := range readAll(t, "../../docs/*.md") {
		for _, block := range wholePolicy.FindAllSubmatch(page, -1) {
			shown++
			files[fmt.Sprintf("%s, policy %d", name, shown)] = block[1]
		}
	}
	if shown == 0 {
		t.Error("no page shows a policy")
	}
	for name, src := range files {
		for _, problem := range validate(t, src) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// TestSchemaInvalid checks that the schema refuses what is wrong with a single
// value or key. It need not refuse what takes more to see.
func TestSchemaInvalid(t *testing.T) {
	for name, want := range map[string]int{
		"accounts": 6, "approval": 4, "durations": 3, "empty-admins": 1, "groups": 4, "names": 3, "no-admins": 1,
		"no-version": 1, "operators": 1, "permissions": 3, "rules": 5, "session-arns": 2, "session-inline": 1,
		"settings": 4, "shapes": 2, "tags": 8, "targets": 4, "unknown-key": 3, "users": 6, "version": 1,
	} {
		src, err := os.ReadFile("testdata/bad/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if problems := validate(t, src); len(problems) < want {
			t.Errorf("%s: the schema finds %q, want %d problems or more", name, problems, want)
		}
	}
}

// validate returns what the schema has against a policy file.
func validate(t *testing.T, src []byte) []string {
	t.Helper()
	var file any
	if err := yaml.UnmarshalWithOptions(src, &file, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(file) // so that there is one kind of number
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(b, &value); err != nil {
		t.Fatal(err)
	}
	v := validator{root: readSchema(t)}
	v.check("", v.root, value)
	return v.problems
}
