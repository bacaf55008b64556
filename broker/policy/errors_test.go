package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
)

func TestErrors(t *testing.T) {
	src := "version: 1\ngroups: {leads: {}}\nadmins: [leads, laeds]\nrole: {}\n"
	_, err := policy.Parse("policy.yaml", []byte(src), nil)
	want := policy.Errors{
		{
			File: "policy.yaml", Line: 3, Column: 17,
			Message: "there is no group `laeds`", Suggestion: "did you mean `leads`?",
			Source: "admins: [leads, laeds]",
		},
		{
			File: "policy.yaml", Line: 4, Column: 1,
			Message: "unknown key `role`", Suggestion: "did you mean `roles`?",
			Source: "role: {}",
		},
	}
	var got policy.Errors
	if !errors.As(err, &got) {
		t.Fatalf("Parse: %v (%T), want Errors", err, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	var first *policy.Error
	if !errors.As(err, &first) || first != got[0] {
		t.Errorf("the first error is %v, want %v", first, got[0])
	}
	wantText := "policy.yaml:3:17: there is no group `laeds`; did you mean `leads`?\n" +
		"policy.yaml:4:1: unknown key `role`; did you mean `roles`?"
	if diff := cmp.Diff(wantText, err.Error()); diff != "" {
		t.Errorf("Error (-want +got):\n%s", diff)
	}
}

// TestLongLines checks how much of a line is shown, and the caret below it.
func TestLongLines(t *testing.T) {
	x := func(n int) string { return strings.Repeat("é", n) } // of two bytes each
	for _, c := range []struct {
		name          string
		before, after int    // characters of the line before and after the one that is wrong
		want          string // what is shown of the line
		caret         int    // how many characters of that are before the caret
	}{
		{"160 characters are shown whole", 80, 79, "#" + x(79) + "�" + x(79), 80},
		{"wrong near the beginning", 2, 300, "#" + x(1) + "�" + x(156) + "…", 2},
		{"just so near that nothing is cut before", 80, 300, "#" + x(79) + "�" + x(78) + "…", 80},
		{"one further", 81, 300, "…" + x(79) + "�" + x(78) + "…", 80},
		{"wrong in the middle", 400, 400, "…" + x(79) + "�" + x(78) + "…", 80},
		{"just so near that nothing is cut after", 400, 79, "…" + x(79) + "�" + x(79), 80},
		{"wrong at the end", 400, 0, "…" + x(158) + "�", 159},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := "version: 1\n#" + x(c.before-1) + "\a" + x(c.after) + "\n"
			_, err := policy.Parse("p.yaml", []byte(src), nil)
			var errs policy.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("Parse: %v (%T), want Errors", err, err)
			}
			want := fmt.Sprintf("p.yaml:2:%d: a control character, U+0007; take it out\n    2 | %s\n      | %s^",
				c.before+1, c.want, strings.Repeat(" ", c.caret))
			if diff := cmp.Diff(want, errs.Detail()); diff != "" {
				t.Errorf("Detail (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDetail checks the caret: below a tab, and where there is no line to put
// it under.
func TestDetail(t *testing.T) {
	for _, c := range []struct {
		name string
		err  policy.Error
		want string
	}{
		{
			"a tab", policy.Error{File: "a.json", Line: 7, Column: 4, Message: "wrong", Source: "\té=x"},
			"a.json:7:4: wrong\n    7 | \té=x\n      | \t  ^",
		},
		{
			"past the end", policy.Error{File: "a.json", Line: 7, Column: 9, Message: "wrong", Source: "ab"},
			"a.json:7:9: wrong\n    7 | ab\n      |   ^",
		},
		{
			"a part of a line", policy.Error{File: "a.json", Line: 7, Column: 804, Message: "wrong", Source: "…é=x", Skipped: 800},
			"a.json:7:804: wrong\n    7 | …é=x\n      |    ^",
		},
		{
			"no line", policy.Error{File: "a.json", Line: 7, Column: 4, Message: "wrong"},
			"a.json:7:4: wrong",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.err.Detail()); diff != "" {
				t.Errorf("Detail (-want +got):\n%s", diff)
			}
		})
	}
}
