package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"
)

// checkPolicies refuses session policies that STS would not take: too long, not
// the ARNs of managed policies, or not an IAM policy document.
func (in *stsAssumeRoleInput) checkPolicies() *awsError {
	size := utf8.RuneCountInString(in.policy)
	for _, arn := range in.policyARNs {
		if stsPolicyARN.find(arn) == nil {
			return stsValidationError("ARN " + arn + " is not valid.")
		}
		size += utf8.RuneCountInString(arn)
	}
	if size > stsMaxPolicy {
		return &awsError{http.StatusBadRequest, "PackedPolicyTooLarge",
			fmt.Sprintf("Packed policy consumes %d%% of allotted space, please use smaller policy.", (size*100+stsMaxPolicy-1)/stsMaxPolicy)}
	}
	if !in.given.Has("Policy") {
		return nil
	}
	if problem := stsPolicyProblem(in.policy); problem != "" {
		return &awsError{http.StatusBadRequest, "MalformedPolicyDocument", problem}
	}
	return nil
}

// stsPolicyProblem says what keeps a text from being a session policy, or
// nothing. It knows the grammar down to a statement's elements, and leaves what
// is in them to IAM.
func stsPolicyProblem(document string) string {
	var policy struct {
		Version   string
		Statement json.RawMessage
	}
	const syntax = "Syntax errors in policy."
	switch {
	case !json.Valid([]byte(document)):
		return "This policy contains invalid Json"
	case json.Unmarshal([]byte(document), &policy) != nil:
		return syntax
	}
	switch policy.Version {
	case "", "2008-10-17", "2012-10-17":
	default:
		return syntax
	}

	type statement map[string]json.RawMessage
	var statements []statement
	if json.Unmarshal(policy.Statement, &statements) != nil {
		var one statement // a list of one may do without its brackets
		if json.Unmarshal(policy.Statement, &one) != nil {
			return syntax
		}
		statements = []statement{one}
	}
	if len(statements) == 0 {
		return syntax
	}
	for _, s := range statements {
		has := func(element string) bool { return len(s[element]) > 0 }
		effect := string(s["Effect"])
		switch {
		case has("Principal") || has("NotPrincipal"):
			return "Policy document should not specify a principal."
		case effect != `"Allow"` && effect != `"Deny"`,
			has("Action") == has("NotAction"),
			has("Resource") == has("NotResource"):
			return syntax
		}
	}
	return ""
}
