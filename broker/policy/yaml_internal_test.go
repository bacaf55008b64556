package policy

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/google/go-cmp/cmp"
)

// TestLibraryPanics makes the YAML library panic, as it has on input that
// nobody thought of, and checks that the file is refused.
func TestLibraryPanics(t *testing.T) {
	tokens, file := yamlTokens, yamlFile
	t.Cleanup(func() { yamlTokens, yamlFile = tokens, file })
	fail := func() { panic("index out of range [3]\x1b[31m") }
	for name, replace := range map[string]func(){
		"scanner": func() { yamlTokens = func(string) token.Tokens { fail(); return nil } },
		"parser": func() {
			yamlFile = func(token.Tokens, yamlparser.Mode, ...yamlparser.Option) (*ast.File, error) { fail(); return nil, nil }
		},
		"tree": func() {
			yamlFile = func(token.Tokens, yamlparser.Mode, ...yamlparser.Option) (*ast.File, error) {
				return &ast.File{Docs: []*ast.DocumentNode{{Body: (*ast.StringNode)(nil)}}}, nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			yamlTokens, yamlFile = tokens, file
			replace()
			f, err := Parse("p.yaml", []byte("version: 1\n"), nil)
			if f != nil || err == nil || !strings.HasPrefix(err.Error(), "p.yaml:1:1: the YAML cannot be read: the reader failed") {
				t.Errorf("Parse = %v, %v", f, err)
			}
			if err != nil && strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%q would be obeyed by a terminal", err)
			}
		})
	}
}

// TestManyTokens has an entry of so many tokens that the library would need
// gigabytes for it, and checks that it is not given them.
func TestManyTokens(t *testing.T) {
	tokens, file := yamlTokens, yamlFile
	t.Cleanup(func() { yamlTokens, yamlFile = tokens, file })
	list := tokens("admins: [x]\n")
	many := slices.Concat(list[:3], slices.Repeat(list[3:4], maxTokens), list[4:])
	yamlTokens = func(string) token.Tokens { return many }
	yamlFile = func(token.Tokens, yamlparser.Mode, ...yamlparser.Option) (*ast.File, error) {
		t.Error("the library was given all of it")
		return nil, errors.New("too many")
	}
	const want = "p.yaml:1:1: more than 3145728 parts are in one entry; begin each entry of a section on a line of its own"
	if _, err := Parse("p.yaml", []byte("admins: [x]\n"), nil); err == nil || err.Error() != want {
		t.Errorf("Parse: %v\nwant %s", err, want)
	}
}

// FuzzEntries checks that a file that is read entry by entry is understood as
// when the library reads it whole, and refused when that refuses it.
func FuzzEntries(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("no files %s: %v", pattern, err)
		}
		for _, name := range names {
			src, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(src))
		}
	}
	for _, src := range []string{
		"a: 1\n b: 2\n", "a:\n  b: 1\n c: 2\n", "a:\n  b: 1\n   c: 2\n", "a:\n- b: 1\n  c: 2\nd: 3\n", "  a: 1\n  b: 2\n",
		"a:\n  'b': 1\n  \"c\":\n    d: 1\n", "a: {b: 1,\nc: 2}\nd: 3\n", "a: |\n  b: 1\n  c: 2\nd: >\n  e: 1\n", "a: b\n  c: d\n",
		"a:\n  b:\n  c:\nd:\n", "a: # one\n  # two\n  b: 1 # three\n# four\n  c: 2\n", "a: b: c\n", "a:\n  b\n  c: 1\n", "a: 'x\nb: y'\n",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if strings.Contains(src, "\t") {
			return
		}
		in := newSource("policy.yaml", 0, src)
		apart, whole := readTree(t, in, src, true), readTree(t, in, src, false)
		if !reflect.DeepEqual(apart, whole) { // much quicker than cmp.Diff
			t.Errorf("%q (-whole +entry by entry):\n%s", src, cmp.Diff(whole, apart, cmp.AllowUnexported(node{}, entry{}, position{}, source{})))
		}
	})
}

// readTree reads a file entry by entry or whole. It returns nil if anything is
// wrong with it.
func readTree(t *testing.T, in *source, src string, apart bool) *node {
	t.Helper()
	var ps problems
	b := &yamlBuilder{builder: builder{in, &ps}}
	tokens := yamlTokens(src)
	if !b.allowed(tokens) || tokens.InvalidToken() != nil {
		return nil
	}
	tokens = content(tokens)
	if len(tokens) == 0 {
		return nil
	}
	var n *node
	if apart {
		n = b.block(tokens, 0)
	} else {
		n = b.parse(tokens, 0)
	}
	if len(ps.found) > 0 {
		return nil
	}
	return n
}
