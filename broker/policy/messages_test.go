package policy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/starback/starback/broker/policy"
)

// reporters are the methods that report something, and the place of the format
// among their arguments. suggesters are the functions that make a suggestion,
// and the place of its words.
var (
	reporters  = map[string]int{"add": 2, "report": 2, "missing": 2, "refuse": 2}
	suggesters = map[string]int{"hint": 0, "didYouMean": 2, "nearestKey": 2}
)

// unprovoked are the messages that no small file provokes. Tests beside the
// package's files do.
var unprovoked = map[string]bool{
	"the YAML cannot be read: the reader failed with %s": true, // TestLibraryPanics
	"more than %d parts are in one entry":                true, // TestManyTokens
	"begin each entry of a section on a line of its own": true,
	"take parts out until it can":                        true,
}

// TestMessages checks that every message of the package is provoked by some
// test, and so was read by somebody.
func TestMessages(t *testing.T) {
	refused := golden(t, "bad") + provoked(t)
	warned := golden(t, "warn")
	for _, file := range []string{"check.go", "cycles.go", "form.go", "json.go", "parse.go", "session.go", "tree.go", "users.go", "yaml.go"} {
		checkMessages(t, file, refused)
	}
	for _, file := range []string{"warn.go", "warn_time.go"} {
		checkMessages(t, file, warned)
	}
}

// golden returns all golden files of a folder.
func golden(t *testing.T, folder string) string {
	t.Helper()
	names, err := filepath.Glob("testdata/" + folder + "/*.golden")
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden files in %s: %v", folder, err)
	}
	var all strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// provoked returns the messages of what no golden file holds: refusals of
// stored documents, of several files and of long ones.
func provoked(t *testing.T) string {
	var all strings.Builder
	for _, c := range damagedCases(t) {
		_, err := policy.Decode([]byte(c.doc))
		all.WriteString(err.Error() + "\n")
	}
	fsys, cases := loadCases()
	for _, c := range cases {
		all.WriteString(c.want + "\n")
	}
	_, err := policy.Parse("policy.yaml", fsys["etc/beside.yaml"].Data, nil)
	all.WriteString(err.Error() + "\n")
	return all.String()
}

var verb = regexp.MustCompile(`%[sdqvU]`)

// checkMessages looks for each message that a file of the package can report.
func checkMessages(t *testing.T, file, texts string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(tree, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		for _, format := range formats(t, file, call) {
			found++
			pattern := regexp.MustCompile("[:;] " + verb.ReplaceAllString(regexp.QuoteMeta(format), ".+"))
			if !unprovoked[format] && !pattern.MatchString(texts) {
				t.Errorf("%s: no test provokes %q", file, format)
			}
		}
		return true
	})
	if found == 0 {
		t.Errorf("%s reports nothing", file)
	}
}

// formats returns the format of a message that a call reports, and the texts of
// a suggestion or an error that it makes.
func formats(t *testing.T, file string, call *ast.CallExpr) []string {
	place := 0
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		at, ok := reporters[f.Sel.Name]
		if pkg, isIdent := f.X.(*ast.Ident); isIdent && pkg.Name == "errors" && f.Sel.Name == "New" {
			at, ok = 0, true
		}
		if !ok || len(call.Args) <= at {
			return nil
		}
		place = at
	case *ast.Ident:
		at, suggests := suggesters[f.Name]
		if !suggests && f.Name != "refuse" {
			return nil
		}
		if place = at; !suggests {
			place = reporters[f.Name]
		}
	default:
		return nil
	}
	text, ok := call.Args[place].(*ast.BasicLit)
	if !ok {
		if name, isIdent := call.Args[place].(*ast.Ident); isIdent && name.Name == "format" {
			return nil // a reporter that hands on what it is given
		}
		if name, isIdent := call.Fun.(*ast.Ident); isIdent && name.Name != "refuse" {
			return nil // put together from what the file says
		}
		t.Errorf("%s: a message that is not a literal", file)
		return nil
	}
	format, err := strconv.Unquote(text.Value)
	if err != nil {
		t.Fatal(err)
	}
	return []string{format}
}
