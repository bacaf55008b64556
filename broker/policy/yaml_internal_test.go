package policy

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
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
