package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Defaults of a policy file.
const (
	defaultUserLifetime  = 90 * 24 * time.Hour
	defaultTokenLifetime = 90 * 24 * time.Hour
	defaultDuration      = time.Hour
	defaultWithin        = 2 * time.Hour
	defaultClaimWithin   = time.Hour
)

// A File is what a policy file says.
type File struct {
	Document *Document
	// Users is nil when the file has no users section, and empty when the
	// section is: only the second says that there are to be none.
	Users []User

	root      *node       // as it was read, for places in it
	documents []*document // IAM policy documents, in the order of the file
}

// Load reads the policy file name and the IAM policy files it names, all
// from fsys. Paths in the file are relative to the file's folder. A fsys that
// follows symbolic links out of itself, as os.DirFS does, is read wherever
// they lead: os.Root's does not.
//
// What is wrong with the file comes back as Errors. A file that cannot be read
// comes back as an error that wraps fsys's.
func Load(fsys fs.FS, name string) (*File, error) {
	src, err := readFile(fsys, name, maxSource)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return Parse(name, src, func(file string) ([]byte, error) {
		file = path.Join(path.Dir(name), file)
		if !fs.ValidPath(file) {
			return nil, errors.New("it is outside the folder the policy is read from")
		}
		return readFile(fsys, file, maxPolicySource)
	})
}

// readFile reads a file, or one byte more than most of it: enough to see that
// it is too long.
func readFile(fsys fs.FS, name string, most int64) (_ []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// Parse reads a policy file's text. Its name is used in messages only. The IAM
// policy files that it names are read with open, each by the path as it is
// written; with a nil open it may name none.
//
// The error is Errors, and then there is no File: a file that is not
// understood whole is refused whole.
func Parse(name string, src []byte, open func(path string) ([]byte, error)) (*File, error) {
	p := &parser{name: name, open: open, documents: map[place]*document{}}
	var file *File
	root := readYAML(newSource(name, 0, string(src)), src, &p.problems)
	if root != nil {
		file = p.file(root)
		p.findings(root, check(file.Document))
		p.findings(root, checkUsers(file.Document, file.Users))
	}
	if errs := p.errors(); errs != nil {
		return nil, errs
	}
	file.Document = file.Document.canonical()
	file.root, file.documents = root, p.used
	return file, nil
}

// A Mistake is something wrong with a file that only those can see who know
// more than the file says.
type Mistake struct {
	Path       []string // to what is wrong: keys, and in a list a name, as in "users", "alice", "groups", "dev"
	Message    string
	Suggestion string // what would mend it
}

// Errors returns the mistakes as Errors of the file, each at its place.
func (f *File) Errors(mistakes []Mistake) Errors {
	var ps problems
	for _, m := range mistakes[:min(len(mistakes), maxFindings)] {
		ps.add(f.root.locate(m.Path), hint(m.Suggestion), "%s", m.Message)
	}
	return ps.errors()
}

// A parser turns the tree of one policy file into a File. It reports what has
// the wrong shape; check reports what makes no sense.
type parser struct {
	problems
	name      string
	open      func(path string) ([]byte, error)
	documents map[place]*document      // IAM policy documents already read from files
	used      []*document              // all IAM policy documents, in the order of the file
	byID      map[string][]AccountName // the accounts, by their ids
}

// maxFindings bounds how many findings are looked up in the file: finding a
// place takes time that grows with the length of the file.
const maxFindings = 1000

// findings reports what check found, where the file says it. A place that
// something is already wrong with is not complained of again.
func (p *parser) findings(root *node, found []finding) {
	for _, f := range found[:min(len(found), maxFindings)] {
		if at := root.locate(f.path); !p.seen[at] && !(f.missing && p.damaged[at]) {
			p.found = append(p.found, problem{at, f.message, f.suggest})
		}
	}
}

func (p *parser) file(root *node) *File {
	f := p.form("the file", root, "version", "accounts", "groups", "roles", "admins", "users", "settings")
	if version := f.value("version", isNumber); version != nil && version.text != "1" {
		f.report(version.at, hint("write 1"), "version %s is not known", quote(version.text))
	}
	f.need("version", hint("begin with version: 1"))
	d := &Document{
		Accounts: map[AccountName]Account{},
		Groups:   map[GroupName]Group{},
		Roles:    map[RoleName]*Role{},
		Admins:   names[GroupName](f, "admins"),
		Settings: p.settings(f),
	}
	p.byID = map[string][]AccountName{}
	for _, e := range f.section("accounts") {
		account := p.account(e)
		d.Accounts[account.Name] = account
		p.byID[account.ID] = append(p.byID[account.ID], account.Name)
	}
	for _, e := range f.section("groups") {
		group := p.formElse("say who is in the group under `users`", "the group "+quote(e.key), e.value, "slack_group", "grants")
		d.Groups[GroupName(e.key)] = Group{Name: GroupName(e.key), SlackGroup: group.text("slack_group"), Grants: group.grants()}
	}
	for _, e := range f.section("roles") {
		d.Roles[RoleName(e.key)] = p.role(e, d.Accounts)
	}
	file := &File{Document: d}
	if f.has("users") {
		file.Users = []User{}
		for _, e := range f.section("users") {
			file.Users = append(file.Users, p.user(e))
		}
		slices.SortFunc(file.Users, func(a, b User) int { return strings.Compare(string(a.Name), string(b.Name)) })
	}
	return file
}

// section returns the entries of a mapping whose keys are names.
func (f form) section(key string) []entry {
	if n := f.value(key, isMapping); n != nil {
		return n.entries
	}
	return nil
}

// settings reads the settings, or their defaults.
func (p *parser) settings(file form) Settings {
	section := file.value("settings", isMapping)
	if section == nil {
		section = &node{kind: isMapping, at: file.at}
	}
	f := p.form("`settings`", section, "bind_by_email", "user_lifetime", "token_lifetime", "two_admins", "ticket_url")
	return Settings{
		BindByEmail:   f.bool("bind_by_email", false),
		UserLifetime:  f.lifetime("user_lifetime", defaultUserLifetime),
		TokenLifetime: f.lifetime("token_lifetime", 0),
		TwoAdmins:     f.bool("two_admins", false),
		TicketURL:     f.text("ticket_url"),
	}
}

func (p *parser) account(e entry) Account {
	f := p.form("the account "+quote(e.key), e.value, "id", "partition", "region")
	a := Account{Name: AccountName(e.key), Partition: "aws", Region: f.text("region")}
	if f.has("partition") {
		a.Partition = f.text("partition")
	}
	if a.ID = f.text("id"); a.ID != "" && !f.node.get("id").quoted {
		// YAML reads 012345670123 as an octal number but 089999999999 as text.
		f.report(f.where("id"), hint(`write "`+a.ID+`"`), "an account id must be in quotes: YAML may read it as a number")
	}
	return a
}

func (p *parser) role(e entry, accounts map[AccountName]Account) *Role {
	f := p.form("the role "+quote(e.key), e.value,
		"account", "iam_role", "arn", "description", "region", "includes",
		"max_duration", "default_duration", "reason", "ticket", "ticket_url", "approval",
		"console", "destination", "session_policy", "session_policy_arns",
		"external_id", "tags", "source_identity", "permissions", "permission_arns")
	r := &Role{
		Name:              RoleName(e.key),
		Description:       f.text("description"),
		Region:            f.text("region"),
		Includes:          names[RoleName](f, "includes"),
		MaxDuration:       f.duration("max_duration", 0),
		Ticket:            f.pattern("ticket"),
		TicketURL:         f.text("ticket_url"),
		Approval:          p.approval(f),
		SessionPolicyARNs: f.arns("session_policy_arns"),
		PermissionARNs:    f.arns("permission_arns"),
		ExternalID:        f.text("external_id"),
		Console:           f.bool("console", false),
		Destination:       f.text("destination"),
		NoSourceIdentity:  !f.bool("source_identity", true),
	}
	r.DefaultDuration = f.duration("default_duration", min(defaultDuration, r.MaxDuration))
	switch reason := f.text("reason"); reason {
	case "", "optional":
	case "required":
		r.ReasonRequired = true
	default:
		f.report(f.where("reason"), oneOf(reason, "required", "optional"), "`reason` cannot be %s", quote(reason))
	}
	r.Tags, r.NoTags = f.tags()
	p.target(f, r, accounts)
	r.SessionPolicy = p.document(f, "session_policy", sessionPolicy, r)
	r.Permissions = p.document(f, "permissions", permissions, r)
	return r
}

// target reads which IAM role, in which account, a Role stands for.
func (p *parser) target(f form, r *Role, accounts map[AccountName]Account) {
	iamRole := f.text("iam_role")
	r.Account, r.ARN = AccountName(f.text("account")), f.text("arn")
	if !f.has("account") && r.ARN != "" {
		r.Account = p.accountOf(f, r.ARN)
	}
	account := accounts[r.Account]
	r.AccountID, r.Partition = account.ID, account.Partition
	if r.Region == "" {
		r.Region = account.Region
	}
	switch {
	case f.has("arn") && f.has("iam_role"):
		f.report(f.node.get("arn").at, hint("take one out"), "the role has both `iam_role` and `arn`")
	case strings.HasPrefix(iamRole, "arn:"):
		f.report(f.where("iam_role"), hint("call the key `arn`"), "`iam_role` is the name of a role in the account")
	case iamRole != "":
		r.ARN = "arn:" + account.Partition + ":iam::" + account.ID + ":role/" + iamRole
	}
}

// accountOf returns the one account that arn is in.
func (p *parser) accountOf(f form, arn string) AccountName {
	parts := roleARN().FindStringSubmatch(arn)
	if parts == nil {
		f.report(f.where("arn"), arnMeant(arn, "arn:aws:iam::111122223333:role/"), "%s is not the ARN of an IAM role", quote(arn))
		return ""
	}
	switch found := p.byID[parts[2]]; len(found) {
	case 1:
		return found[0]
	case 0:
		f.report(f.where("arn"), hint("list it under `accounts`"), "no account has the id %s", parts[2])
	default:
		f.report(f.where("arn"), hint("name one with `account`"), "%d accounts have the id %s", len(found), parts[2])
	}
	return ""
}

func (p *parser) approval(role form) *Approval {
	n := role.value("approval", isMapping)
	if n == nil {
		return nil
	}
	f := p.form("`approval`", n, "by", "count", "within", "claim_within", "escalate_to", "escalate_after")
	a := &Approval{
		By:          names[GroupName](f, "by"),
		Count:       f.count("count", 1),
		Within:      f.duration("within", defaultWithin),
		ClaimWithin: f.duration("claim_within", defaultClaimWithin),
		EscalateTo:  names[GroupName](f, "escalate_to"),
	}
	if len(a.EscalateTo) > 0 {
		a.EscalateAfter = a.Within / 2
	}
	a.EscalateAfter = f.duration("escalate_after", a.EscalateAfter)
	return a
}

// A place is where an IAM policy document is written: a file, and what it is
// there for.
type place struct {
	file string
	kind documentKind
}

// A document is one IAM policy document and the Roles that it is for.
type document struct {
	kind     documentKind
	root     *node
	minified string
	roles    []*Role
}

// document returns a minified IAM policy document, written in the file or in
// one of its own. It is empty if there is none, or if it was reported.
func (p *parser) document(role form, key string, kind documentKind, r *Role) string {
	n := role.value(key, isMapping)
	if n == nil {
		return ""
	}
	var doc *document
	if n.get("file") == nil {
		doc = &document{kind: kind, root: n, minified: kind.check(n, &p.problems)}
		p.used = append(p.used, doc)
	} else if doc = p.documentFile(p.form(quote(key), n, "file"), kind); doc == nil {
		return ""
	}
	doc.roles = append(doc.roles, r)
	return doc.minified
}

// documentFile reads the IAM policy document in a file of its own, once for
// each kind. It returns nil if it cannot be read.
func (p *parser) documentFile(f form, kind documentKind) *document {
	file, at := f.text("file"), f.where("file")
	if file == "" {
		return nil
	}
	if doc, ok := p.documents[place{file, kind}]; ok {
		return doc
	}
	if path.IsAbs(file) || strings.Contains(file, `\`) {
		f.report(at, hint("write it as in policies/readonly.json"), "%s is not a path relative to the policy file", quote(file))
		return nil
	}
	if p.open == nil {
		f.report(at, hint("write it in place"), "a policy given alone can name no file")
		return nil
	}
	raw, err := p.open(file)
	if err != nil {
		f.report(at, hint("name another file, or write the policy in place"), "cannot read %s: %s", quote(file), printable(err.Error()))
		return nil
	}
	doc := &document{kind: kind}
	p.documents[place{file, kind}] = doc
	src := newSource(printable(path.Join(path.Dir(p.name), file)), len(p.documents), string(raw))
	if doc.root = readJSON(src, raw, &p.problems); doc.root != nil {
		doc.minified = kind.check(doc.root, &p.problems)
		p.used = append(p.used, doc)
	}
	return doc
}
