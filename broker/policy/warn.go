package policy

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Warnings returns what is legal in the file but, at that time, cannot be meant,
// such as a session policy that allows nothing: at most 50, in the order of
// Errors. A warning that is not true of every file that provokes it would teach
// people to look away, so in doubt there is none.
func (f *File) Warnings(now time.Time) []*Error {
	w := &warner{now: now}
	for _, doc := range f.documents {
		w.document(doc)
	}
	w.roles(f.root, f)
	w.groups(f.root, f.Document)
	w.ended(f.root)
	return w.errors()
}

// A warner collects warnings.
type warner struct {
	problems
	now time.Time
}

// roles warns of Roles that nobody can have. A file without users says nothing
// of who was granted what.
func (w *warner) roles(root *node, file *File) {
	if file.Users == nil {
		return
	}
	reached := map[RoleName]bool{}
	grant := func(grants []Grant) {
		for _, g := range grants {
			reached[g.Role] = true
		}
	}
	for _, group := range file.Document.Groups {
		grant(group.Grants)
	}
	for _, user := range file.Users {
		grant(user.Grants)
	}
	for _, role := range file.Document.Roles {
		for _, name := range role.Includes {
			reached[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(file.Document.Roles)) {
		if !reached[name] && len(w.found) < maxFindings {
			w.add(root.locate([]string{"roles", string(name)}), hint("grant it to somebody, or take it out"),
				"no group or user of the file is granted %s, and no role includes it", quote(string(name)))
		}
	}
}

// groups warns of Groups that are for nothing.
func (w *warner) groups(root *node, d *Document) {
	used := map[GroupName]bool{}
	for _, name := range d.Admins {
		used[name] = true
	}
	for _, role := range d.Roles {
		if role.Approval != nil {
			for _, name := range role.Approval.Groups() {
				used[name] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Groups)) {
		if !used[name] && len(d.Groups[name].Grants) == 0 && len(w.found) < maxFindings {
			w.add(root.locate([]string{"groups", string(name)}), hint("give it grants, or take it out"),
				"the group %s has no grants, approves nothing and administers nothing", quote(string(name)))
		}
	}
}

// A statement is one statement of an IAM policy document.
type statement struct {
	*node
	deny      bool
	actions   []*node // none if it has NotAction
	resources []*node // none if it has NotResource
}

// statements returns the statements of a document that was checked.
func (d *document) statements() []statement {
	all := []*node{d.root.get("Statement")}
	if all[0].kind == isList {
		all = all[0].items
	}
	var list []statement
	for _, n := range all {
		list = append(list, statement{
			node:      n,
			deny:      n.get("Effect").text == "Deny",
			actions:   texts(n.get("Action")),
			resources: texts(n.get("Resource")),
		})
	}
	return list
}

// texts returns a text, or those of a list, or none.
func texts(n *node) []*node {
	switch {
	case n == nil:
		return nil
	case n.kind == isList:
		return n.items
	default:
		return []*node{n}
	}
}

func (w *warner) document(d *document) {
	statements := d.statements()
	w.denies(d, statements)
	for i, s := range statements {
		w.repeated(s, statements[:i])
		w.hidden(s, statements)
		w.empty(s)
		w.times(s)
		w.partition(d, s)
		if w.services(s) {
			w.buckets(s)
		}
	}
}

// denies warns of a document that only denies, where nothing else allows: what
// no policy allows is denied anyway.
func (w *warner) denies(d *document, statements []statement) {
	others := func(r *Role) bool { return len(r.SessionPolicyARNs) > 0 }
	if d.kind == permissions {
		others = func(r *Role) bool { return len(r.PermissionARNs) > 0 }
	}
	allows := func(s statement) bool { return !s.deny }
	if !slices.ContainsFunc(statements, allows) && !slices.ContainsFunc(d.roles, others) {
		w.add(d.root.at, hint("allow what it is meant to leave"), "the %s allows nothing, because it only denies", d.kind.name)
	}
}

// repeated warns of a statement that says what one before it says.
func (w *warner) repeated(s statement, before []statement) {
	for _, other := range before {
		differs := func(key string) bool { return key != "Sid" && !same(s.get(key), other.get(key)) }
		if !slices.ContainsFunc(statementKeys, differs) {
			w.add(s.at, hint("take one out"), "the statement is the same as the one on line %d", other.at.line)
			return
		}
	}
}

func same(a, b *node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.minify() == b.minify()
}

// hidden warns of a statement that allows only what another one denies.
func (w *warner) hidden(s statement, all []statement) {
	if s.deny || len(s.actions) == 0 || len(s.resources) == 0 {
		return
	}
	for _, other := range all {
		if other.deny && other.get("Condition") == nil &&
			covered(s.actions, other.actions, strings.ToLower) && covered(s.resources, other.resources, strings.Clone) {
			w.add(s.at, hint("take out one of the two"), "all that the statement allows is denied on line %d", other.at.line)
			return
		}
	}
}

// covered says whether every pattern of inner matches only what some pattern
// of outer matches. It may say no where the answer is yes.
func covered(inner, outer []*node, fold func(string) string) bool {
	return !slices.ContainsFunc(inner, func(in *node) bool {
		return !slices.ContainsFunc(outer, func(out *node) bool { return contains(fold(out.text), fold(in.text)) })
	})
}

// contains says whether outer, in which * stands for anything, matches the
// text of inner, and so whatever inner's own wildcards stand for.
func contains(outer, inner string) bool {
	if outer == inner || outer == "*" {
		return true
	}
	if strings.ContainsAny(outer, "?$") || strings.Contains(inner, "$") { // $ begins a variable
		return false
	}
	parts := strings.Split(outer, "*")
	rest, ok := strings.CutPrefix(inner, parts[0])
	for i, part := range parts[1:] {
		if !ok {
			break
		}
		if i == len(parts)-2 {
			return strings.HasSuffix(rest, part)
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	return false
}

// A resourceARN is a pattern of ARNs in its parts.
type resourceARN struct{ partition, service, region, account, resource string }

// splitARN takes a Resource apart. One that is too short to be, such as "*",
// may be any.
func splitARN(s string) resourceARN {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) < 6 {
		return resourceARN{"*", "*", "*", "*", "*"}
	}
	return resourceARN{parts[1], parts[2], parts[3], parts[4], parts[5]}
}

// wild says whether s, a part of a pattern, may stand for several texts.
func wild(s string) bool { return strings.ContainsAny(s, "*?$") }

// partition warns of a statement whose resources are all in other partitions
// than the document's Roles.
func (w *warner) partition(d *document, s statement) {
	if len(s.resources) == 0 {
		return
	}
	for _, resource := range s.resources {
		partition := splitARN(resource.text).partition
		if wild(partition) || slices.ContainsFunc(d.roles, func(r *Role) bool { return r.Partition == partition }) {
			return
		}
	}
	w.add(s.resources[0].at, hint("write arn:"+d.roles[0].Partition+":"),
		"no resource of the statement is in the role's partition, %s", quote(d.roles[0].Partition))
}

// onOthers are services that are used much, each with the other services on
// whose resources it has actions too. Of a service that is not here nothing is
// known. Source: the Service Authorization Reference, as of September 2026.
var onOthers = map[string][]string{
	"athena": nil, "autoscaling": nil, "cloudformation": nil, "cloudwatch": nil, "dynamodb": nil, "ecr": nil,
	"ecs": nil, "eks": nil, "elasticloadbalancing": nil, "glue": nil, "iam": nil, "kms": nil, "lambda": nil,
	"logs": nil, "rds": nil, "secretsmanager": nil, "sns": nil, "sqs": nil, "states": nil,
	"ec2":    {"acm", "elastic-inference", "iam", "license-manager", "resource-groups"},
	"events": {"kms"}, "kinesis": {"kms"},
	"s3":  {"s3-object-lambda"},
	"ssm": {"ec2", "ecs", "iam", "s3"},
	"sts": {"iam"},
}

// services warns of resources that no action is on, and of actions that are on
// no resource, as far as their services tell. It says whether there are none.
func (w *warner) services(s statement) bool {
	before := len(w.found)
	var of [][]string // the services that each action is on resources of
	for _, action := range s.actions {
		service := serviceOf(action)
		others, known := onOthers[service]
		if !known {
			w.misspelt(s)
			return len(w.found) == before
		}
		of = append(of, append([]string{service}, others...))
	}
	var is []string // the service that each resource is of
	for _, resource := range s.resources {
		service := splitARN(resource.text).service
		if wild(service) {
			return true
		}
		is = append(is, service)
	}
	for i, service := range is {
		if len(of) > 0 && !slices.ContainsFunc(of, func(on []string) bool { return slices.Contains(on, service) }) {
			w.add(s.resources[i].at, resourceMeant(service), "no action of the statement is on a resource of %s", quote(service))
		}
	}
	if len(w.found) > before {
		return false
	}
	for i, on := range of {
		if len(is) > 0 && !slices.ContainsFunc(is, func(service string) bool { return slices.Contains(on, service) }) {
			w.add(s.actions[i].at, hint("add a resource of "+on[0]), "the action is not on any resource of the statement")
		}
	}
	return len(w.found) == before
}

// serviceOf returns the service of an action.
func serviceOf(action *node) string {
	service, _, _ := strings.Cut(strings.ToLower(action.text), ":")
	return service
}

// resourceMeant suggests what the service in an ARN was likely meant to be:
// there, case counts.
func resourceMeant(service string) suggestion {
	if _, known := onOthers[strings.ToLower(service)]; known && service != strings.ToLower(service) {
		return hint("write " + strings.ToLower(service))
	}
	return hint("give it a statement with actions of its own")
}

// misspelt warns of actions of a service that is not known where all resources
// are of one that is, and that is written nearly like it.
func (w *warner) misspelt(s statement) {
	for _, action := range s.actions {
		service := serviceOf(action)
		if _, known := onOthers[service]; known || wild(service) {
			continue
		}
		var near string
		for _, resource := range s.resources {
			meant, ok := Suggest(service, []string{splitARN(resource.text).service})
			if _, known := onOthers[meant]; !ok || !known {
				near = ""
				break
			}
			near = meant
		}
		if near != "" {
			w.add(action.at, hint("did you mean "+near+"?"), "no action of %s is on any resource of the statement", quote(service))
		}
	}
}

// empty warns of a statement that leaves out everything.
func (w *warner) empty(s statement) {
	for _, key := range []string{"NotAction", "NotResource"} {
		for _, item := range texts(s.get(key)) {
			if item.text == "*" || key == "NotAction" && item.text == "*:*" {
				w.add(item.at, hint("name only what it is not meant for"), "`%s` leaves out everything, so the statement matches nothing", key)
			}
		}
	}
}

// The actions of S3 that are on objects, and those that are on buckets, as far
// as people confuse them. Source: the Service Authorization Reference.
var (
	objectActions = []string{
		"s3:getobject", "s3:getobjectversion", "s3:getobjectacl", "s3:getobjectattributes", "s3:getobjecttagging",
		"s3:putobject", "s3:putobjectacl", "s3:putobjecttagging", "s3:deleteobject", "s3:deleteobjectversion",
		"s3:restoreobject", "s3:abortmultipartupload", "s3:listmultipartuploadparts",
	}
	bucketActions = []string{
		"s3:listbucket", "s3:listbucketversions", "s3:listbucketmultipartuploads", "s3:getbucketlocation",
		"s3:getbucketpolicy", "s3:getbucketversioning",
	}
)

// buckets warns of actions on objects where every resource is a bucket, and of
// actions on buckets where every resource is an object.
func (w *warner) buckets(s statement) {
	var bucket, object, s3 bool
	for _, resource := range s.resources {
		a := splitARN(resource.text)
		if a.service != "s3" && !wild(a.service) {
			continue
		}
		s3 = true
		slash := strings.Contains(a.resource, "/")
		object = object || slash || wild(a.resource)
		bucket = bucket || !slash || a.region != "" || a.account != "" // an access point has both, and a slash
	}
	for _, action := range s.actions {
		name := strings.ToLower(action.text)
		switch {
		case !s3:
		case !object && slices.Contains(objectActions, name):
			w.add(action.at, hint("write arn:aws:s3:::bucket/*"), "the action is on objects, and no resource of the statement is one")
		case !bucket && slices.Contains(bucketActions, name):
			w.add(action.at, hint("write arn:aws:s3:::bucket"), "the action is on buckets, and no resource of the statement is one")
		}
	}
}
