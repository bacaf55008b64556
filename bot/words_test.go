package bot

import (
	"encoding/json"
	"errors"
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
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// constants returns the string constants of a type, by value, from the source
// in folders: one that is added there cannot be forgotten here.
func constants(t *testing.T, typeName string, folders ...string) []string {
	t.Helper()
	var values []string
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				values = append(values, constantsOf(decl, typeName)...)
			}
		}
	}
	slices.Sort(values)
	return values
}

func constantsOf(decl ast.Decl, typeName string) (values []string) {
	group, ok := decl.(*ast.GenDecl)
	if !ok || group.Tok != token.CONST {
		return nil
	}
	for _, spec := range group.Specs {
		spec := spec.(*ast.ValueSpec)
		kind := spec.Type
		if selector, ok := kind.(*ast.SelectorExpr); ok {
			kind = selector.Sel
		}
		if name, ok := kind.(*ast.Ident); !ok || name.Name != typeName {
			continue
		}
		for _, value := range spec.Values {
			if literal, ok := value.(*ast.BasicLit); ok {
				text, err := strconv.Unquote(literal.Value)
				if err == nil {
					values = append(values, text)
				}
			}
		}
	}
	return values
}

// refusal is a Refusal of an ask for "prod-admn", as a policy's decision makes
// it.
func refusal(t failer, rule policy.Rule) *broker.Refusal {
	return &broker.Refusal{
		RequestID: "0123456789ABCDEFGHJK",
		Decision:  policy.Decision{Effect: policy.Deny, Rule: rule, Role: strict(t)},
		MayAsk:    []policy.RoleName{"prod-admin", "prod-readonly"},
	}
}

// TestRefusalWords keeps what people are told by each rule that can refuse
// them.
func TestRefusalWords(t *testing.T) {
	rules := constants(t, "Rule", "../broker", "../broker/policy")
	if len(rules) < 30 {
		t.Fatalf("found only %d rules in the source", len(rules))
	}
	// These allow, and refuse nobody.
	rules = slices.DeleteFunc(rules, func(r string) bool {
		return r == string(policy.RuleGranted) || r == string(policy.RuleApproved)
	})
	asked := command{verb: verbRole, role: "prod-admn"}
	told := table(t, "refusals", rules, func(rule string) message {
		return explain(refusal(t, policy.Rule(rule)), asked)
	})
	if told[string(policy.RuleRoleUnknown)] != told[string(policy.RuleNotGranted)] {
		t.Error("the words give away whether a role exists that the person may not ask for")
	}
	delete(told, string(policy.RuleRoleUnknown))
	distinct(t, told, explain(refusal(t, "no.such.rule"), asked))
}

// TestVoidWords keeps what people are told by each rule that can make a Request
// void, without the name of the rule; and that only those are told to ask again
// who may.
func TestVoidWords(t *testing.T) {
	void := func(rule policy.Rule) *broker.Request {
		r := put(broker.StateVoid, func(r *broker.Request) { r.Rule = rule })
		return &r
	}
	known := make([]string, 0, len(voids))
	for rule := range voids {
		known = append(known, string(rule))
	}
	slices.Sort(known)
	rules := constants(t, "Rule", "../broker", "../broker/policy")
	told := table(t, "void", append(known, "no.such.rule"), func(rule string) message {
		m := outcomeMessage(void(policy.Rule(rule)), noon)
		m.blocks = append([]slack.Block{section(howItStands(void(policy.Rule(rule))))}, m.blocks...)
		return m
	})
	for rule, words := range told {
		if strings.Contains(words, rule) {
			t.Errorf("the rule is named: %s", words)
		}
		if rule != "no.such.rule" && !slices.Contains(rules, rule) {
			t.Errorf("there is no rule %s", rule)
		}
		if strings.HasPrefix(rule, "user.") && strings.Contains(words, "ask again") {
			t.Errorf("%s: somebody who may not is told to ask again", rule)
		}
	}
}

// TestFaultWords keeps what people are told of each failure.
func TestFaultWords(t *testing.T) {
	codes := constants(t, "FaultCode", "../broker")
	if len(codes) < 15 {
		t.Fatalf("found only %d codes in the source", len(codes))
	}
	// No console link is no failure of the request: the keys are shown.
	codes = slices.DeleteFunc(codes, func(c string) bool { return c == string(broker.FaultSignIn) })
	fault := func(code string) message {
		return explain(&broker.Fault{RequestID: "0123456789ABCDEFGHJK", Code: broker.FaultCode(code), Err: errors.New("SECRET")}, command{})
	}
	told := table(t, "faults", codes, fault)
	delete(told, string(broker.FaultAWS)) // what is not known better is AWS's
	distinct(t, told, fault("no.such.code"))
	for code, words := range told {
		if strings.Contains(words, "SECRET") {
			t.Errorf("%s: the cause is shown: %s", code, words)
		}
	}
}

// table keeps the messages of names in one golden file, and returns their
// first blocks.
func table(t *testing.T, name string, names []string, of func(string) message) map[string]string {
	t.Helper()
	told := map[string]string{}
	var all strings.Builder
	for _, name := range names {
		m := of(name)
		text := sandbox.Text(content(t, answered(t, m, false)), shown)
		told[name] = text
		if !strings.Contains(text, "0123456789ABCDEFGHJK") {
			t.Errorf("%s: the request is not named", name)
		}
		fmt.Fprintf(&all, "%s\n    %s\n", name, strings.ReplaceAll(text, "\n", "\n    "))
	}
	golden(t, name+".txt", []byte(all.String()))
	return told
}

// distinct fails unless each has words of its own, none of them fallback's.
func distinct(t *testing.T, told map[string]string, fallback message) {
	t.Helper()
	seen := map[string]string{sandbox.Text(content(t, answered(t, fallback, false)), shown): "whatever is not known"}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if other, taken := seen[told[name]]; taken {
			t.Errorf("%s has the words of %s", name, other)
		}
		seen[told[name]] = name
	}
}

// TestRefusalNamesOnlyAskableRoles tries a near miss and a miss.
func TestRefusalNamesOnlyAskableRoles(t *testing.T) {
	mine := []policy.RoleName{"prod-readonly", "staging-admin"}
	for _, c := range []struct {
		name   string
		typed  policy.RoleName
		mayAsk []policy.RoleName
		want   string
	}{
		{"near", "prod-readonyl", mine, "There is no role `prod-readonyl` that you may ask for. Did you mean `prod-readonly`?"},
		{"far", "xyzzy", mine, "There is no role `xyzzy` that you may ask for. You may ask for `prod-readonly`, `staging-admin`."},
		{"itself", "prod-readonly", mine, "There is no role `prod-readonly` that you may ask for. You may ask for `prod-readonly`, `staging-admin`."},
		{"nothing to ask for", "prod-admin", nil, "There is no role `prod-admin` that you may ask for. You may not ask for any role yet: an administrator grants them."},
		{"forged", "a`*b*`<!here>", nil, "There is no role `a'*b*'&lt;!here&gt;` that you may ask for. You may not ask for any role yet: an administrator grants them."},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &broker.Refusal{Decision: policy.Decision{Rule: policy.RuleNotGranted}, MayAsk: c.mayAsk}
			if got := refusalWords(r, command{verb: verbRole, role: c.typed}); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0m", time.Minute: "1m", 59 * time.Minute: "59m", time.Hour: "1h", 90 * time.Minute: "1h30m", 12 * time.Hour: "12h",
		time.Hour + 29*time.Second: "1h", 29 * time.Second: "0m",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %s, want %s", d, got, want)
		}
	}
}

// TestAloud holds that what is read aloud says what stands there, in words, and
// no more of it than anybody would listen to.
func TestAloud(t *testing.T) {
	for _, c := range []struct {
		head  string
		items []string
		want  string
	}{
		{"*2* groups.", []string{"`dev`  none", "`sre`  `admin` until " + when(noon)}, "2 groups. dev, none; sre, admin until 23 Nov 2026 12:00 UTC."},
		{"New", []string{"asked", "lapsed."}, "New: asked; lapsed."},
		{"One\nTwo", []string{"three"}, "One. Two. three."},
		{"Because (rule `x`)", []string{"a"}, "Because (rule x). a."},
		{"Nothing.", nil, "Nothing."},
		{"Many:", []string{strings.Repeat("a", 999), "b", "c", "d"}, "Many: " + strings.Repeat("a", 999) + "; b; and 2 more."},
		{"Long:", []string{strings.Repeat("a", 3000), "b"}, "Long: " + strings.Repeat("a", 3000) + "; and 1 more."},
	} {
		if got := aloud(c.head, c.items); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestTextsAloud holds that what stands beside the blocks of every message that
// is kept can be read aloud: it is a sentence or more, on one line, without
// markup and without times that Slack alone can read. One that comes unasked, or
// tells of a Request for the first time, names its role.
func TestTextsAloud(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "golden", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	ofRequest := regexp.MustCompile(`^(approval|outcome|progress|request)-|^approvals-(answered|escalated|reminder|waiting)`)
	besideIt := regexp.MustCompile(`^progress-audit-`) // in the thread below one that names it
	role := regexp.MustCompile(`prod-admin|prod-readonly|role-n|x'bold'`)
	texts, named := 0, 0
	for _, path := range paths {
		var m struct{ Text string }
		sent, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(sent, &m) != nil {
			t.Fatal(path, err)
		}
		if m.Text == "" { // a view
			continue
		}
		texts++
		if strings.ContainsAny(m.Text, "\n`*<>") || !strings.Contains(m.Text, " ") {
			t.Errorf("%s is read as %q", path, m.Text)
		}
		name := filepath.Base(path)
		if !ofRequest.MatchString(name) || besideIt.MatchString(name) {
			continue
		}
		named++
		if !role.MatchString(m.Text) {
			t.Errorf("%s is read as %q, without the role", path, m.Text)
		}
	}
	if texts < 150 || named < 80 {
		t.Errorf("only %d texts, %d of a request", texts, named)
	}
}
