package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A part is one thing that a policy file says, ready to be written, or to be
// compared with the same part of another.
type part struct {
	key   string // under which it is; of a list's item, what tells it from the others
	shape shape
	yaml  string // a scalar, as it is written
	text  string // what it comes to, in words; empty if that is said by its parts
	parts []part
	// implied says that the file can leave it out: it is the default, or
	// follows from something else.
	implied bool
}

// A shape is how a part is written.
type shape int

const (
	isScalar shape = iota
	isSequence
	isEntity  // a mapping that means something however little is in it
	isSection // a mapping that is no more than what is in it
)

// whole says whether p is compared as one thing, not part by part.
func (p *part) whole() bool { return p.shape == isScalar || p.text != "" }

// get returns the part of p under key, or nil.
func (p *part) get(key string) *part {
	i := slices.IndexFunc(p.parts, func(q part) bool { return q.key == key })
	if i < 0 {
		return nil
	}
	return &p.parts[i]
}

// outline returns what a policy file must say to mean d, in the order of the
// file, and after that the names of removed groups, which no file holds.
func outline(d *Document) *part {
	root := &part{shape: isSection}
	if d == nil {
		return root
	}
	accounts := part{key: "accounts", shape: isSection}
	for _, name := range slices.Sorted(maps.Keys(d.Accounts)) {
		accounts.parts = append(accounts.parts, accountPart(d.Accounts[name]))
	}
	groups := part{key: "groups", shape: isSection}
	for _, name := range slices.Sorted(maps.Keys(d.Groups)) {
		group := part{key: string(name), shape: isEntity}
		group.word("slack_group", d.Groups[name].SlackGroup, "")
		group.list(grantsPart(d.Groups[name].Grants))
		groups.parts = append(groups.parts, group)
	}
	roles := part{key: "roles", shape: isSection}
	for _, name := range slices.Sorted(maps.Keys(d.Roles)) {
		roles.parts = append(roles.parts, rolePart(d.Roles[name], d.Accounts[d.Roles[name].Account]))
	}
	root.parts = []part{
		accounts, groups, namesPart("admins", d.Admins), settingsPart(d.Settings), roles, namesPart("removed", d.Removed),
	}
	return root
}

func accountPart(a Account) part {
	p := part{key: string(a.Name), shape: isEntity}
	p.parts = append(p.parts, part{key: "id", yaml: inQuotes(a.ID), text: a.ID})
	p.word("partition", a.Partition, "aws")
	p.word("region", a.Region, "")
	return p
}

func settingsPart(s Settings) part {
	p := part{key: "settings", shape: isSection}
	p.flag("bind_by_email", s.BindByEmail, false)
	p.plain("user_lifetime", lifetimeText(s.UserLifetime), s.UserLifetime == defaultUserLifetime)
	if s.TokenLifetime != 0 {
		p.plain("token_lifetime", lifetimeText(s.TokenLifetime), false)
	}
	p.flag("two_admins", s.TwoAdmins, false)
	p.word("ticket_url", s.TicketURL, "")
	return p
}

// rolePart returns a Role of an Account.
func rolePart(r *Role, account Account) part {
	p := part{key: string(r.Name), shape: isEntity}
	p.word("description", r.Description, "")
	p.word("account", string(r.Account), "")
	if name, ok := strings.CutPrefix(r.ARN, "arn:"+account.Partition+":iam::"+account.ID+":role/"); ok {
		p.word("iam_role", name, "")
	} else {
		p.word("arn", r.ARN, "")
	}
	p.word("region", r.Region, account.Region)
	p.list(namesPart("includes", r.Includes))
	p.plain("max_duration", durationText(r.MaxDuration), false)
	p.plain("default_duration", durationText(r.DefaultDuration), r.DefaultDuration == min(defaultDuration, r.MaxDuration))
	reason := "optional"
	if r.ReasonRequired {
		reason = "required"
	}
	p.word("reason", reason, "optional")
	p.word("ticket", r.Ticket.String(), "")
	p.word("ticket_url", r.TicketURL, "")
	if r.Approval != nil {
		p.parts = append(p.parts, approvalPart(r.Approval))
	}
	p.flag("console", r.Console, false)
	p.word("destination", r.Destination, "")
	p.document("session_policy", r.SessionPolicy)
	p.list(namesPart("session_policy_arns", r.SessionPolicyARNs))
	p.word("external_id", r.ExternalID, "")
	p.tags(r)
	p.flag("source_identity", !r.NoSourceIdentity, true)
	p.document("permissions", r.Permissions)
	p.list(namesPart("permission_arns", r.PermissionARNs))
	return p
}

func approvalPart(a *Approval) part {
	p := part{key: "approval", shape: isEntity}
	p.list(namesPart("by", a.By))
	p.plain("count", strconv.Itoa(a.Count), a.Count == 1)
	p.plain("within", durationText(a.Within), a.Within == defaultWithin)
	p.plain("claim_within", durationText(a.ClaimWithin), a.ClaimWithin == defaultClaimWithin)
	p.list(namesPart("escalate_to", a.EscalateTo))
	p.plain("escalate_after", durationText(a.EscalateAfter), len(a.EscalateTo) == 0 || a.EscalateAfter == a.Within/2)
	return p
}

// tags adds the session tags: which there are, or whether there may be any.
func (p *part) tags(r *Role) {
	if len(r.Tags) == 0 {
		p.flag("tags", !r.NoTags, true)
		return
	}
	tags := part{key: "tags", shape: isSection}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		tags.parts = append(tags.parts, part{key: key, yaml: yamlText(r.Tags[key])})
	}
	tags.text = tags.flow()
	p.parts = append(p.parts, tags)
}

// document adds an IAM policy document, if there is one, in place.
func (p *part) document(key, minified string) {
	if minified == "" {
		return
	}
	var ps problems
	n := readJSON(newSource(key, 0, minified), []byte(minified), &ps)
	if n == nil { // no Document that was checked holds one
		n = &node{kind: isText, text: minified}
	}
	p.parts = append(p.parts, jsonPart(key, n))
	p.parts[len(p.parts)-1].text = minified
}

// jsonPart returns a part that says what n does.
func jsonPart(key string, n *node) part {
	p := part{key: key}
	switch n.kind {
	case isMapping:
		p.shape = isSection
		for _, e := range slices.SortedStableFunc(slices.Values(n.entries), byCustom) {
			p.parts = append(p.parts, jsonPart(e.key, e.value))
		}
	case isList:
		p.shape = isSequence
		for i, item := range n.items {
			p.parts = append(p.parts, jsonPart(strconv.Itoa(i), item))
		}
	case isText:
		p.yaml = yamlText(n.text)
	default:
		p.yaml = n.text
	}
	return p
}

// byCustom orders the elements of an IAM policy document as people write them,
// and leaves all else as it is.
func byCustom(a, b entry) int {
	order := slices.Concat(policyKeys, statementKeys)
	return cmp.Compare(slices.Index(order, a.key), slices.Index(order, b.key))
}

// grantsPart lists grants, each told by its Role.
func grantsPart(grants []Grant) part {
	list := part{key: "grants", shape: isSequence}
	for _, g := range sortGrants(grants) {
		role := part{key: string(g.Role), yaml: yamlText(string(g.Role)), text: "without end"}
		if !g.Expires.IsZero() {
			until := instantText(g.Expires)
			role = part{key: role.key, shape: isEntity, text: "until " + until, parts: []part{
				{key: "role", yaml: role.yaml}, {key: "until", yaml: until},
			}}
		}
		list.parts = append(list.parts, role)
	}
	return list
}

// namesPart lists names.
func namesPart[T ~string](key string, names []T) part {
	list := part{key: key, shape: isSequence}
	for _, name := range sorted(names) {
		list.parts = append(list.parts, part{key: string(name), yaml: yamlText(string(name))})
	}
	return list
}

// list adds a list, if there is anything in it.
func (p *part) list(list part) {
	if len(list.parts) > 0 {
		p.parts = append(p.parts, list)
	}
}

// word adds a text, unless it is empty.
func (p *part) word(key, value, otherwise string) {
	if value != "" {
		p.parts = append(p.parts, part{key: key, yaml: yamlText(value), text: value, implied: value == otherwise})
	}
}

// flag adds a yes or no.
func (p *part) flag(key string, value, otherwise bool) {
	p.plain(key, strconv.FormatBool(value), value == otherwise)
}

// plain adds what needs no quotes.
func (p *part) plain(key, text string, implied bool) {
	p.parts = append(p.parts, part{key: key, yaml: text, text: text, implied: implied})
}

// lifetimeText writes d as ParseLifetime reads it, in days where it can.
func lifetimeText(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return durationText(d)
}

// instantText writes t as ParseInstant reads it: the end of a day as its date.
func instantText(t time.Time) string {
	t = t.UTC()
	if start := t.Truncate(24 * time.Hour); t.Equal(start) {
		return start.AddDate(0, 0, -1).Format(time.DateOnly)
	}
	return t.Format(time.RFC3339Nano)
}
