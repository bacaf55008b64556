package policy

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

// What an IAM policy document may hold when it limits a session. Source: the
// grammar of the IAM JSON policy language, less the elements that only
// resource policies have.
var (
	policyKeys    = []string{"Version", "Id", "Statement"}
	statementKeys = []string{"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}

	sidPattern      = regexp.MustCompile(`^[A-Za-z0-9]*$`)
	actionPattern   = regexp.MustCompile(`^(\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+)$`)
	resourcePattern = regexp.MustCompile(`^(\*|arn:.+)$`)
)

// checkSessionPolicy checks an IAM policy document and returns it minified, or
// nothing if it reported a problem.
func checkSessionPolicy(n *node, ps *problems) string {
	before := len(ps.found)
	c := sessionChecker{ps}
	c.document(n)
	minified := n.minify()
	for _, r := range minified {
		if r > 0xFF { // the pattern of AssumeRole's Policy ends at U+00FF
			ps.add(n.at, nil, "AWS takes no %q in a session policy", r)
			break
		}
	}
	if size := utf8.RuneCountInString(minified); size > MaxSessionPolicySize {
		ps.add(n.at, nil, "the session policy is %d characters long without white space, and AWS takes %d", size, MaxSessionPolicySize)
	}
	if len(ps.found) > before {
		return ""
	}
	return minified
}

type sessionChecker struct{ *problems }

func (c sessionChecker) document(n *node) {
	if n.kind != isMapping {
		c.add(n.at, nil, "a session policy must be an IAM policy document, not %s", n.kind)
		return
	}
	n.only(c.problems, policyKeys...)
	switch version := n.get("Version"); {
	case version == nil:
		c.add(n.at, hint(`write "Version": "2012-10-17"`), "the session policy has no `Version`")
	case version.kind != isText || version.text != "2012-10-17" && version.text != "2008-10-17":
		c.add(version.at, hint(`write "2012-10-17"`), "`Version` must be \"2012-10-17\" or \"2008-10-17\"")
	}
	if id := n.get("Id"); id != nil && id.kind != isText {
		c.add(id.at, nil, "`Id` must be text")
	}
	switch statement := n.get("Statement"); {
	case statement == nil:
		c.add(n.at, nil, "the session policy has no `Statement`")
	case statement.kind == isMapping:
		c.statement(statement)
	case statement.kind != isList || len(statement.items) == 0:
		c.add(statement.at, nil, "`Statement` must be a statement or a list of some")
	default:
		for _, item := range statement.items {
			c.statement(item)
		}
	}
}

func (c sessionChecker) statement(n *node) {
	if n.kind != isMapping {
		c.add(n.at, nil, "a statement must be a mapping, not %s", n.kind)
		return
	}
	for _, e := range n.entries {
		if strings.HasSuffix(e.key, "Principal") {
			c.add(e.at, nil, "a session policy cannot have %s", quote(e.key))
			return
		}
	}
	n.only(c.problems, statementKeys...)
	if sid := n.get("Sid"); sid != nil && (sid.kind != isText || !sidPattern.MatchString(sid.text)) {
		c.add(sid.at, nil, "`Sid` must be letters and digits")
	}
	switch effect := n.get("Effect"); {
	case effect == nil:
		c.add(n.at, nil, "the statement has no `Effect`")
	case effect.kind != isText || effect.text != "Allow" && effect.text != "Deny":
		c.add(effect.at, nil, "`Effect` must be \"Allow\" or \"Deny\"")
	}
	c.one(n, "Action", "NotAction", actionPattern, `an action such as "s3:GetObject"`)
	c.one(n, "Resource", "NotResource", resourcePattern, `"*" or an ARN`)
	if condition := n.get("Condition"); condition != nil {
		c.condition(condition)
	}
}

// one checks that exactly one of two elements is there, and is text or a list
// of texts of the wanted form.
func (c sessionChecker) one(n *node, key, notKey string, want *regexp.Regexp, what string) {
	value, not := n.get(key), n.get(notKey)
	switch {
	case value == nil && not == nil:
		c.add(n.at, nil, "the statement has neither `%s` nor `%s`", key, notKey)
		return
	case value != nil && not != nil:
		c.add(not.at, nil, "the statement has both `%s` and `%s`", key, notKey)
		return
	case value == nil:
		key, value = notKey, not
	}
	items := []*node{value}
	if value.kind == isList {
		items = value.items
	}
	if len(items) == 0 {
		c.add(value.at, nil, "`%s` is empty", key)
	}
	for _, item := range items {
		if item.kind != isText || !want.MatchString(item.text) {
			c.add(item.at, nil, "`%s` must be %s", key, what)
		}
	}
}

// condition checks {operator: {key: value or list of values}}. An empty one
// would hold always.
func (c sessionChecker) condition(n *node) {
	if n.kind != isMapping || len(n.entries) == 0 {
		c.add(n.at, nil, "`Condition` must map operators to keys and values")
		return
	}
	for _, operator := range n.entries {
		if operator.value.kind != isMapping || len(operator.value.entries) == 0 {
			c.add(operator.at, nil, "%s must map keys to values", quote(operator.key))
			continue
		}
		for _, key := range operator.value.entries {
			items := []*node{key.value}
			if key.value.kind == isList {
				items = key.value.items
			}
			if len(items) == 0 {
				c.add(key.value.at, nil, "%s is empty", quote(key.key))
			}
			for _, item := range items {
				c.operand(item)
			}
		}
	}
}

func (c sessionChecker) operand(n *node) {
	switch {
	case n.kind == isText, n.kind == isBool:
	case n.kind == isNumber && json.Valid([]byte(n.text)):
	case n.kind == isNumber:
		c.add(n.at, hint("put it in quotes"), "%s is not a number in JSON", quote(n.text))
	default:
		c.add(n.at, nil, "a condition's value must be text, a number, true or false, not %s", n.kind)
	}
}
