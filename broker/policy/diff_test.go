package policy_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

func lines(differences []policy.Difference) []string {
	var all []string
	for _, x := range differences {
		line := x.String()
		if x.Weakens {
			line += " (weaker)"
		}
		all = append(all, line)
	}
	return all
}

// diffPolicy is what the rows of TestDiff change, a line at a time.
const diffPolicy = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  sre: {grants: [prod-admin]}
  leads: {}
admins: [leads]
settings: {two_admins: true}
roles:
  prod-admin:
    account: prod
    iam_role: Admin
    max_duration: 4h
    reason: required
    ticket: INC-[0-9]+
    includes: [plain]
    session_policy: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "*", Resource: "*"}}
    session_policy_arns: ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
    approval: {by: [leads], count: 2, within: 1h, claim_within: 1h}
  plain: {account: prod, iam_role: Plain, max_duration: 30m}
`

// TestDiff replaces a piece of the policy and checks what is said of that.
func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           []string
	}{
		{"nothing", "leads: {}", "leads:  {}", nil},
		{"another order", "{by: [leads], count: 2", "{count: 2, by: [leads]", nil},
		{"a default, spelled out", "max_duration: 30m}", "max_duration: 30m, default_duration: 30m, console: false}", nil},
		{"an account", `id: "111122223333"`, `id: "444455556666", region: eu-west-1`, []string{
			"accounts.prod.id: 111122223333 → 444455556666", "accounts.prod.region: added, eu-west-1",
			"roles.plain.region: added, eu-west-1", "roles.prod-admin.region: added, eu-west-1"}},
		{"a group", "leads: {}", "leads: {}\n  dev: {grants: [plain, {role: prod-admin, until: 2027-01-31}]}", []string{
			"groups.dev: added", "groups.dev.grants.plain: added, without end", "groups.dev.grants.prod-admin: added, until 2027-01-31"}},
		{"a group less", "  sre: {grants: [prod-admin]}\n", "", []string{"groups.sre: removed"}},
		{"a grant's end", "grants: [prod-admin]", "grants: [{role: prod-admin, until: 2027-01-31T12:00:00Z}]", []string{
			"groups.sre.grants.prod-admin: without end → until 2027-01-31T12:00:00Z"}},
		{"another grant", "grants: [prod-admin]", "grants: [plain]", []string{
			"groups.sre.grants.prod-admin: removed, was without end", "groups.sre.grants.plain: added, without end"}},
		{"administrators", "admins: [leads]", "admins: [sre]", []string{"admins.leads: removed", "admins.sre: added"}},
		{"settings", "{two_admins: true}", "{user_lifetime: 36h, token_lifetime: 91d}", []string{
			"settings.user_lifetime: 90d → 36h", "settings.token_lifetime: added, 91d (weaker)", "settings.two_admins: true → false (weaker)"}},
		{"a user group", "leads: {}", "leads: {slack_group: S012ABCDEF}", []string{"groups.leads.slack_group: added, S012ABCDEF"}},
		{"where tickets are", "{two_admins: true}", "{two_admins: true, ticket_url: 'https://t.example/{ticket}'}", []string{
			"settings.ticket_url: added, https://t.example/{ticket}"}},
		{"where a role's tickets are", "    ticket: INC-[0-9]+", "    ticket: INC-[0-9]+\n    ticket_url: https://t.example/{ticket}", []string{
			"roles.prod-admin.ticket_url: added, https://t.example/{ticket}"}},
		{"a shorter life of tokens", "{two_admins: true}", "{two_admins: true, token_lifetime: 89d}", []string{"settings.token_lifetime: added, 89d"}},
		{"a role", "  plain: ", "  new: {account: prod, iam_role: New, max_duration: 30m, approval: {by: [leads]}}\n  plain: ", []string{
			"roles.new: added", "roles.new.account: added, prod", "roles.new.iam_role: added, New", "roles.new.max_duration: added, 30m",
			"roles.new.approval: added", "roles.new.approval.by.leads: added"}},
		{"a longer maximum", "max_duration: 4h", "max_duration: 8h", []string{"roles.prod-admin.max_duration: 4h → 8h (weaker)"}},
		{"a shorter maximum", "max_duration: 4h", "max_duration: 30m", []string{"roles.prod-admin.max_duration: 4h → 30m"}},
		{"a default", "max_duration: 4h", "max_duration: 4h\n    default_duration: 1h30m", []string{"roles.prod-admin.default_duration: 1h → 1h30m"}},
		{"no reason", "reason: required", "reason: optional", []string{"roles.prod-admin.reason: required → optional (weaker)"}},
		{"no ticket", "    ticket: INC-[0-9]+\n", "", []string{"roles.prod-admin.ticket: removed, was INC-[0-9]+ (weaker)"}},
		{"another ticket", "INC-[0-9]+", ".*", []string{"roles.prod-admin.ticket: INC-[0-9]+ → .* (weaker)"}},
		{"a ticket", "max_duration: 30m}", "max_duration: 30m, ticket: a, reason: required}", []string{
			"roles.plain.reason: optional → required", "roles.plain.ticket: added, a"}},
		{"no approval", "    approval: {by: [leads], count: 2, within: 1h, claim_within: 1h}\n", "", []string{"roles.prod-admin.approval: removed (weaker)"}},
		{"fewer approvals", "count: 2", "count: 1", []string{"roles.prod-admin.approval.count: 2 → 1 (weaker)"}},
		{"more approvals", "count: 2", "count: 3", []string{"roles.prod-admin.approval.count: 2 → 3"}},
		{"more approvers", "by: [leads]", "by: [leads, sre]", []string{"roles.prod-admin.approval.by.sre: added (weaker)"}},
		{"other approvers", "by: [leads]", "by: [sre]", []string{
			"roles.prod-admin.approval.by.leads: removed", "roles.prod-admin.approval.by.sre: added (weaker)"}},
		{"longer waits", "within: 1h, claim_within: 1h", "within: 2h, claim_within: 2h", []string{
			"roles.prod-admin.approval.within: 1h → 2h (weaker)", "roles.prod-admin.approval.claim_within: 1h → 2h (weaker)"}},
		{"shorter waits", "within: 1h, claim_within: 1h", "within: 30m, claim_within: 1m", []string{
			"roles.prod-admin.approval.within: 1h → 30m", "roles.prod-admin.approval.claim_within: 1h → 1m"}},
		{"an approval", "max_duration: 30m}", "max_duration: 30m, approval: {by: [leads], count: 2}}", []string{
			"roles.plain.approval: added", "roles.plain.approval.by.leads: added", "roles.plain.approval.count: added, 2"}},
		{"a session policy", "max_duration: 30m}", `max_duration: 30m, session_policy: {Version: "2012-10-17", Statement: {Effect: Deny, Action: "*", Resource: "*"}}}`,
			[]string{"roles.plain.session_policy: added"}},
		{"another session policy", "Effect: Allow", "Effect: Deny", []string{"roles.prod-admin.session_policy: changed (weaker)"}},
		{"no session policy", `    session_policy: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "*", Resource: "*"}}` + "\n", "",
			[]string{"roles.prod-admin.session_policy: removed (weaker)"}},
		{"another managed policy", `["arn:aws:iam::aws:policy/R`, `["arn:aws:iam::aws:policy/Admin", "arn:aws:iam::aws:policy/R`,
			[]string{"roles.prod-admin.session_policy_arns.arn:aws:iam::aws:policy/Admin: added (weaker)"}},
		{"the first managed policy", "max_duration: 30m}", `max_duration: 30m, session_policy_arns: ["arn:aws:iam::aws:policy/Admin"]}`,
			[]string{"roles.plain.session_policy_arns.arn:aws:iam::aws:policy/Admin: added"}},
		{"no managed policy", `    session_policy_arns: ["arn:aws:iam::aws:policy/ReadOnlyAccess"]` + "\n", "",
			[]string{"roles.prod-admin.session_policy_arns.arn:aws:iam::aws:policy/ReadOnlyAccess: removed (weaker)"}},
		{"tags", "max_duration: 30m}", "max_duration: 30m, tags: {team: data, area: a b}}", []string{"roles.plain.tags: true → {area: a b, team: data}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(diffPolicy, c.old) {
				t.Fatalf("the policy holds no %q", c.old)
			}
			was, is := parse(t, diffPolicy), parse(t, strings.Replace(diffPolicy, c.old, c.new, 1))
			if diff := cmp.Diff(c.want, lines(policy.Diff(was, is))); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDiffOfDocuments checks what both texts of a session policy are, and what
// there is to say when there was nothing.
func TestDiffOfDocuments(t *testing.T) {
	was := parse(t, diffPolicy)
	is := parse(t, strings.Replace(diffPolicy, "Effect: Allow", "Effect: Deny", 1))
	want := []policy.Difference{{
		Path: []string{"roles", "prod-admin", "session_policy"}, Kind: policy.Changed, Weakens: true,
		Was: was.Roles["prod-admin"].SessionPolicy, Is: is.Roles["prod-admin"].SessionPolicy,
	}}
	if diff := cmp.Diff(want, policy.Diff(was, is)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, x := range policy.Diff(nil, is) {
		if x.Kind != policy.Added || x.Weakens {
			t.Errorf("%s, and there was nothing before", x)
		}
	}
	removed := parse(t, diffPolicy)
	removed.Removed = []policy.GroupName{"old"}
	if diff := cmp.Diff([]string{"removed.old: added"}, lines(policy.Diff(was, removed))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDiffTellsApart replaces one field of a Document at random and checks
// that there is a Difference, either way round, if and only if it means
// something else.
func TestDiffTellsApart(t *testing.T) {
	full := checks(t, 600)
	changed := 0
	rapid.Check(t, func(t *rapid.T) {
		was := valid().Draw(t, "was")
		is, other := again(t, was), valid().Draw(t, "other")
		switch names := slices.Sorted(maps.Keys(was.Roles)); {
		case len(names) > 0 && len(other.Roles) > 0 && !seldom(4).Draw(t, "role"):
			from := other.Roles[slices.Min(slices.Collect(maps.Keys(other.Roles)))]
			swap(t, is.Roles[rapid.SampledFrom(names).Draw(t, "name")], from)
		default:
			swap(t, is, other)
		}
		if is.Digest() == "" {
			t.Skip("it makes no sense")
		}
		same := was.Digest() == is.Digest()
		if !same {
			changed++
		}
		for _, d := range [][]policy.Difference{policy.Diff(was, is), policy.Diff(is, was)} {
			if (len(d) == 0) != same {
				t.Fatalf("the digests are the same: %v; %q", same, lines(d))
			}
		}
	})
	if full && changed < 20 {
		t.Errorf("only %d documents changed: the inputs test too little", changed)
	}
}

// again returns a copy of d.
func again(t *rapid.T, d *policy.Document) *policy.Document {
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	copied, err := policy.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

// swap replaces one field of what into points to by the same of from.
func swap(t *rapid.T, into, from any) {
	to, of := reflect.ValueOf(into).Elem(), reflect.ValueOf(from).Elem()
	i := rapid.IntRange(0, to.NumField()-1).Draw(t, "field")
	to.Field(i).Set(of.Field(i))
}
