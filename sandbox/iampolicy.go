package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// iamMaxPolicy is how long a managed policy can be, in characters, white space
// aside. Source: the IAM and STS quotas.
const iamMaxPolicy = 6144

// iamStatement is one statement of a policy, ready to be evaluated.
type iamStatement struct {
	deny               bool
	actions, resources []string
	conditions         []iamCondition // all must hold
}

// iamCondition compares the caller's aws:userid: one of the values must match.
type iamCondition struct {
	like   bool // values may hold * and ?
	values []string
}

// iamCall is what a policy is asked about.
type iamCall struct {
	userID, action, resource string
}

// iamAllows evaluates a policy: something allows the call, and nothing denies it.
func iamAllows(policy []iamStatement, call iamCall) bool {
	allowed := false
	for _, s := range policy {
		if !s.speaksOf(call) {
			continue
		}
		if s.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s iamStatement) speaksOf(call iamCall) bool {
	action := strings.ToLower(call.action) // actions are not case sensitive
	return slices.ContainsFunc(s.actions, func(p string) bool { return iamLike(strings.ToLower(p), action) }) &&
		slices.ContainsFunc(s.resources, func(p string) bool { return iamLike(p, call.resource) }) &&
		!slices.ContainsFunc(s.conditions, func(c iamCondition) bool { return !c.holds(call.userID) })
}

func (c iamCondition) holds(value string) bool {
	return slices.ContainsFunc(c.values, func(p string) bool { return p == value || c.like && iamLike(p, value) })
}

// iamLike matches IAM's patterns: * is any text, ? any one character.
func iamLike(pattern, value string) bool {
	expression := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`(?s)^` + expression + `$`).MatchString(value)
}

// iamParse reads a policy document. What IAM would not take is malformed; what
// the sandbox cannot evaluate is refused too, not ignored.
func iamParse(document string) ([]iamStatement, *awsError) {
	size := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			size++
		}
	}
	if size > iamMaxPolicy {
		return nil, iamLimitExceeded(fmt.Sprintf("Cannot exceed quota for PolicySize: %d", iamMaxPolicy))
	}
	if problem := stsPolicyProblem(document); problem != "" {
		return nil, iamMalformed(problem)
	}
	var policy struct{ Statement iamList[iamRawStatement] }
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		return nil, iamMalformed("Syntax errors in policy.")
	}
	var statements []iamStatement
	for _, raw := range policy.Statement {
		s, refusal := raw.read()
		if refusal != nil {
			return nil, refusal
		}
		statements = append(statements, s)
	}
	return statements, nil
}

// iamList is a list in IAM's documents, which may do without its brackets if it
// has one member.
type iamList[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *iamList[T]) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, (*[]T)(l))
	}
	*l = make(iamList[T], 1)
	return json.Unmarshal(b, &(*l)[0])
}

// iamRawStatement is a statement as it is written, whose grammar was checked.
type iamRawStatement struct {
	Effect                 string
	Action, Resource       iamList[string]
	NotAction, NotResource iamList[string]
	Condition              map[string]map[string]iamList[string]
}

func (raw iamRawStatement) read() (iamStatement, *awsError) {
	s := iamStatement{deny: raw.Effect == "Deny", actions: raw.Action, resources: raw.Resource}
	if len(raw.NotAction)+len(raw.NotResource) > 0 {
		return s, iamNotImplemented("NotAction and NotResource")
	}
	for _, action := range s.actions {
		if action != "*" && !strings.Contains(action, ":") {
			return s, iamMalformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
		}
	}
	for _, resource := range s.resources {
		switch {
		case strings.Contains(resource, "${"):
			return s, iamNotImplemented("policy variables")
		case resource != "*" && !strings.HasPrefix(resource, "arn:"):
			return s, iamMalformed("Resource " + resource + ` must be in ARN format or "*".`)
		}
	}
	for operator, tests := range raw.Condition {
		if operator != "StringLike" && operator != "StringEquals" {
			return s, iamNotImplemented("the condition operator " + operator)
		}
		for key, values := range tests {
			if !strings.EqualFold(key, "aws:userid") {
				return s, iamNotImplemented("the condition key " + key)
			}
			if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "${") }) {
				return s, iamNotImplemented("policy variables")
			}
			s.conditions = append(s.conditions, iamCondition{like: operator == "StringLike", values: values})
		}
	}
	return s, nil
}

func iamMalformed(problem string) *awsError {
	return &awsError{http.StatusBadRequest, "MalformedPolicyDocument", problem}
}

func iamNotImplemented(what string) *awsError {
	return &awsError{http.StatusNotImplemented, "NotImplemented", "The sandbox does not implement " + what}
}

func iamLimitExceeded(message string) *awsError {
	return &awsError{http.StatusConflict, "LimitExceeded", message}
}
