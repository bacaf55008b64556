package deploy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A statement is one statement of a policy, with everything resolved.
type statement struct {
	sid, effect                    string
	actions, resources, principals []string
	conditions                     map[string][]string // of StringEquals
}

// statements reads a policy document. Whatever the evaluator does not know is
// an error: it must not be taken for less than it is.
func (tpl template) statements(t *testing.T, doc any) []statement {
	t.Helper()
	var out []statement
	for _, raw := range doc.(map[string]any)["Statement"].([]any) {
		s := statement{conditions: map[string][]string{}}
		for key, value := range raw.(map[string]any) {
			switch key {
			case "Sid":
				s.sid = value.(string)
			case "Effect":
				s.effect = value.(string)
			case "Action":
				s.actions = tpl.list(value)
			case "Resource":
				s.resources = tpl.list(value)
			case "Principal":
				s.principals = tpl.principals(value)
			case "Condition":
				for operator, tests := range value.(map[string]any) {
					if operator != "StringEquals" {
						t.Fatalf("statement %s: the evaluator does not know %s", s.sid, operator)
					}
					for name, want := range tests.(map[string]any) {
						s.conditions[name] = tpl.list(want)
					}
				}
			default:
				t.Fatalf("statement %s: the evaluator does not know %s", s.sid, key)
			}
		}
		out = append(out, s)
	}
	return out
}

// principals are who a statement speaks of: their kind and name, or anybody.
func (tpl template) principals(v any) []string {
	kinds, ok := v.(map[string]any)
	if !ok {
		return tpl.list(v)
	}
	var out []string
	for kind, who := range kinds {
		for _, name := range tpl.list(who) {
			if name == "*" {
				out = append(out, name)
			} else {
				out = append(out, kind+":"+name)
			}
		}
	}
	return out
}

// own are the statements of a role's own policies. What else could give it
// something is an error.
func (tpl template) own(t *testing.T, role string) []statement {
	t.Helper()
	var out []statement
	for name, value := range tpl.Resources[role].Properties {
		switch name {
		case "RoleName", "Path", "Description", "MaxSessionDuration", "AssumeRolePolicyDocument":
		case "Policies":
			for _, p := range value.([]any) {
				out = append(out, tpl.statements(t, p.(map[string]any)["PolicyDocument"])...)
			}
		default:
			t.Fatalf("%s: the evaluator does not know %s", role, name)
		}
	}
	return out
}

// key are the statements of the key's policy that speak of somebody.
func (tpl template) key(t *testing.T, principal string) []statement {
	t.Helper()
	others := func(s statement) bool {
		return !slices.Contains(s.principals, principal) && !slices.Contains(s.principals, "*")
	}
	return slices.DeleteFunc(tpl.statements(t, tpl.Resources["Key"].Properties["KeyPolicy"]), others)
}

// may evaluates a call by a role: what its own policies allow and, for KMS, what
// the key's policy allows it.
func (tpl template) may(t *testing.T, role, action, resource string, context map[string]string) bool {
	t.Helper()
	all := tpl.own(t, role)
	if strings.HasPrefix(action, "kms:") {
		all = append(all, tpl.key(t, "AWS:"+tpl.arn(role))...)
	}
	return allowed(all, action, resource, context)
}

// allowed says whether statements allow a call. An explicit Deny wins.
func allowed(statements []statement, action, resource string, context map[string]string) bool {
	allow := false
	for _, s := range statements {
		if !s.matches(action, resource, context) {
			continue
		}
		if s.effect != "Allow" {
			return false
		}
		allow = true
	}
	return allow
}

// matches says whether the statement speaks of a call.
func (s statement) matches(action, resource string, context map[string]string) bool {
	if !slices.ContainsFunc(s.actions, func(p string) bool { return wild(strings.ToLower(p), strings.ToLower(action)) }) {
		return false
	}
	if !slices.ContainsFunc(s.resources, func(p string) bool { return wild(p, resource) }) {
		return false
	}
	for name, want := range s.conditions {
		if !slices.Contains(want, context[name]) {
			return false
		}
	}
	return true
}

// wild matches IAM's patterns: * for anything, ? for one character.
func wild(pattern, s string) bool {
	re := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`^` + re + `$`).MatchString(s)
}

// everyRole are the roles that the template makes, by name. Another thing of
// IAM's is an error: the evaluator does not read what it gives to whom.
func (tpl template) everyRole(t *testing.T) []string {
	t.Helper()
	for id, r := range tpl.Resources {
		if strings.HasPrefix(r.Type, "AWS::IAM::") && r.Type != "AWS::IAM::Role" {
			t.Fatalf("%s is of type %s, which the evaluator does not read", id, r.Type)
		}
	}
	return tpl.every("AWS::IAM::Role")
}

// roleOf is the role that a function runs as.
func (tpl template) roleOf(t *testing.T, function string) string {
	t.Helper()
	role, _ := tpl.Resources[function].Properties["Role"].(map[string]any)
	get, _ := role["Fn::GetAtt"].([]any)
	if len(get) == 2 && get[1] == "Arn" {
		if id, _ := get[0].(string); tpl.Resources[id].Type == "AWS::IAM::Role" {
			return id
		}
	}
	t.Fatalf("%s runs as %v, which is no role of the template", function, tpl.Resources[function].Properties["Role"])
	return ""
}
