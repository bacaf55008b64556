package policy_test

import (
	"errors"
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
