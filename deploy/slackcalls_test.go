package deploy_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// called are the methods of slack-go's client that bot uses.
func called(t *testing.T) []string {
	t.Helper()
	fset := token.NewFileSet()
	found, err := calledIn(exported(t), fset, filesIn(t, fset, "../bot"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 5 {
		t.Fatalf("only %d calls of Slack's are found in bot", len(found))
	}
	return found
}

// calledIn are the methods of slack-go's client that a package uses, called or
// as values: of whatever variable, of whatever the client is embedded in, and
// through an interface that the client has the methods of.
func calledIn(from types.Importer, fset *token.FileSet, files []*ast.File) ([]string, error) {
	info := types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	if _, err := (&types.Config{Importer: from}).Check("checked", fset, files, &info); err != nil {
		return nil, err
	}
	lib, err := from.Import("github.com/slack-go/slack")
	if err != nil {
		return nil, err
	}
	client := lib.Scope().Lookup("Client").Type()
	found := map[string]bool{}
	for _, s := range info.Selections {
		method, ok := s.Obj().(*types.Func)
		if !ok {
			continue
		}
		of := method.Signature().Recv().Type()
		if pointer, ok := of.(*types.Pointer); ok {
			of = pointer.Elem()
		}
		through, ok := s.Recv().Underlying().(*types.Interface)
		if types.Identical(of, client) || ok && types.Implements(types.NewPointer(client), through) {
			found[method.Name()] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// exported imports what bot depends on as the compiler has put it down.
func exported(t *testing.T) types.Importer {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "../bot")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("bot does not depend on %s", path)
		}
		return os.Open(files[path])
	})
}

// TestCalled holds that no use of Slack's Web API is overlooked, whatever it is
// written like.
func TestCalled(t *testing.T) {
	from := exported(t)
	for name, c := range map[string]struct{ source, want string }{
		"a field":               {`type c struct{ api *slack.Client }; func (c *c) f() { c.api.AuthTest() }`, "AuthTest"},
		"a field, otherwise":    {`type c struct{ web slack.Client }; func (c *c) f() { c.web.AuthTest() }`, "AuthTest"},
		"a parameter":           {`func f(x *slack.Client) { x.AuthTest(); x.GetTeamInfo() }`, "AuthTest GetTeamInfo"},
		"a package's variable":  {`var x = slack.New(""); func f() { x.AuthTest() }`, "AuthTest"},
		"no variable":           {`func f() { slack.New("").AuthTest() }`, "AuthTest"},
		"one of many":           {`func f(all map[string][]*slack.Client) { all["a"][0].AuthTest() }`, "AuthTest"},
		"embedded":              {`type c struct{ *slack.Client }; func f(x c) { x.AuthTest() }`, "AuthTest"},
		"in Socket Mode's":      {`func f(x *socketmode.Client) { x.AuthTest(); x.Ack(socketmode.Request{}) }`, "AuthTest"},
		"another name for it":   {`type client = slack.Client; func f(x *client) { x.AuthTest() }`, "AuthTest"},
		"a value":               {`func f(x *slack.Client) { g := x.AuthTest; g() }`, "AuthTest"},
		"a method's expression": {`var g = (*slack.Client).AuthTest`, "AuthTest"},
		"an interface": {`type tester interface{ AuthTest() (*slack.AuthTestResponse, error) }
			func f(x tester) { x.AuthTest() }; var _ tester = slack.New("")`, "AuthTest"},
		"a type parameter": {`type tester interface{ AuthTest() (*slack.AuthTestResponse, error) }
			func f[T tester](x T) { x.AuthTest() }`, "AuthTest"},
		"somebody else's method": {`type other struct{}; func (other) AuthTest() {}; func f(x other) { x.AuthTest() }`, ""},
		"somebody else's interface": {`type other interface{ AuthTest() error }
			func f(x other, err error) string { x.AuthTest(); return err.Error() }`, ""},
		"what is built":            {`func f() slack.Block { return slack.NewDividerBlock() }`, ""},
		"what only has the client": {`func f(x *slack.Client) *slack.Client { return x }`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "x.go", `package x
				import ("github.com/slack-go/slack"; "github.com/slack-go/slack/socketmode")
				var _ slack.Client; var _ socketmode.Client
				`+c.source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			got, err := calledIn(from, fset, []*ast.File{file})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("called (-want +got):\n%s", diff)
			}
		})
	}
}
