package policy_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/starback/starback/broker/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// TestBad compares what each file of testdata/bad is refused with to the
// golden file beside it. Whatever is wrong, the line is shown, and what would
// mend it is said.
func TestBad(t *testing.T) {
	names, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, err := policy.Load(os.DirFS("testdata/bad"), filepath.Base(name))
			if file != nil || err == nil {
				t.Fatalf("Load = %v, %v; want no file and an error", file, err)
			}
			var errs policy.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("Load: %v (%T), want Errors", err, err)
			}
			for _, e := range errs {
				if e.Suggestion == "" || e.Source == "" {
					t.Errorf("%v: no suggestion, or no line", e)
				}
			}
			got := errs.Detail() + "\n"
			golden := strings.TrimSuffix(name, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("errors differ (-want +got):\n%s", diff)
			}
		})
	}
}

// sayings compares what Files say, not where.
var sayings = cmpopts.IgnoreUnexported(policy.File{})

// TestExample reads the policy that the documentation shows.
func TestExample(t *testing.T) {
	file, err := policy.Load(os.DirFS("testdata/good"), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := policy.NewPattern("^[A-Z]+-[0-9]+$")
	if err != nil {
		t.Fatal(err)
	}
	want := &policy.File{
		Document: &policy.Document{
			Accounts: map[policy.AccountName]policy.Account{
				"prod": {Name: "prod", ID: "111122223333", Partition: "aws"},
			},
			Groups: map[policy.GroupName]policy.Group{
				"sre":       {Name: "sre", Grants: []policy.Grant{{Role: "prod-admin"}}},
				"dev":       {Name: "dev", Grants: []policy.Grant{{Role: "prod-readonly"}}},
				"sre-leads": {Name: "sre-leads"},
				"platform":  {Name: "platform"},
			},
			Admins:   []policy.GroupName{"platform"},
			Settings: policy.Settings{UserLifetime: 90 * 24 * time.Hour},
			Roles: map[policy.RoleName]*policy.Role{
				"prod-admin": {
					Name: "prod-admin", Account: "prod", AccountID: "111122223333", Partition: "aws",
					ARN:         "arn:aws:iam::111122223333:role/starback/Admin",
					Includes:    []policy.RoleName{"prod-readonly"},
					MaxDuration: 4 * time.Hour, DefaultDuration: time.Hour,
					ReasonRequired: true, Ticket: ticket,
					Approval: &policy.Approval{By: []policy.GroupName{"sre-leads"}, Count: 1, Within: 2 * time.Hour, ClaimWithin: time.Hour},
				},
				"prod-readonly": {
					Name: "prod-readonly", Account: "prod", AccountID: "111122223333", Partition: "aws",
					ARN:         "arn:aws:iam::111122223333:role/starback/ReadOnly",
					MaxDuration: 8 * time.Hour, DefaultDuration: time.Hour, Console: true,
					SessionPolicy: `{"Statement":[{"Action":"*","Effect":"Allow","Resource":"*"},` +
						`{"Action":["secretsmanager:GetSecretValue","ssm:GetParameter*"],"Effect":"Deny","Resource":"*"}],` +
						`"Version":"2012-10-17"}`,
				},
			},
		},
		Users: []policy.User{{
			Name: "alice", Slack: "T012AB/U0456", Groups: []policy.GroupName{"sre"},
			Expires: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC),
		}},
	}
	if diff := cmp.Diff(want, file, sayings); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

// TestEveryKey reads a file that uses every key there is.
func TestEveryKey(t *testing.T) {
	file, err := policy.Load(os.DirFS("testdata/good"), "full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := file.Document
	ticket, err := policy.NewPattern("[A-Z]+-[0-9]+")
	if err != nil {
		t.Fatal(err)
	}
	wantAdmin := &policy.Role{
		Name: "prod-admin", Description: "Everything in production",
		Account: "prod", AccountID: "111122223333", Partition: "aws", Region: "us-east-1",
		ARN:         "arn:aws:iam::111122223333:role/starback/Admin",
		Includes:    []policy.RoleName{"prod-readonly", "stage-readonly"},
		MaxDuration: 12 * time.Hour, DefaultDuration: 15 * time.Minute,
		ReasonRequired: true, Ticket: ticket, TicketURL: "https://ops.example.com:8443/find?what={ticket}&in=prod#top",
		Approval: &policy.Approval{
			By: []policy.GroupName{"platform", "sre-leads"}, Count: 2,
			Within: 30 * time.Minute, ClaimWithin: 90 * time.Minute,
		},
		Console:     true,
		Destination: "https://eu-west-1.console.aws.amazon.com/ec2/home?region=eu-west-1#Instances:",
		SessionPolicy: `{"Statement":{"Condition":{` +
			`"Bool":{"aws:MultiFactorAuthPresent":true},"NumericLessThan":{"aws:MultiFactorAuthAge":3600},` +
			`"StringLike":{"aws:RequestedRegion":["eu-*","us-*"]}},"Effect":"Allow",` +
			`"NotAction":["secretsmanager:GetSecretValue"],"Resource":"*","Sid":"NoSecrets"},"Version":"2012-10-17"}`,
		SessionPolicyARNs: []string{
			"arn:aws:iam::111122223333:policy/starback",
			"arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",
		},
		ExternalID: "starback:7f/3=", NoTags: true, NoSourceIdentity: true,
	}
	if diff := cmp.Diff(wantAdmin, d.Roles["prod-admin"]); diff != "" {
		t.Errorf("prod-admin (-want +got):\n%s", diff)
	}
	wantReadonly := &policy.Role{
		Name: "prod-readonly", Account: "prod", AccountID: "111122223333", Partition: "aws",
		Region: "eu-west-1", ARN: "arn:aws:iam::111122223333:role/ReadOnly",
		MaxDuration: 30 * time.Minute, DefaultDuration: 30 * time.Minute,
	}
	if diff := cmp.Diff(wantReadonly, d.Roles["prod-readonly"]); diff != "" {
		t.Errorf("prod-readonly (-want +got):\n%s", diff)
	}
	wantStage := &policy.Role{
		Name: "stage-readonly", Account: "stage", AccountID: "004455667788", Partition: "aws",
		ARN:         "arn:aws:iam::004455667788:role/team/a/ReadOnly",
		MaxDuration: time.Hour, DefaultDuration: time.Hour,
		Tags: map[string]string{"team": "data", "cost center": "4711", "aws.region": ""},
		Permissions: `{"Statement":[{"Action":"*","Effect":"Allow","Resource":"*"},` +
			`{"Action":["secretsmanager:GetSecretValue","ssm:GetParameter*"],"Effect":"Deny","Resource":"*"}],` +
			`"Version":"2012-10-17"}`,
		PermissionARNs: []string{
			"arn:aws:iam::004455667788:policy/team/a/Extra",
			"arn:aws:iam::aws:policy/ReadOnlyAccess",
		},
	}
	if diff := cmp.Diff(wantStage, d.Roles["stage-readonly"]); diff != "" {
		t.Errorf("stage-readonly (-want +got):\n%s", diff)
	}
	for name, want := range map[policy.RoleName]string{
		"china-ops": "arn:aws-cn:iam::222233334444:role/ops in cn-north-1",
		"gov-ops":   "arn:aws-us-gov:iam::333344445555:role/ops in us-gov-west-1",
		"euro-ops":  "arn:aws-eusc:iam::555566667777:role/ops in eusc-de-east-1",
		"iso-ops":   "arn:aws-iso:iam::666677778888:role/ops in us-iso-west-1",
		"iso-b-ops": "arn:aws-iso-b:iam::777788889999:role/ops in us-isob-east-1",
	} {
		if r := d.Roles[name]; r.ARN+" in "+r.Region != want {
			t.Errorf("%s is %s in %s, want %s", name, r.ARN, r.Region, want)
		}
	}
	wantGrants := []policy.Grant{
		{Role: "china-ops", Expires: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)},
		{Role: "gov-ops", Expires: time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)},
		{Role: "prod-admin"},
	}
	if diff := cmp.Diff(wantGrants, d.Groups["sre"].Grants); diff != "" {
		t.Errorf("grants of sre (-want +got):\n%s", diff)
	}
	for name, want := range map[policy.GroupName]string{"sre": "", "sre-leads": "S012ABCDEF", "platform": "S012ABCDEF"} {
		if got := d.Groups[name].SlackGroup; got != want {
			t.Errorf("the user group of %s is %q, want %q", name, got, want)
		}
	}
	wantSettings := policy.Settings{
		BindByEmail: true, UserLifetime: 30 * 24 * time.Hour, TokenLifetime: 7 * 24 * time.Hour, TwoAdmins: true,
		TicketURL: "https://tracker.example.com/browse/{ticket}",
	}
	if d.Settings != wantSettings {
		t.Errorf("settings = %+v, want %+v", d.Settings, wantSettings)
	}
	wantUsers := []policy.User{
		{
			Name: "alice", Slack: "T012AB/U0456", Email: "alice@example.com",
			Groups: []policy.GroupName{"platform", "sre"}, Expires: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC),
		},
		{
			Name: "bob", Slack: "E0AB/W0789", Disabled: true,
			Grants: []policy.Grant{{Role: "prod-readonly", Expires: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)}},
		},
		{Name: "ci-deploy", App: true, Owner: "alice", Grants: []policy.Grant{
			{Role: "euro-ops"}, {Role: "iso-b-ops"}, {Role: "iso-ops"}, {Role: "prod-readonly"},
		}},
	}
	if diff := cmp.Diff(wantUsers, file.Users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

// small is the least that a policy can say.
const small = "version: 1\ngroups: {leads: {}}\nadmins: [leads]\n"

func TestUsersSection(t *testing.T) {
	for _, c := range []struct {
		name, src string
		isNil     bool
	}{
		{"absent", small, true},
		{"empty", small + "users: {}\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, err := policy.Parse("policy.yaml", []byte(c.src), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(file.Users) != 0 || (file.Users == nil) != c.isNil {
				t.Errorf("Users = %#v", file.Users)
			}
		})
	}
}

// TestTokenCap checks that a policy that says nothing still bounds Tokens.
func TestTokenCap(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		settings string
		want     time.Duration
	}{
		{"", 90 * day},
		{"settings: {token_lifetime: 1h}", time.Hour},
		{"settings: {token_lifetime: 400d}", 400 * day},
	} {
		file, err := policy.Parse("policy.yaml", []byte(small+c.settings), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := file.Document.Settings.TokenCap(); got != c.want {
			t.Errorf("%q: TokenCap = %v, want %v", c.settings, got, c.want)
		}
	}
}

// A loadCase is a file that Load reads from files, and what it is refused with.
type loadCase struct{ name, want string }

const session = `{"Statement":{"Action":"*","Effect":"Allow","Resource":"*"},"Version":"2012-10-17"}`

// loadCases are what needs several files, or files too long to look at.
func loadCases() (fstest.MapFS, []loadCase) {
	file := func(path string) *fstest.MapFile {
		const role = "accounts: {prod: {id: \"111122223333\"}}\n" +
			"roles: {a: {account: prod, iam_role: a, max_duration: 1h, session_policy: {file: %s}}}\n"
		return &fstest.MapFile{Data: fmt.Appendf([]byte(small), role, path)}
	}
	repeat := func(before, part string, n int) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(before + strings.Repeat(part, n))}
	}
	return fstest.MapFS{
			"etc/beside.yaml":   file("s.json"),
			"etc/above.yaml":    file("../s.json"),
			"etc/outside.yaml":  file("../../s.json"),
			"etc/folder.yaml":   file("."),
			"etc/long.yaml":     file("long.json"),
			"etc/too-long.yaml": repeat(small+"#", "x", 32<<20),
			"etc/marks.yaml":    repeat(small, "[]", 2<<20),
			"etc/keys.yaml":     repeat(small+"accounts:\n  a:\n", "    k: v\n", 1001),
			"etc/long.json":     {Data: []byte(strings.Repeat(" ", 64<<10) + session)},
			"etc/s.json":        {Data: []byte(session)},
			"s.json":            {Data: []byte(session)},
		}, []loadCase{
			{"etc/beside.yaml", ""},
			{"etc/above.yaml", ""},
			{"etc/outside.yaml", "etc/outside.yaml:5:82: cannot read `../../s.json`: it is outside the folder the policy is read from; name another file, or write the policy in place"},
			{"etc/folder.yaml", "etc/folder.yaml:5:82: cannot read `.`: read etc: invalid argument; name another file, or write the policy in place"},
			{"etc/long.yaml", "etc/long.json:1:1: the file is longer than 64 KiB; shorten it: AWS takes 10,240 characters at most"},
			{"etc/too-long.yaml", "etc/too-long.yaml:1:1: the file is longer than 32 MiB; move IAM policies into files of their own"},
			{"etc/marks.yaml", "etc/marks.yaml:1:1: the file has more than 4194304 lines and characters of []{},:-?&*!|>'\"%#; move IAM policies into files of their own"},
			{"etc/keys.yaml", "etc/keys.yaml:1006:5: the mapping has more than 1000 keys; take some out"},
		}
}

func TestLoadFiles(t *testing.T) {
	fsys, cases := loadCases()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file, err := policy.Load(fsys, c.name)
			if c.want == "" && err == nil {
				if got := file.Document.Roles["a"].SessionPolicy; got != session {
					t.Errorf("session policy = %q", got)
				}
				return
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("Load: %v\nwant %s", err, c.want)
			}
		})
	}
	if _, err := policy.Load(fsys, "etc/none.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v, want fs.ErrNotExist", err)
	}
	_, err := policy.Parse("p.yaml", fsys["etc/beside.yaml"].Data, nil)
	if want := "p.yaml:5:82: a policy given alone can name no file; write it in place"; err == nil || err.Error() != want {
		t.Errorf("Parse without open: %v\nwant %s", err, want)
	}
}

// TestBombs has files made to exhaust the reader: they are refused, and before
// the tests' own time limit. Some take time that grows with the square of their
// size, so under the race detector they are smaller.
func TestBombs(t *testing.T) {
	size := 1 << 18
	if raceDetector {
		size = 1 << 15
	}
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	var keys strings.Builder
	for i := 0; keys.Len() < size-20; i++ {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	for name, src := range map[string]string{
		"open brackets": fill("["),
		"open braces":   fill("{a: "),
		"dashes":        fill("- "),
		"question":      fill("? "),
		"keys":          keys.String(),
		"literals":      fill("a: |\n"),
		"long key":      strings.Repeat("k", size-10) + ": 1",
		"anchors":       fill("&a "),
		"bars":          fill("|\n"),
		"quotes":        fill("'"),
		"words":         "a: " + fill("x ")[3:],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Parse("bomb.yaml", []byte(src), nil)
			checkErrors(t, "bomb.yaml", src, err)
		})
	}
}

// checkErrors checks that err is Errors, in order, each placed in src and with a
// suggestion.
func checkErrors(t *testing.T, name, src string, err error) {
	t.Helper()
	var errs policy.Errors
	if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > 50 {
		t.Fatalf("error %v (%T), want 1 to 50 Errors", err, err)
	}
	lines := strings.Split(src, "\n")
	last := errs[0]
	for _, e := range errs {
		switch {
		case e.File != name || e.Message == "" || e.Suggestion == "":
			t.Errorf("%q: wrong file, no message or no suggestion", e)
		case e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > len([]rune(lines[e.Line-1]))+1:
			t.Errorf("%q is outside the file", e)
		case strings.ContainsFunc(e.Error(), func(r rune) bool { return r != '\t' && unicode.IsControl(r) }):
			t.Errorf("%q would be obeyed by a terminal", e)
		case e.Line < last.Line || e.Line == last.Line && e.Column < last.Column:
			t.Errorf("%q comes after %q", e, last)
		case e.Column-1 < e.Skipped || e.Column-1-e.Skipped > utf8.RuneCountInString(e.Source) || utf8.RuneCountInString(e.Source) > 160:
			t.Errorf("%q is not in what is shown: %q", e, e.Source)
		}
		last = e
	}
}
