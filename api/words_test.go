package api

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// constants returns the string constants of a type, by value, from the source of
// packages: one that is added there cannot be forgotten here.
func constants(t *testing.T, typeName string, folders ...string) (values []string) {
	t.Helper()
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				if !ok {
					return true
				}
				kind := spec.Type
				if of, ok := kind.(*ast.SelectorExpr); ok {
					kind = of.Sel
				}
				if name, ok := kind.(*ast.Ident); !ok || name.Name != typeName {
					return true
				}
				for _, v := range spec.Values {
					if literal, ok := v.(*ast.BasicLit); ok && literal.Kind == gotoken.STRING {
						value, err := strconv.Unquote(literal.Value)
						if err != nil {
							t.Fatal(err)
						}
						values = append(values, value)
					}
				}
				return true
			})
		}
	}
	slices.Sort(values)
	return values
}

// elsewhere are the rules by which no bearer of a token is refused, and the
// faults that no ask ends in.
var elsewhere = []string{
	string(policy.RuleGranted), string(policy.RuleApproved), // they allow
	string(broker.RuleEmailMissing), string(broker.RuleEmailUnknown), string(broker.RuleEmailAmbiguous), string(broker.RuleEmailPinned), // Slack's
	string(broker.RuleNotAdmin), string(broker.RuleApproveOwn), string(broker.RuleNotApprover), string(broker.RuleAnsweredTwice), // an approver's
	string(broker.RuleChanged), string(broker.RuleDeclined), string(broker.RuleEnded), // what a request is settled by
	string(broker.FaultSignIn), string(broker.FaultNoBoundary), string(broker.FaultBoundaryFull),
}

// TestWords keeps what is told by each rule and each fault that there is, and by
// every other error of broker's. None is told an error's own text, and none is
// told what is said where nothing is known.
func TestWords(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const id = "0123456789ABCDEFGHJK"
	ticket, err := policy.NewPattern("[A-Z]+-[0-9]+")
	if err != nil {
		t.Fatal(err)
	}
	errs := map[string]error{
		"already":        &broker.AlreadyIssued{RequestID: id, Issued: true, State: broker.StateOpen},
		"already over":   &broker.AlreadyIssued{RequestID: id, Issued: true, State: broker.StateClosed},
		"already denied": &broker.AlreadyIssued{RequestID: id, State: broker.StateDenied},
		"already failed": &broker.AlreadyIssued{RequestID: id, State: broker.StateOpen},
		"reused":         &broker.KeyReused{RequestID: id},
		"busy":           &broker.Busy{RequestID: id, Until: now.Add(1500 * time.Millisecond)},
		"busy no longer": &broker.Busy{RequestID: id, Until: now.Add(-time.Second)},
		"not found":      fmt.Errorf("SECRET: %w", broker.ErrNotFound),
		"conflict":       fmt.Errorf("SECRET: %w", broker.ErrConflict),
		"invalid":        fmt.Errorf("SECRET: %w", broker.ErrInvalid),
		"unknown":        errors.New("SECRET"),
	}
	for _, state := range constants(t, "State", "../broker") {
		errs["settled "+state] = &broker.Settled{Request: broker.Request{ID: id, State: broker.State(state), Rule: "a.rule"}}
	}
	rules := constants(t, "Rule", "../broker", "../broker/policy")
	faults := constants(t, "FaultCode", "../broker")
	if len(rules) < 40 || len(faults) < 15 {
		t.Fatalf("there are only %d rules and %d faults in the source", len(rules), len(faults))
	}
	for _, rule := range append(rules, "no.such.rule") {
		errs["rule "+rule] = &broker.Refusal{
			RequestID: id, Asked: policy.Asked{Role: "prod-admn"}, MayAsk: []policy.RoleName{"prod-admin", "prod-readonly"},
			Decision: policy.Decision{Rule: policy.Rule(rule), Role: &policy.Role{Name: "prod-admn", MaxDuration: 90 * time.Minute, Ticket: ticket}},
		}
	}
	for _, fault := range append(faults, "no.such.fault") {
		errs["fault "+fault] = &broker.Fault{RequestID: id, Code: broker.FaultCode(fault), Err: errors.New("SECRET")}
	}
	var lines []string
	told := map[string]string{}
	for name, err := range errs {
		p := explain(err, now)
		after := p.GetHeaders().Get("Retry-After")
		if after != "" {
			after = " after " + after
		}
		lines = append(lines, fmt.Sprintf("%-32s %d %s%s: %s", name, p.Status, p.Code, after, p.Detail))
		if strings.Contains(p.Detail, "SECRET") || p.Detail == "" || !strings.HasSuffix(p.Detail, ".") && !strings.HasSuffix(p.Detail, "?") || p.Title == "" {
			t.Errorf("%s is told %q", name, p.Detail)
		}
		_, what, _ := strings.Cut(name, " ")
		if slices.Contains(elsewhere, what) {
			continue
		}
		if other, twice := told[p.Detail]; twice && (strings.HasPrefix(name, "rule") || strings.HasPrefix(name, "fault")) && !alike(what, other) {
			t.Errorf("%s and %s are told the same: %s", what, other, p.Detail)
		}
		told[p.Detail] = what
	}
	slices.Sort(lines)
	goldenText(t, "words", strings.Join(lines, "\n")+"\n")
}

// alike says whether two rules are told in the same words on purpose: they must
// not be told apart, or mean the same to whoever asks.
func alike(a, b string) bool {
	pair := []string{min(a, b), max(a, b)}
	return slices.Equal(pair, []string{string(policy.RuleNotGranted), string(policy.RuleRoleUnknown)}) ||
		slices.Equal(pair, []string{string(policy.RuleTicketMismatch), string(policy.RuleTicketMissing)})
}

// goldenText compares a text with the file of that name.
func goldenText(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), got); diff != "" {
		t.Errorf("%s changed; if that is right, run the test with -update (-kept +now):\n%s", path, diff)
	}
}

// Every code has a status and a title.
func TestCodes(t *testing.T) {
	codes := constants(t, "code", ".")
	if len(codes) != len(kinds) {
		t.Errorf("%d codes, %d kinds", len(codes), len(kinds))
	}
	for _, c := range codes {
		if kind, ok := kinds[code(c)]; !ok || kind.status < 400 || kind.title == "" {
			t.Errorf("%s is %+v", c, kind)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		15 * time.Minute: "15m", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Hour: "10h", 10*time.Hour + 10*time.Minute: "10h10m", 12 * time.Hour: "12h",
	} {
		if got := span(d); got != want {
			t.Errorf("%s is %q", want, got)
		}
	}
}
