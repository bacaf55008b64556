package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// What an IAM policy document may hold when it limits a session or a role.
// Source: the grammar of the IAM JSON policy language, less the elements that only
// resource policies have.
var (
	policyKeys    = []string{"Version", "Id", "Statement"}
	statementKeys = []string{"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}

	sidPattern      = expression(`^[A-Za-z0-9]*$`)
	actionPattern   = expression(`^(\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+)$`)
	resourcePattern = expression(`^(\*|arn:[a-z*?-]+:[^:]*:[^:]*:[^:]*:.+)$`)
)

// A documentKind is what an IAM policy document is for.
type documentKind struct {
	name string // in messages
	size int    // the most that AWS takes, in characters of minified JSON
	arns string // the key that lists managed policies for the same
}

var (
	sessionPolicy = documentKind{"session policy", MaxSessionPolicySize, "session_policy_arns"}
	permissions   = documentKind{"permissions policy", MaxPermissionsSize, "permission_arns"}
)

// Parts of an IAM policy document, in suggestions.
const (
	aStatement = `{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}`
	aCondition = `{"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}`
)

// check checks an IAM policy document and returns it minified, or nothing if
// it reported a problem.
func (k documentKind) check(n *node, ps *problems) string {
	before := len(ps.found)
	c := documentChecker{ps, k}
	c.document(n)
	minified := n.minify()
	for _, r := range minified {
		if r > 0xFF { // the pattern of AssumeRole's Policy and PutRolePolicy's PolicyDocument ends at U+00FF
			ps.add(n.at, hint("write a wildcard, * or ?, in its place"), "AWS takes no %q in a %s", r, k.name)
			break
		}
	}
	if size := utf8.RuneCountInString(minified); size > k.size {
		ps.add(n.at, hint("move some of it to a managed policy, and name that in `"+k.arns+"`"), "the %s is %d characters long without white space, and AWS takes %d", k.name, size, k.size)
	}
	if len(ps.found) > before {
		return ""
	}
	return minified
}

type documentChecker struct {
	*problems
	kind documentKind
}

func (c documentChecker) document(n *node) {
	if n.kind != isMapping {
		c.add(n.at, hint(`write {"Version": "2012-10-17", "Statement": […]}`), "a %s must be an IAM policy document, not %s", c.kind.name, n.kind)
		return
	}
	n.only(c.problems, oneOfKeys(policyKeys), policyKeys...)
	switch version := n.get("Version"); {
	case version == nil:
		c.add(n.at, hint(`write "Version": "2012-10-17"`), "the %s has no `Version`", c.kind.name)
	case version.kind != isText || version.text != "2012-10-17" && version.text != "2008-10-17":
		c.add(version.at, hint(`write "2012-10-17"`), "`Version` must be \"2012-10-17\" or \"2008-10-17\"")
	}
	if id := n.get("Id"); id != nil && id.kind != isText {
		c.add(id.at, hint("put it in quotes, or take it out"), "`Id` must be text")
	}
	switch statement := n.get("Statement"); {
	case statement == nil:
		c.add(n.at, hint("add one such as "+aStatement), "the %s has no `Statement`", c.kind.name)
	case statement.kind == isMapping:
		c.statement(statement)
	case statement.kind != isList || len(statement.items) == 0:
		c.add(statement.at, hint("write one such as "+aStatement), "`Statement` must be a statement or a list of some")
	default:
		for _, item := range statement.items {
			c.statement(item)
		}
		c.sids(statement.items)
	}
}

// sids reports the ids of statements that are not unique.
func (c documentChecker) sids(statements []*node) {
	given := map[string]bool{}
	for _, statement := range statements {
		sid := statement.get("Sid")
		if sid == nil || sid.text == "" {
			continue
		}
		if given[sid.text] {
			c.add(sid.at, hint("give each its own, or none"), "the `Sid` %s is given twice", quote(sid.text))
		}
		given[sid.text] = true
	}
}

func (c documentChecker) statement(n *node) {
	if n.kind != isMapping {
		c.add(n.at, hint("write one such as "+aStatement), "a statement must be a mapping, not %s", n.kind)
		return
	}
	for _, e := range n.entries {
		if strings.HasSuffix(e.key, "Principal") {
			c.add(e.at, hint("take it out"), "a %s cannot have %s", c.kind.name, quote(e.key))
			return
		}
	}
	n.only(c.problems, oneOfKeys(statementKeys), statementKeys...)
	if sid := n.get("Sid"); sid != nil && (sid.kind != isText || !sidPattern().MatchString(sid.text)) {
		c.add(sid.at, hint("write it as in NoSecrets, or take it out"), "`Sid` must be letters and digits")
	}
	switch effect := n.get("Effect"); {
	case effect == nil:
		c.add(n.at, hint(`add "Effect": "Allow" or "Deny"`), "the statement has no `Effect`")
	case effect.kind != isText || effect.text != "Allow" && effect.text != "Deny":
		c.add(effect.at, oneOf(effect.text, "Allow", "Deny"), "the `Effect` is not known")
	}
	c.one(n, "Action", "NotAction", actionPattern(), `an action such as "s3:GetObject"`)
	c.one(n, "Resource", "NotResource", resourcePattern(), `"*" or an ARN such as "arn:aws:s3:::bucket/*"`)
	for _, key := range []string{"Resource", "NotResource"} {
		for _, item := range texts(n.get(key)) {
			c.partition(item)
		}
	}
	if condition := n.get("Condition"); condition != nil {
		c.condition(condition)
	}
}

// partition checks that the partition in an ARN is one of AWS's, or a pattern.
func (c documentChecker) partition(n *node) {
	partition := splitARN(n.text).partition
	if _, known := PartitionNamed(partition); !known && !wild(partition) && resourcePattern().MatchString(n.text) {
		c.add(n.at, oneOf(partition, partitionNames()...), "AWS has no partition %s", quote(partition))
	}
}

// one checks that exactly one of two elements is there, and is text or a list
// of texts of the wanted form.
func (c documentChecker) one(n *node, key, notKey string, want *regexp.Regexp, what string) {
	value, not := n.get(key), n.get(notKey)
	switch {
	case value == nil && not == nil:
		c.add(n.at, hint("add `"+key+"`, with "+what), "the statement has neither `%s` nor `%s`", key, notKey)
		return
	case value != nil && not != nil:
		c.add(not.at, hint("take one out"), "the statement has both `%s` and `%s`", key, notKey)
		return
	case value == nil:
		key, value = notKey, not
	}
	items := []*node{value}
	if value.kind == isList {
		items = value.items
	}
	if len(items) == 0 {
		c.add(value.at, hint("write "+what), "`%s` is empty", key)
	}
	for _, item := range items {
		switch {
		case item.kind != isText:
			c.add(item.at, hint("write "+what), "`%s` must be text, not %s", key, item.kind)
		case item.text == "":
			c.add(item.at, hint("write "+what), "`%s` is empty", key)
		case !want.MatchString(item.text):
			c.add(item.at, hint("write "+what), "%s cannot be in `%s`", quote(item.text), key)
		}
	}
}

// conditionOperators are all that IAM knows: each alone, with IfExists after
// it, and before both what makes it hold for lists. Source: the IAM JSON policy
// elements reference.
var conditionOperators = func() []string {
	all := []string{"Null", "ForAllValues:Null", "ForAnyValue:Null"}
	for _, name := range []string{
		"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase",
		"StringLike", "StringNotLike",
		"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals",
		"NumericGreaterThan", "NumericGreaterThanEquals",
		"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals",
		"DateGreaterThan", "DateGreaterThanEquals",
		"Bool", "BinaryEquals", "IpAddress", "NotIpAddress",
		"ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike",
	} {
		for _, before := range []string{"", "ForAllValues:", "ForAnyValue:"} {
			all = append(all, before+name, before+name+"IfExists")
		}
	}
	return all
}()

// condition checks {operator: {key: value or list of values}}. An empty one
// would hold always.
func (c documentChecker) condition(n *node) {
	if n.kind != isMapping || len(n.entries) == 0 {
		c.add(n.at, hint("write it as in "+aCondition), "`Condition` must map operators to keys and values")
		return
	}
	for _, operator := range n.entries {
		if !slices.Contains(conditionOperators, operator.key) {
			c.add(operator.at, didYouMean(operator.key, conditionOperators, "write one such as StringEquals, ArnLike or Bool"), "%s is not a condition operator", quote(operator.key))
		}
		if operator.value.kind != isMapping || len(operator.value.entries) == 0 {
			c.add(operator.at, hint("write the condition as in "+aCondition), "%s must map keys to values", quote(operator.key))
			continue
		}
		for _, key := range operator.value.entries {
			items := []*node{key.value}
			if key.value.kind == isList {
				items = key.value.items
			}
			if len(items) == 0 {
				c.add(key.value.at, hint("give it a value, or take it out"), "%s is empty", quote(key.key))
			}
			for _, item := range items {
				c.operand(item)
			}
		}
	}
}

func (c documentChecker) operand(n *node) {
	switch {
	case n.kind == isText, n.kind == isBool:
	case n.kind == isNumber && json.Valid([]byte(n.text)):
	case n.kind == isNumber:
		c.add(n.at, hint("put it in quotes"), "%s is not a number in JSON", quote(n.text))
	default:
		c.add(n.at, hint("write one value, or a list of them"), "a condition's value must be text, a number, true or false, not %s", n.kind)
	}
}

// document checks an IAM policy document that is stored as minified JSON, if
// there is one.
func (c *checker) document(at []string, kind documentKind, stored string) {
	if stored == "" {
		return
	}
	var ps problems
	n := readJSON(newSource(at[len(at)-1], 0, stored), []byte(stored), &ps)
	if n != nil && kind.check(n, &ps) != stored && len(ps.found) == 0 {
		ps.add(n.at, onlyStored, "the %s is not minified, or not in alphabetical order", kind.name)
	}
	for _, p := range ps.found {
		c.add(at, p.suggest, "%s", p.message)
	}
}

// Limits that AWS sets on what AssumeRole is given, in characters. Source: the
// AssumeRole API reference.
const (
	minExternalID = 2
	maxExternalID = 1224
	maxTags       = 50 // Starback's own among them
	ownTags       = 3  // starback:user, starback:request and starback:role
	maxTagKey     = 128
	maxTagValue   = 256
)

var (
	policyARN         = expression(`^arn:(aws(?:-[a-z]+)*):iam::([0-9]{12}|aws):policy(?:/[\w+=,.@-]+)+$`)
	externalIDPattern = expression(`^[\w+=,.@:/-]+$`)
	// AWS takes \p{Z}: the line and paragraph separators among it are refused
	// in every text.
	tagPattern = expression(`^[\p{L}\p{Zs}\p{N}_.:/=+\-@]*$`)
)

// session checks what else AssumeRole is given, and what the IAM role may do.
func (c *checker) session(at func(...string) []string, r *Role) {
	c.arns(at, "session_policy_arns", r, r.SessionPolicyARNs, MaxSessionPolicyARNs)
	c.arns(at, "permission_arns", r, r.PermissionARNs, MaxPermissionARNs)
	if n := len(r.ExternalID); n > 0 && (n < minExternalID || n > maxExternalID || !externalIDPattern().MatchString(r.ExternalID)) {
		c.add(at("external_id"), hint("copy it from the role's trust policy"), "`external_id` must be 2 to 1,224 letters, digits and +=,.@:/-_")
	}
	c.tags(at, r)
}

// arns checks managed policies: of AWS, or of the account that they are used
// in.
func (c *checker) arns(at func(...string) []string, key string, r *Role, arns []string, most int) {
	if len(arns) > most {
		c.add(at(key), hint("join some in one policy of your own"), "AWS takes %d ARNs in %s at most", most, quote(key))
	}
	given := map[string]bool{}
	for _, arn := range arns {
		here := at(key, arn)
		parts := policyARN().FindStringSubmatch(arn)
		switch {
		case given[arn]:
			c.add(here, onlyStored, "%s is listed twice", quote(arn))
		case parts == nil:
			c.add(here, hint("write it as in arn:"+r.Partition+":iam::aws:policy/ReadOnlyAccess"), "%s is not the ARN of an IAM policy", quote(arn))
		case parts[1] != r.Partition || parts[2] != r.AccountID && parts[2] != "aws":
			c.add(here, hint("make it in "+r.AccountID+" too, and name that"), "a managed policy must be AWS's or of the role's own account")
		}
		given[arn] = true
	}
}

// tags checks session tags. STS does not tell keys apart by case.
func (c *checker) tags(at func(...string) []string, r *Role) {
	if len(r.Tags) > 0 && r.NoTags {
		c.add(at("tags"), onlyStored, "the role has tags, and cannot take any")
	}
	if most := maxTags - ownTags; len(r.Tags) > most {
		c.add(at("tags"), hint(fmt.Sprintf("take %d out", len(r.Tags)-most)), "AWS takes %d tags at most, and Starback gives %d", maxTags, ownTags)
	}
	given := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		here, folded := at("tags", key), strings.ToLower(key)
		other, taken := given[folded]
		switch {
		case strings.HasPrefix(folded, "aws:"), strings.HasPrefix(folded, "starback:"):
			c.add(here, hint("give it another name"), "the tags that begin with `aws:` or `starback:` are not yours to give")
		case taken:
			c.add(here, hint("take one out"), "%s and %s are the same tag to AWS", quote(other), quote(key))
		case !tagText(key, 1, maxTagKey):
			c.add(here, tagMeant(key, maxTagKey), "a tag's key must be 1 to %d letters, digits, spaces and _.:/=+-@", maxTagKey)
		case !tagText(r.Tags[key], 0, maxTagValue):
			c.add(here, tagMeant(r.Tags[key], maxTagValue), "a tag's value must be at most %d letters, digits, spaces and _.:/=+-@", maxTagValue)
		}
		given[folded] = key
	}
}

// tagMeant suggests how to make a tag's key or value of s.
func tagMeant(s string, most int) suggestion {
	for _, r := range s {
		if !tagPattern().MatchString(string(r)) {
			return hint("take the " + quote(string(r)) + " out")
		}
	}
	if n := utf8.RuneCountInString(s); n > most {
		return hint(fmt.Sprintf("it is %d: shorten it", n))
	}
	return hint("give it a name, or take it out")
}

func tagText(s string, least, most int) bool {
	n := utf8.RuneCountInString(s)
	return n >= least && n <= most && tagPattern().MatchString(s)
}
