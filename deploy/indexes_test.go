package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestIndexesOfEvents holds that the broker may ask the indexes of Events that
// its code does ask, and no others: each by the field of a query.
func TestIndexesOfEvents(t *testing.T) {
	byField := map[string]string{
		"RequestID": "events-request", "AccessKeyID": "events-access-key", "Actor": "events-actor", "Role": "events-role",
	}
	asked := map[string]bool{}
	for _, fn := range append(functionsIn(t, "../broker"), functionsIn(t, "../bot")...) {
		queries := false
		ast.Inspect(fn, func(n ast.Node) bool {
			query, ok := n.(*ast.CompositeLit)
			if !ok || !named(query.Type, "EventQuery") {
				return true
			}
			queries = true
			index := "events-day"
			for _, element := range query.Elts {
				if pair, ok := element.(*ast.KeyValueExpr); ok && byField[pair.Key.(*ast.Ident).Name] != "" {
					index = byField[pair.Key.(*ast.Ident).Name]
				}
			}
			asked[index] = true
			return true
		})
		if !queries {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool { // what the query is told later
			if set, ok := n.(*ast.AssignStmt); ok {
				for _, left := range set.Lhs {
					if field, ok := left.(*ast.SelectorExpr); ok && byField[field.Sel.Name] != "" {
						asked[byField[field.Sel.Name]] = true
					}
				}
			}
			return true
		})
	}
	var may []string
	for index, who := range readers {
		if strings.HasPrefix(index, "events-") && slices.Contains(who, broker) {
			may = append(may, index)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(asked)), sorted(may)); diff != "" {
		t.Errorf("indexes of events (-asked +allowed):\n%s", diff)
	}
}

// named says whether a type is that of a name, in whatever package.
func named(kind ast.Expr, name string) bool {
	if of, ok := kind.(*ast.SelectorExpr); ok {
		return of.Sel.Name == name
	}
	id, ok := kind.(*ast.Ident)
	return ok && id.Name == name
}

// functionsIn are the functions of a package, without its tests.
func functionsIn(t *testing.T, folder string) (all []*ast.FuncDecl) {
	t.Helper()
	for _, file := range filesIn(t, token.NewFileSet(), folder) {
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				all = append(all, fn)
			}
		}
	}
	return all
}

// filesIn are the files of a package, without its tests.
func filesIn(t *testing.T, fset *token.FileSet, folder string) (all []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, file)
	}
	return all
}
