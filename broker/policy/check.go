package policy

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A finding is one thing that makes no sense in a Document.
type finding struct {
	path    []string // "roles", "prod-admin", "max_duration"
	message string
	suggest suggestion
	missing bool // something is missing from the mapping at path
}

// Error returns the finding on one line.
func (f finding) Error() string { return strings.Join(f.path, ".") + ": " + f.message }

// A checker collects findings.
type checker struct {
	doc   *Document
	found []finding
}

func (c *checker) add(path []string, suggest suggestion, format string, args ...any) {
	c.found = append(c.found, finding{path, fmt.Sprintf(format, args...), suggest, false})
}

// missing reports that the mapping at path lacks something.
func (c *checker) missing(path []string, suggest suggestion, format string, args ...any) {
	c.found = append(c.found, finding{path, fmt.Sprintf(format, args...), suggest, true})
}

// Limits of our own.
const (
	minUserLifetime  = time.Hour
	maxUserLifetime  = 400 * 24 * time.Hour
	minTokenLifetime = time.Hour
	maxTokenLifetime = 400 * 24 * time.Hour
	maxApprovers     = 10
	maxWait          = 7 * 24 * time.Hour // for an answer, or to claim one: past a week, ask again
)

var (
	namePattern = expression(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	// slackGroupPattern is the form of a user group's id, as Slack writes it.
	slackGroupPattern = expression(`^S[A-Z0-9]{2,30}$`)
	accountPattern    = expression(`^[0-9]{12}$`)
	roleARN           = expression(`^arn:(aws(?:-[a-z]+)*):iam::([0-9]{12}):role((?:/[\w+=,.@-]+)*/)([\w+=,.@-]{1,64})$`)
)

// maxRolePath is the longest path of an IAM role, in characters. Source: the
// IAM API reference.
const maxRolePath = 512

// checkStored returns what makes no sense in d, as it is stored: a Document
// without findings can be decided on.
func checkStored(d *Document) []finding {
	c := &checker{doc: d, found: check(d)}
	if d == nil {
		return c.found
	}
	for _, name := range slices.Sorted(maps.Keys(d.Roles)) {
		if r := d.Roles[name]; r != nil {
			c.document([]string{"roles", string(name), "session_policy"}, sessionPolicy, r.SessionPolicy)
			c.document([]string{"roles", string(name), "permissions"}, permissions, r.Permissions)
		}
	}
	return c.found
}

// check does the same, but for the IAM policy documents, in the order of the
// sections and of the names. A parser checks those where they are written.
func check(d *Document) []finding {
	c := &checker{doc: d}
	if d == nil {
		c.add(nil, onlyStored, "there is no document")
		return c.found
	}
	for _, name := range slices.Sorted(maps.Keys(d.Accounts)) {
		c.account(name, d.Accounts[name])
	}
	for _, name := range slices.Sorted(maps.Keys(d.Groups)) {
		at := []string{"groups", string(name)}
		c.name(at, "group", string(name), string(d.Groups[name].Name))
		c.slackGroup(append(slices.Clone(at), "slack_group"), d.Groups[name].SlackGroup)
		c.grants(append(at, "grants"), d.Groups[name].Grants)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Roles)) {
		c.role(name, d.Roles[name])
	}
	c.cycles()
	if len(d.Admins) == 0 {
		c.missing([]string{"admins"}, hint("name one, as in admins: [platform]"), "no group administers Starback")
	}
	c.groups([]string{"admins"}, d.Admins)
	if l := d.Settings.UserLifetime; l < minUserLifetime || l > maxUserLifetime {
		c.add([]string{"settings", "user_lifetime"}, lifetime(l), "`user_lifetime` must be from 1h to 400d")
	}
	if l := d.Settings.TokenLifetime; l != 0 && (l < minTokenLifetime || l > maxTokenLifetime) {
		c.add([]string{"settings", "token_lifetime"}, lifetime(l), "`token_lifetime` must be from 1h to 400d")
	}
	c.ticketURL([]string{"settings", "ticket_url"}, d.Settings.TicketURL)
	c.removed(d.Removed)
	return c.found
}

// lifetime suggests the nearest lifetime that a setting can have.
func lifetime(d time.Duration) suggestion {
	if d < time.Hour {
		return hint("write 1h")
	}
	return hint("write 400d")
}

// removed checks the names of Groups that are no more.
func (c *checker) removed(names []GroupName) {
	given := map[GroupName]bool{}
	for _, name := range names {
		at := []string{"removed", string(name)}
		if !namePattern().MatchString(string(name)) {
			c.add(at, onlyStored, "the name of a group must match %s", namePattern())
		}
		if _, ok := c.doc.Groups[name]; ok {
			c.add(at, onlyStored, "the group %s was removed, and is there", quote(string(name)))
		}
		if given[name] {
			c.add(at, onlyStored, "%s is listed twice", quote(string(name)))
		}
		given[name] = true
	}
}

// name checks the name that something is filed under, and its own.
func (c *checker) name(at []string, what, key, name string) {
	if !namePattern().MatchString(key) {
		c.add(at, nameLike(key, namePattern()), "the name of %s must match %s", article(what), namePattern())
	}
	if key != name {
		c.add(at, onlyStored, "the %s is called %s inside", what, quote(name))
	}
}

func article(what string) string {
	if what == "account" {
		return "an " + what
	}
	return "a " + what
}

func (c *checker) account(key AccountName, a Account) {
	at := func(steps ...string) []string { return append([]string{"accounts", string(key)}, steps...) }
	c.name(at(), "account", string(key), string(a.Name))
	switch {
	case a.ID == "":
		c.missing(at(), hint("add it: 12 digits, in quotes"), "the account has no `id`")
	case !accountPattern().MatchString(a.ID):
		c.add(at("id"), accountID(a.ID), "an account id is 12 digits")
	}
	if _, known := PartitionNamed(a.Partition); !known {
		c.add(at("partition"), oneOf(a.Partition, partitionNames()...), "AWS has no partition %s", quote(a.Partition))
	}
	c.region(at("region"), a.Region, a.Partition)
}

// accountID suggests what an account's id was meant to be.
func accountID(s string) suggestion {
	digits := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, s)
	if accountPattern().MatchString(digits) {
		return hint(`write "` + digits + `"`)
	}
	return hint("see `aws sts get-caller-identity`")
}

// region checks a region, if there is one, against its partition.
func (c *checker) region(at []string, region, partition string) {
	if region == "" {
		return
	}
	if home, ok := partitionOf(region); !ok {
		c.add(at, hint("write it as in eu-west-1"), "%s is not the name of a region", quote(region))
	} else if home.Name != partition {
		c.add(at, hint("it is in "+home.Name), "the region %s is not in the partition %s", region, quote(partition))
	}
}

// slackGroup checks the id of a user group of Slack's, if there is one. It
// becomes part of a mention, so it must be nothing else.
func (c *checker) slackGroup(at []string, id string) {
	if id != "" && !slackGroupPattern().MatchString(id) {
		c.add(at, hint("write its id, as in S012ABCDEF, not its handle"), "%s is not the id of a user group of Slack's", quote(id))
	}
}

func (c *checker) grants(at []string, grants []Grant) {
	given := map[RoleName]bool{}
	for _, g := range grants {
		here := append(slices.Clone(at), string(g.Role))
		c.roleNamed(here, g.Role)
		if given[g.Role] {
			c.add(here, onlyStored, "%s is granted twice", quote(string(g.Role)))
		}
		given[g.Role] = true
		if !g.Expires.IsZero() && !plausible(g.Expires) {
			c.add(here, onlyStored, "the grant's end is not between the years %d and %d", firstYear, lastYear)
		}
	}
}

func (c *checker) roleNamed(at []string, name RoleName) {
	if c.doc.Roles[name] == nil {
		c.add(at, nearestKey(string(name), c.doc.Roles, "define it under `roles`, or take it out"), "there is no role %s", quote(string(name)))
	}
}

func (c *checker) groups(at []string, groups []GroupName) {
	given := map[GroupName]bool{}
	for _, name := range groups {
		here := append(slices.Clone(at), string(name))
		c.group(here, name)
		if given[name] {
			c.add(here, onlyStored, "%s is listed twice", quote(string(name)))
		}
		given[name] = true
	}
}

func (c *checker) group(at []string, name GroupName) {
	if _, ok := c.doc.Groups[name]; !ok {
		c.add(at, nearestKey(string(name), c.doc.Groups, "define it under `groups`, or take it out"), "there is no group %s", quote(string(name)))
	}
}

func (c *checker) role(key RoleName, r *Role) {
	at := func(steps ...string) []string { return append([]string{"roles", string(key)}, steps...) }
	if r == nil {
		c.add(at(), onlyStored, "the role is empty")
		return
	}
	c.name(at(), "role", string(key), string(r.Name))
	if slices.Contains(verbs, string(key)) {
		c.add(at(), hint("call it prod-"+string(key)), "%s is a command's first word, so no role can be called that", quote(string(key)))
	} else if _, ok := parseDuration(string(key)); ok {
		c.add(at(), hint("call it prod-"+string(key)), "%s is a duration, so no role can be called that", quote(string(key)))
	}
	if !utf8.ValidString(r.Description) || strings.ContainsFunc(r.Description, unsafeRune) {
		c.add(at("description"), onlyStored, "the description holds control characters")
	}
	c.target(at, r)
	given := map[RoleName]bool{}
	for _, name := range r.Includes {
		c.roleNamed(at("includes", string(name)), name)
		if given[name] {
			c.add(at("includes", string(name)), onlyStored, "%s is listed twice", quote(string(name)))
		}
		given[name] = true
	}
	c.conditions(at, r)
	c.session(at, r)
	c.console(at, r)
}

// target checks which IAM role a Role stands for.
func (c *checker) target(at func(...string) []string, r *Role) {
	account, ok := c.doc.Accounts[r.Account]
	switch {
	case r.Account == "":
		c.missing(at(), hint("add it, with a name from `accounts`"), "the role has no `account`")
		return
	case !ok:
		c.add(at("account"), nearestKey(string(r.Account), c.doc.Accounts, "list it under `accounts`"),
			"there is no account %s", quote(string(r.Account)))
		return
	case r.AccountID != account.ID || r.Partition != account.Partition:
		c.add(at("account"), onlyStored, "the role's account id or partition is not the account's")
		return
	case r.ARN == "":
		c.missing(at(), hint("add `iam_role`, with its name in IAM"), "the role has no `iam_role` and no `arn`")
		return
	case !accountPattern().MatchString(account.ID) || !slices.Contains(partitionNames(), account.Partition):
		return // reported with the account
	}
	c.region(at("region"), r.Region, r.Partition)
	parts := roleARN().FindStringSubmatch(r.ARN)
	if parts == nil || len(parts[3]) > maxRolePath {
		c.add(at("arn"), arnMeant(r.ARN, "arn:"+r.Partition+":iam::"+r.AccountID+":role/"), "%s is not the ARN of an IAM role", quote(r.ARN))
		return
	}
	partition, id, path, name := parts[1], parts[2], parts[3], parts[4]
	switch {
	case partition != r.Partition || id != r.AccountID:
		c.add(at("arn"), c.accountWith(partition, id), "the ARN is not in the account %s, which is %s in %s", quote(string(r.Account)), r.AccountID, r.Partition)
	case ours(path, name):
		c.add(at("arn"), hint("make an IAM role for people, and name that"), "%s is one of Starback's own roles, which nobody may request", quote(name))
	}
}

// arnMeant suggests what the ARN of an IAM role was meant to be, by how those of
// its account begin.
func arnMeant(arn, lead string) suggestion {
	if strings.HasPrefix(arn, lead) {
		return hint("write its path and name as in team/Admin: letters, digits and +=,.@_-")
	}
	return hint("write it as in " + lead + "team/Admin")
}

// accountWith suggests the account that an ARN is in.
func (c *checker) accountWith(partition, id string) suggestion {
	for _, name := range slices.Sorted(maps.Keys(c.doc.Accounts)) {
		if a := c.doc.Accounts[name]; a.Partition == partition && a.ID == id {
			return hint("write account: " + string(name))
		}
	}
	return hint("list its account under `accounts`, and name that")
}

// ours says whether an IAM role is Starback's own: one of its functions, or one
// that revokes sessions. IAM does not tell names apart by case.
func ours(path, name string) bool {
	path, name = strings.ToLower(path), strings.ToLower(name)
	return strings.HasPrefix(name, "starback-") ||
		strings.HasPrefix(path, "/starback-system/") || strings.HasPrefix(path, "/starback-boundary/")
}

// conditions checks what a request must satisfy.
func (c *checker) conditions(at func(...string) []string, r *Role) {
	switch {
	case r.MaxDuration == 0:
		c.missing(at(), hint("add it, as in max_duration: 4h"), "the role has no `max_duration`")
	case r.MaxDuration < MinDuration || r.MaxDuration > MaxDuration:
		c.add(at("max_duration"), within(r.MaxDuration, MinDuration, MaxDuration), "`max_duration` must be from %s to %s", durationText(MinDuration), durationText(MaxDuration))
	case r.DefaultDuration < MinDuration || r.DefaultDuration > r.MaxDuration:
		c.add(at("default_duration"), within(r.DefaultDuration, MinDuration, r.MaxDuration), "`default_duration` must be from %s to %s, the role's `max_duration`",
			durationText(MinDuration), durationText(r.MaxDuration))
	}
	if r.Ticket != nil && (r.Ticket.String() == "" || strings.ContainsFunc(r.Ticket.String(), unsafeRune)) {
		c.add(at("ticket"), onlyStored, "the pattern is empty or holds control characters")
	}
	if r.Ticket == nil && r.TicketURL != "" {
		c.add(at("ticket_url"), hint("add `ticket`"), "`ticket_url` is for a role that wants a ticket")
	}
	c.ticketURL(at("ticket_url"), r.TicketURL)
	if r.Approval == nil {
		return
	}
	if len(r.Approval.By) == 0 {
		c.add(at("approval", "by"), hint("write it as in by: [sre-leads]"), "`by` must name the groups whose members approve")
	}
	c.groups(at("approval", "by"), r.Approval.By)
	if n := r.Approval.Count; n < 1 || n > maxApprovers {
		c.add(at("approval", "count"), hint("write "+strconv.Itoa(min(max(n, 1), maxApprovers))), "`count` must be from 1 to %d", maxApprovers)
	}
	c.wait(at("approval", "within"), r.Approval.Within)
	c.wait(at("approval", "claim_within"), r.Approval.ClaimWithin)
	c.groups(at("approval", "escalate_to"), r.Approval.EscalateTo)
	switch after := r.Approval.EscalateAfter; {
	case after != 0 && len(r.Approval.EscalateTo) == 0:
		c.add(at("approval", "escalate_after"), hint("add that, or take this out"), "`escalate_after` is for an approval with `escalate_to`")
	case len(r.Approval.EscalateTo) > 0 && (after <= 0 || after >= r.Approval.Within):
		c.add(at("approval", "escalate_after"), hint("leave it out: it is half of that then"), "`escalate_after` must be less than `within`")
	}
}

func (c *checker) wait(at []string, d time.Duration) {
	if d <= 0 || d > maxWait {
		c.add(at, within(d, time.Minute, maxWait), "%s must be at most %s", quote(at[len(at)-1]), durationText(maxWait))
	}
}

// console checks whether there can be a link, and the page that it opens:
// anywhere but in the console, a link with credentials in it would be a gift.
func (c *checker) console(at func(...string) []string, r *Role) {
	partition, known := PartitionNamed(r.Partition)
	host := partition.Console
	if r.Console && known && host == "" {
		c.add(at("console"), hint("leave it out"), "where the console of %s is, is not public, so there are no links to it", r.Partition)
	}
	if r.Destination == "" {
		return
	}
	if !r.Console {
		c.add(at("destination"), hint("add console: true"), "`destination` is for a role with a console link")
	}
	if host == "" {
		return // reported with `console` or the account
	}
	u, err := url.Parse(r.Destination)
	outside := func(ch rune) bool { return ch <= ' ' || ch > '~' || ch == '\\' }
	if err != nil || u.Scheme != "https" || u.User != nil || strings.ContainsFunc(r.Destination, outside) ||
		u.Host != host && !(strings.HasSuffix(u.Host, "."+host) && consoleSubdomain().MatchString(strings.TrimSuffix(u.Host, "."+host))) {
		c.add(at("destination"), hint("write it as in https://"+host+"/ec2/home"), "`destination` must be an https page of %s", host)
	}
}

var consoleSubdomain = expression(`^[a-z0-9-]+(\.[a-z0-9-]+)*$`)
