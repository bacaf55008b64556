package policy

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// at returns what the schema says at a path.
func at(t *testing.T, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(Schema(), &v); err != nil {
		t.Fatal(err)
	}
	for _, step := range strings.Split(path, "/") {
		m, _ := v.(map[string]any)
		if v = m[step]; v == nil {
			t.Fatalf("the schema has no %s", path)
		}
	}
	return v
}

// TestSchemaLimits checks that the schema has the patterns and the limits that
// the package has.
func TestSchemaLimits(t *testing.T) {
	var words []any
	for _, verb := range verbs {
		words = append(words, verb)
	}
	var names []any
	for _, name := range partitionNames() {
		names = append(names, name)
	}
	for path, want := range map[string]any{
		"$defs/account/properties/partition/enum":              names,
		"$defs/name/pattern":                                   namePattern().String(),
		"properties/users/propertyNames/pattern":               userPattern().String(),
		"$defs/user/properties/owner/pattern":                  userPattern().String(),
		"$defs/user/properties/slack/pattern":                  slackPattern().String(),
		"$defs/account/properties/id/pattern":                  accountPattern().String(),
		"$defs/region/pattern":                                 regionPattern().String(),
		"$defs/role/properties/arn/pattern":                    roleARN().String(),
		"$defs/role/properties/external_id/pattern":            externalIDPattern().String(),
		"$defs/role/properties/external_id/minLength":          float64(minExternalID),
		"$defs/role/properties/external_id/maxLength":          float64(maxExternalID),
		"$defs/policyARNs/items/pattern":                       policyARN().String(),
		"$defs/policyARNs/maxItems":                            float64(MaxSessionPolicyARNs),
		"$defs/tags/propertyNames/pattern":                     tagPattern().String(),
		"$defs/tags/propertyNames/maxLength":                   float64(maxTagKey),
		"$defs/tags/additionalProperties/pattern":              tagPattern().String(),
		"$defs/tags/additionalProperties/maxLength":            float64(maxTagValue),
		"$defs/tags/maxProperties":                             float64(maxTags - ownTags),
		"$defs/approval/properties/count/maximum":              float64(maxApprovers),
		"$defs/approval/properties/within/default":             durationText(defaultWithin),
		"$defs/approval/properties/claim_within/default":       durationText(defaultClaimWithin),
		"$defs/statement/properties/Sid/pattern":               sidPattern().String(),
		"$defs/action/pattern":                                 actionPattern().String(),
		"$defs/resource/pattern":                               resourcePattern().String(),
		"properties/roles/propertyNames/not/enum":              words,
		"$defs/settings/properties/user_lifetime/description":  "How long a user lasts who has no `expires`: 1h to 400d.",
		"$defs/settings/properties/token_lifetime/description": "The longest that a token may last: 1h to 400d.",
	} {
		if diff := cmp.Diff(want, at(t, path)); diff != "" {
			t.Errorf("%s (-package +schema):\n%s", path, diff)
		}
	}
	if MaxSessionPolicyARNs != MaxPermissionARNs {
		t.Error("the schema has one limit for two")
	}
}

// TestSchemaOperators checks that the schema's pattern of condition operators
// matches those of the package, and nothing near them.
func TestSchemaOperators(t *testing.T) {
	text, _ := at(t, "$defs/statement/properties/Condition/propertyNames/pattern").(string)
	pattern := regexp.MustCompile(text)
	for _, name := range conditionOperators {
		if !pattern.MatchString(name) {
			t.Errorf("the schema does not know %s", name)
		}
	}
	for _, name := range []string{"", "NullIfExists", "Equals", "StringGreaterThan", "BoolEquals", "StringNotLikeIgnoreCase", "stringequals"} {
		if pattern.MatchString(name) {
			t.Errorf("the schema takes %q", name)
		}
	}
}
