package policy_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// awkward are words that YAML reads as something else, or that need care.
var awkward = []string{
	"on", "off", "yes", "no", "y", "n", "true", "null", "nan", "1", "007", "1.5", "1e3", "0x1f", "2027-01-31", "12-30",
}

// words draws text that a person might write, and text that nobody should.
func words() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom(awkward),
		rapid.SampledFrom([]string{
			"~", "-", "- a", "? a", "a: b", "a:", ": a", "a #b", "#a", "'a'", `"a"`, `a"b`, `a\b`, `\n`, `\`, "{a}", "[a", "a, b", "&a", "*a", "!a",
			"|", ">", "%a", "@a", "`a`", " a", "a ", "a  b", "Ünïcode", "日本", "🔑", "\u00a0", "\ufeff", "\u00ad", "\U000e0001", "---", "...", "<<", "=",
		}),
		rapid.StringMatching("[ -~]{1,20}"),
		rapid.StringMatching("[a-z:#'\"\\\\,{}\\[\\] -]{1,12}"),
	)
}

// filed draws up to most of names, each once, in their order.
func filed(t *rapid.T, names []string, most int, label string) []string {
	count := rapid.IntRange(0, min(most, len(names))).Draw(t, label+" count")
	return slices.Clone(rapid.Permutation(names).Draw(t, label)[:count])
}

func named[T ~string](names []string) []T {
	var list []T
	for _, name := range names {
		list = append(list, T(name))
	}
	return list
}

func minutes(t *rapid.T, least, most int, label string) time.Duration {
	return time.Duration(rapid.OneOf(rapid.IntRange(least, most), rapid.SampledFrom([]int{60, 120, 240})).
		Filter(func(n int) bool { return least <= n && n <= most }).Draw(t, label)) * time.Minute
}

// sessionPolicy draws an IAM policy document, minified.
func sessionPolicy(t *rapid.T) string {
	deny := map[string]any{"Effect": "Deny", "Resource": "*", "NotAction": []string{"s3:Get*", "iam:*"}}
	if rapid.Bool().Draw(t, "condition") {
		deny["Condition"] = map[string]any{
			"StringLike":      map[string]any{"aws:RequestedRegion": []string{"eu-*", "on", "12", "1.0", "a: b #c"}},
			"NumericLessThan": map[string]any{"aws:MultiFactorAuthAge": rapid.SampledFrom([]any{3600, 1.5, -1, 0}).Draw(t, "age")},
			"Bool":            map[string]any{"aws:MultiFactorAuthPresent": rapid.Bool().Draw(t, "present")},
		}
	}
	allow := map[string]any{
		"Sid":    rapid.SampledFrom([]string{"A", "on", "123", "1e3"}).Draw(t, "sid"),
		"Effect": "Allow", "Action": "*", "Resource": []string{"*", "arn:aws:s3:::b/*"},
	}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{allow, deny}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// validGrants draws Grants of roles, some of which end.
func validGrants(t *rapid.T, roles []string) []policy.Grant {
	var grants []policy.Grant
	for _, role := range filed(t, roles, 3, "grants") {
		grants = append(grants, policy.Grant{Role: policy.RoleName(role), Expires: validUntil(t)})
	}
	return grants
}

func validUntil(t *rapid.T) time.Time {
	return rapid.SampledFrom([]time.Time{
		{}, {}, noon, noon.Add(-time.Hour), noon.Add(time.Hour), noon.Add(time.Nanosecond), noon.Truncate(24 * time.Hour), noon.AddDate(2, 0, 0),
	}).Draw(t, "until")
}

// valid draws Documents that Parse might have made.
func valid() *rapid.Generator[*policy.Document] {
	return rapid.Custom(func(t *rapid.T) *policy.Document {
		pool := append([]string{"a", "b", "c-d", "e.f", "g_h"}, "on", "y", "1", "007", "1e3", "2027-01-31", "null")
		accounts := append(filed(t, pool, 2, "accounts"), "prod")
		groups := append(filed(t, pool, 4, "groups"), "ops")
		roles := filed(t, []string{"a", "b", "c-d", "on", "007", "1e3", "no", "z"}, 5, "roles")
		d := &policy.Document{
			Accounts: map[policy.AccountName]policy.Account{},
			Groups:   map[policy.GroupName]policy.Group{},
			Roles:    map[policy.RoleName]*policy.Role{},
			Admins:   append(named[policy.GroupName](filed(t, groups[:len(groups)-1], 2, "admins")), "ops"),
			Settings: policy.Settings{
				BindByEmail:   rapid.Bool().Draw(t, "by email"),
				UserLifetime:  rapid.SampledFrom([]time.Duration{90 * 24 * time.Hour, time.Hour, 25 * time.Hour, 400 * 24 * time.Hour}).Draw(t, "lifetime"),
				TokenLifetime: rapid.SampledFrom([]time.Duration{0, 0, 30 * 24 * time.Hour, 90 * 24 * time.Hour}).Draw(t, "token"),
				TwoAdmins:     rapid.Bool().Draw(t, "two"),
				TicketURL:     rapid.SampledFrom(validTicketURLs).Draw(t, "ticket url"),
			},
		}
		for i, name := range accounts {
			a := policy.Account{Name: policy.AccountName(name), ID: fmt.Sprintf("%012d", i+7), Partition: "aws"}
			if rapid.Bool().Draw(t, "china") {
				a.Partition = "aws-cn"
			}
			if rapid.Bool().Draw(t, "region") {
				a.Region = map[string]string{"aws": "eu-west-1", "aws-cn": "cn-north-1"}[a.Partition]
			}
			d.Accounts[a.Name] = a
		}
		for _, name := range groups {
			d.Groups[policy.GroupName(name)] = policy.Group{
				Name: policy.GroupName(name), Grants: validGrants(t, roles),
				SlackGroup: rapid.SampledFrom([]string{"", "", "S012ABCDEF", "S12"}).Draw(t, "slack group"),
			}
		}
		for i, name := range roles {
			account := d.Accounts[policy.AccountName(rapid.SampledFrom(accounts).Draw(t, "account"))]
			d.Roles[policy.RoleName(name)] = validRole(t, name, account, roles[i+1:], groups)
		}
		// Stored and read back: in the order that Parse returns too.
		b, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if d, err = policy.Decode(b); err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// validTicketURLs are templates of links to tickets, and none.
var validTicketURLs = []string{"", "https://tracker.example.com/browse/{ticket}", "https://t:8443/?q={ticket}&a=b:#c,'d'"}

func validRole(t *rapid.T, name string, account policy.Account, lower, groups []string) *policy.Role {
	r := &policy.Role{
		Name: policy.RoleName(name), Account: account.Name, AccountID: account.ID, Partition: account.Partition, Region: account.Region,
		ARN: "arn:" + account.Partition + ":iam::" + account.ID + ":role/" +
			rapid.SampledFrom([]string{"starback/Admin", "on", "123", "1e3", "a=b", "team/a/x,y", "No"}).Draw(t, "arn"),
		Includes:         named[policy.RoleName](filed(t, lower, 3, "includes")),
		MaxDuration:      minutes(t, 15, 720, "max"),
		ReasonRequired:   rapid.Bool().Draw(t, "reason"),
		Console:          rapid.Bool().Draw(t, "console"),
		NoSourceIdentity: rapid.Bool().Draw(t, "identity"),
	}
	r.DefaultDuration = minutes(t, 15, int(r.MaxDuration.Minutes()), "default")
	maybe := func(label string, set func()) {
		if rapid.Bool().Draw(t, label) {
			set()
		}
	}
	maybe("description", func() { r.Description = words().Draw(t, "words") })
	maybe("ticket", func() {
		pattern, err := policy.NewPattern(rapid.SampledFrom([]string{"[A-Z]+-[0-9]+", "on", "1", `\d+ #x`, `a: "b"`, "'", "é*"}).Draw(t, "pattern"))
		if err != nil {
			t.Fatal(err)
		}
		r.Ticket = pattern
		r.TicketURL = rapid.SampledFrom(validTicketURLs).Draw(t, "ticket url")
	})
	maybe("approval", func() {
		r.Approval = &policy.Approval{
			By:    append(named[policy.GroupName](filed(t, groups[:len(groups)-1], 2, "by")), "ops"),
			Count: rapid.IntRange(1, 10).Draw(t, "count"), Within: minutes(t, 1, 10080, "within"), ClaimWithin: minutes(t, 1, 10080, "claim"),
		}
	})
	maybe("session policy", func() { r.SessionPolicy = sessionPolicy(t) })
	maybe("permissions", func() { r.Permissions = sessionPolicy(t) })
	maybe("arns", func() {
		r.SessionPolicyARNs = []string{"arn:" + account.Partition + ":iam::aws:policy/ReadOnlyAccess", "arn:" + account.Partition + ":iam::" + account.ID + ":policy/a"}
		r.PermissionARNs = r.SessionPolicyARNs[1:]
	})
	maybe("external id", func() {
		r.ExternalID = rapid.SampledFrom([]string{"starback:7f3a", "12", "on", "a=b", "1e3", ":x", "a:"}).Draw(t, "external")
	})
	switch rapid.IntRange(0, 2).Draw(t, "tags") {
	case 1:
		r.NoTags = true
	case 2:
		r.Tags = map[string]string{"team": rapid.SampledFrom([]string{"data", "", "on", "1", "a b", "é: 1", "-"}).Draw(t, "tag"), "on": "off", "a:b c": "="}
	}
	if r.Console && account.Partition == "aws" {
		maybe("destination", func() {
			r.Destination = "https://eu-west-1.console.aws.amazon.com/ec2/home?region=eu-west-1#Instances:"
		})
	}
	return r
}

// usualChecks is how many inputs a property is tried on where nothing else is
// said: with -rapid.checks, other tests try more or fewer in proportion.
const usualChecks = 3000

// checks has the properties of one test tried on n inputs, or on fewer if all are.
// It says whether it is n: what few inputs may not meet can then be wanted.
func checks(t *testing.T, n int) (full bool) {
	t.Helper()
	const name = "rapid.checks"
	before := flag.Lookup(name).Value.String()
	usual, err := strconv.Atoi(before)
	if err != nil {
		t.Fatal(err)
	}
	if err := flag.Set(name, strconv.Itoa(max(1, n*usual/usualChecks))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, before) })
	return usual >= usualChecks && !testing.Short() // then rapid tries a fifth
}
