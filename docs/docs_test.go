// Package docs_test keeps the documentation true where a machine can tell.
package docs_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// pages are all pages of the project, from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"../*.md", "*.md", "*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			out[file] = read(t, file)
		}
	}
	if len(out) < 5 {
		t.Fatalf("there are only %d pages", len(out))
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section is what a page says under a heading, up to the next of the same
// rank.
func section(t *testing.T, file, heading string) string {
	t.Helper()
	_, text, ok := strings.Cut(read(t, file), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", file, heading)
	}
	rank, _, _ := strings.Cut(heading, " ")
	text, _, _ = strings.Cut(text, "\n"+rank+" ")
	return text
}

// A policy shown whole may begin with its file's name.
var yamlBlock = regexp.MustCompile("(?s)```yaml\n(?:# [^\n]*\n)?(version: 1\n.*?)```")

// written is before whatever the pages have end.
var written = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// TestPolicies parses every policy that the pages show whole.
func TestPolicies(t *testing.T) {
	found := 0
	for file, text := range pages(t) {
		for _, block := range yamlBlock.FindAllStringSubmatch(text, -1) {
			found++
			parsed, err := policy.Parse(file, []byte(block[1]), func(string) ([]byte, error) {
				return []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`), nil
			})
			if err != nil {
				t.Errorf("a policy in %s: %v", file, err)
				continue
			}
			for _, w := range parsed.Warnings(written) {
				t.Errorf("a policy in %s: %v", file, w)
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a policy")
	}
	file, err := policy.Load(os.DirFS("policy-repository"), "policy.yaml")
	if err != nil {
		t.Fatalf("the example of a repository: %v", err)
	}
	for _, w := range file.Warnings(written) {
		t.Errorf("the example of a repository: %v", w)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows every relative link, to the page and to the heading.
func TestLinks(t *testing.T) {
	for file, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(m[1], "://") {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
			}
			there, err := os.ReadFile(path)
			if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s: a dead link: %s", file, m[1])
			} else if anchor != "" && !hasHeading(string(there), anchor) {
				t.Errorf("%s: no such heading: %s", file, m[1])
			}
		}
	}
}

// hasHeading says whether a page has a heading that GitHub gives the anchor.
func hasHeading(page, anchor string) bool {
	for line := range strings.Lines(page) {
		title, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " ")
		if ok && strings.HasPrefix(line, "#") && slug(title) == anchor {
			return true
		}
	}
	return false
}

var notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

func slug(title string) string {
	return strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
}

// TestNames finds every name that people come across on the page that explains
// it.
func TestNames(t *testing.T) {
	for _, tt := range []struct {
		what, page, heading string
		names               []string
	}{
		{"event", "audit.md", "## The events", constants(t, "../broker", "EventName")},
		{"field of an event", "audit.md", "## The schema", fields(reflect.TypeFor[broker.Event]())},
		{"rule", "administration.md", "## Refusals", slices.Concat(constants(t, "../broker", "Rule"), constants(t, "../broker/policy", "Rule"))},
		{"fault", "runbooks.md", "## AWS refuses", constants(t, "../broker", "FaultCode")},
		{"code", "applications.md", "## When it refuses", constants(t, "../api", "code")},
		{"state", "design.md", "## Approval", constants(t, "../broker", "State")},
		{"key", "policy-file.md", "## Keys", keys(t)},
		{"command", "administration.md", "## Every feature, and its command", operations()},
	} {
		text := section(t, tt.page, tt.heading)
		if len(tt.names) < 5 {
			t.Errorf("there are only %d names of a %s", len(tt.names), tt.what)
		}
		for _, name := range tt.names {
			if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "`"+name+" ") {
				t.Errorf("%s: nothing is said of the %s `%s` under %q", tt.page, tt.what, name, tt.heading)
			}
		}
	}
}

// TestCalls finds every call of the interface for applications on its page.
func TestCalls(t *testing.T) {
	_, text, _ := strings.Cut(read(t, "../api/testdata/answers/openapi.txt"), "\n\n")
	var described struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(text), &described); err != nil {
		t.Fatal(err)
	}
	said := section(t, "applications.md", "## What else there is")
	calls := 0
	for path, methods := range described.Paths {
		for method := range methods {
			calls++
			if call := strings.ToUpper(method) + " " + path; !strings.Contains(said, "`"+call+"`") {
				t.Errorf("applications.md does not tell of %s", call)
			}
		}
	}
	if calls < 5 {
		t.Errorf("there are only %d calls", calls)
	}
}

// constants returns the values of a package's constants of a type.
func constants(t *testing.T, folder, typeName string) (values []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			name := ""
			switch named := spec.Type.(type) {
			case *ast.Ident:
				name = named.Name
			case *ast.SelectorExpr:
				name = named.Sel.Name
			}
			for _, v := range spec.Values {
				if text, ok := v.(*ast.BasicLit); ok && name == typeName && text.Kind == token.STRING {
					value, err := strconv.Unquote(text.Value)
					if err != nil {
						t.Fatal(err)
					}
					values = append(values, value)
				}
			}
			return true
		})
	}
	return values
}

// fields returns the names that a struct's fields have in JSON.
func fields(of reflect.Type) (names []string) {
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// keys returns every key of a policy file.
func keys(t *testing.T) []string {
	t.Helper()
	var schema any
	if err := json.Unmarshal(policy.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, sub := range node {
				walk(sub)
			}
		case map[string]any:
			properties, _ := node["properties"].(map[string]any)
			for key := range properties {
				found[key] = true
			}
			for _, sub := range node {
				walk(sub)
			}
		}
	}
	walk(schema)
	// Keys with capital letters are IAM's, and IAM's to explain.
	return slices.DeleteFunc(slices.Sorted(maps.Keys(found)), func(key string) bool { return key != strings.ToLower(key) })
}

// operations returns every change, by the words that ask for it.
func operations() (words []string) {
	for _, c := range broker.Commands {
		words = append(words, "starback "+string(c.Op))
	}
	return words
}

var goFile = regexp.MustCompile("`([a-z/]+[.]go)`")

// TestReveal finds the table of where secrets are revealed complete, and
// nothing else in it.
func TestReveal(t *testing.T) {
	var listed, calls []string
	for _, m := range goFile.FindAllStringSubmatch(section(t, "design.md", "## Secrets"), -1) {
		listed = append(listed, m[1])
	}
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != ".":
			return fs.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && path != "broker/secret.go" &&
			strings.Contains(read(t, filepath.Join("..", path)), ".Reveal()"):
			calls = append(calls, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(listed)
	slices.Sort(calls)
	if diff := cmp.Diff(calls, slices.Compact(listed)); diff != "" {
		t.Errorf("where Reveal is called, and where design.md says so:\n%s", diff)
	}
}

var required = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)

// TestDependencies finds every module that go.mod requires directly.
func TestDependencies(t *testing.T) {
	text := read(t, "dependencies.md")
	found := required.FindAllStringSubmatch(read(t, "../go.mod"), -1)
	if len(found) < 10 {
		t.Fatalf("go.mod requires only %d modules", len(found))
	}
	for _, m := range found {
		module := strings.TrimPrefix(m[1], "github.com/aws/aws-sdk-go-v2/")
		if !strings.Contains(text, "`"+module+"`") {
			t.Errorf("dependencies.md does not say what %s is for", m[1])
		}
	}
}

// features are what user and access management is for, by the words that its
// rows begin with.
var features = []string{
	"Define roles using IAM policies",
	"Create users with expiring access tokens",
	"Assign users into groups",
	"Assign roles to groups of users and/or individuals",
	"Cascading roles",
	"Automatic application access management",
}

// TestFeatures finds a row for every feature of administering, and in it a
// command that there is.
func TestFeatures(t *testing.T) {
	commands := map[string][]string{} // by what the row begins with, in bold
	for line := range strings.Lines(section(t, "administration.md", "## Every feature, and its command")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		name, bold := strings.CutPrefix(line, "| **")
		if !bold {
			continue
		}
		name, _, _ = strings.Cut(name, "**")
		if len(cells) != 6 {
			t.Fatalf("the row of %q has %d cells", name, len(cells)-2)
		}
		for _, m := range inShell.FindAllStringSubmatch(cells[3], -1) {
			commands[name] = append(commands[name], strings.Join(commandWords(m[1]), " "))
		}
		if len(commands[name]) == 0 {
			t.Errorf("no command is named for %q", name)
		}
	}
	if len(commands) < 15 {
		t.Errorf("there are only %d features", len(commands))
	}
	for _, feature := range features {
		found := false
		for name, named := range commands {
			if strings.HasPrefix(name, feature) {
				found = slices.ContainsFunc(named, func(path string) bool { return helpOn(t, path) != "" })
			}
		}
		if !found {
			t.Errorf("there is no row, or no command, for %q", feature)
		}
	}
}
