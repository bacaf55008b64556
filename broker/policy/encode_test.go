package policy_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// load reads a good file.
func load(t testing.TB, name string) *policy.Document {
	t.Helper()
	file, err := policy.Load(os.DirFS("testdata/good"), name)
	if err != nil {
		t.Fatal(err)
	}
	return file.Document
}

func encode(t testing.TB, d *policy.Document) []byte {
	t.Helper()
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEncode compares the encoding to a golden file: documents are stored and
// approvals are bound to digests, so it must not change by accident.
func TestEncode(t *testing.T) {
	for _, name := range []string{"policy", "full"} {
		t.Run(name, func(t *testing.T) {
			d := load(t, name+".yaml")
			b := encode(t, d)
			golden := "testdata/good/" + name + ".golden"
			if *update {
				if err := os.WriteFile(golden, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(b)); diff != "" {
				t.Errorf("encoding (-want +got):\n%s", diff)
			}
			again, err := policy.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, again); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if !again.Roles["prod-admin"].Ticket.Match("INC-1") || again.Roles["prod-admin"].Ticket.Match("x INC-1") {
				t.Error("the decoded pattern matches otherwise")
			}
			if d.Digest() != again.Digest() || len(d.Digest()) != 64 {
				t.Errorf("digests %q and %q", d.Digest(), again.Digest())
			}
		})
	}
}

// TestEncodeOrder checks that lists that are sets encode alike in any order,
// and that encoding does not touch the Document.
func TestEncodeOrder(t *testing.T) {
	want := encode(t, load(t, "full.yaml"))
	zone := time.FixedZone("", 3600)
	checks(t, 1000)
	rapid.Check(t, func(t *rapid.T) {
		d, err := policy.Decode(want) // a copy to shuffle
		if err != nil {
			t.Fatal(err)
		}
		d.Admins = mix(t, d.Admins)
		admin := d.Roles["prod-admin"]
		admin.Includes, admin.Approval.By = mix(t, admin.Includes), mix(t, admin.Approval.By)
		admin.SessionPolicyARNs = mix(t, admin.SessionPolicyARNs)
		stage := d.Roles["stage-readonly"]
		stage.PermissionARNs = mix(t, stage.PermissionARNs)
		sre := d.Groups["sre"]
		sre.Grants = mix(t, sre.Grants)
		for i, g := range sre.Grants {
			if !g.Expires.IsZero() {
				sre.Grants[i].Expires = g.Expires.In(zone)
			}
		}
		d.Groups["sre"] = sre
		admins, grants := slices.Clone(d.Admins), slices.Clone(sre.Grants)
		got, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("encoded %s\nwant %s", got, want)
		}
		if diff := cmp.Diff(admins, d.Admins) + cmp.Diff(grants, d.Groups["sre"].Grants); diff != "" {
			t.Fatalf("Encode changed the document:\n%s", diff)
		}
	})
}

// A damagedCase is an encoded document that is damaged in one place, and what
// it is refused with.
type damagedCase struct{ name, doc, want string }

func damagedCases(t *testing.T) []damagedCase {
	good := string(encode(t, load(t, "policy.yaml")))
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the document holds no %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	return []damagedCase{
		{"nothing", "", "EOF"},
		{"null", "null", "there is no document"},
		{"another value", "[]", "cannot unmarshal"},
		{"half", good[:len(good)/2], "unexpected EOF"},
		{"an empty object", "{}", "admins"},
		{"an unknown key", replace(`"console":true`, `"console":true,"root":true`), `unknown field "root"`},
		{"a key in another case", replace(`"admins"`, `"Admins"`), "canonical"},
		{"a repeated key", replace(`"console":true`, `"console":true,"console":true`), "canonical"},
		{"white space", good + "\n", "canonical"},
		{"a second value", good + "{}", "canonical"},
		{"another order", replace(`"id":"111122223333","partition":"aws"`, `"partition":"aws","id":"111122223333"`), "canonical"},
		{"a null where there is nothing", replace(`"console":true`, `"console":true,"ticket":null`), "canonical"},
		{"an explicit false", replace(`"console":true`, `"console":false`), "canonical"},
		{"invalid UTF-8", replace(`"platform"]`, "\"plat\xffform\"]"), "admins"},
		{"a dangling grant", replace(`"grants":[{"role":"prod-admin"}]`, `"grants":[{"role":"root"}]`), "groups.sre.grants.root: there is no role"},
		{"a grant that never ends by accident", replace(`{"role":"prod-admin"}`, `{"role":"prod-admin","expires":"0001-01-01T00:00:00Z"}`), "canonical"},
		{"a grant out of time", replace(`{"role":"prod-admin"}`, `{"role":"prod-admin","expires":"1999-01-01T00:00:00Z"}`), "years"},
		{"a grant given twice", replace(`[{"role":"prod-admin"}]`, `[{"role":"prod-admin"},{"role":"prod-admin"}]`), "granted twice"},
		{"an include given twice", replace(`["prod-readonly"]`, `["prod-readonly","prod-readonly"]`), "listed twice"},
		{"an approver given twice", replace(`["sre-leads"]`, `["sre-leads","sre-leads"]`), "listed twice"},
		{"a cycle", replace(`"console":true`, `"console":true,"includes":["prod-admin"]`), "cycle"},
		{"a misfiled role", replace(`"name":"prod-admin"`, `"name":"prod-readonly"`), "roles.prod-admin"},
		{"a misfiled account", replace(`"name":"prod","id"`, `"name":"dev","id"`), "accounts.prod"},
		{"a misfiled group", replace(`"name":"sre",`, `"name":"dev",`), "groups.sre"},
		{"a missing role", replace(`"prod-readonly":{`, `"z":null,"prod-readonly":{`), "roles.z: the role is empty"},
		{"another account id", replace(`"account_id":"111122223333"`, `"account_id":"999922223333"`), "account"},
		{"another partition", replace(`"partition":"aws"}`, `"partition":"aws-cn"}`), "account"},
		{"an ARN of another account", replace(`iam::111122223333:role/starback/Admin`, `iam::999922223333:role/starback/Admin`), "arn"},
		{"one of our own roles", replace(`:role/starback/Admin`, `:role/starback-system/Admin`), "Starback's own"},
		{"no longest duration", replace(`"max_duration":14400000000000`, `"max_duration":0`), "max_duration"},
		{"too long a duration", replace(`"max_duration":14400000000000`, `"max_duration":43200000000001`), "max_duration"},
		{"a default past the longest", replace(`"default_duration":3600000000000`, `"default_duration":14400000000001`), "default_duration"},
		{"a lifetime without end", replace(`"user_lifetime":7776000000000000`, `"user_lifetime":0`), "user_lifetime"},
		{"an empty pattern", replace(`"ticket":"^[A-Z]+-[0-9]+$"`, `"ticket":""`), "pattern"},
		{"a pattern that does not compile", replace(`"ticket":"^[A-Z]+-[0-9]+$"`, `"ticket":"["`), "missing closing"},
		{"no approvers", replace(`"by":["sre-leads"]`, `"by":[]`), "approval.by"},
		{"no count", replace(`"count":1`, `"count":0`), "approval.count"},
		{"no wait", replace(`"within":7200000000000`, `"within":-1`), "approval.within"},
		{"a description that lies", replace(`"account":"prod","account_id"`, `"description":"a\u202eb","account":"prod","account_id"`), "description"},
		{"a session policy with space", replace(`"session_policy":"{`, `"session_policy":"{ `), "not minified"},
		{"a session policy that is not JSON", replace(`"session_policy":"{`, `"session_policy":"{{`), "not JSON"},
		{"a session policy without meaning", replace(`\"Effect\":\"Deny\"`, `\"Effect\":\"deny\"`), "Effect"},
		{"a removed group that is there", replace(`7776000000000000}}`, `7776000000000000},"removed":["dev"]}`), "removed.dev: the group `dev` was removed"},
		{"a removed group without a name", replace(`7776000000000000}}`, `7776000000000000},"removed":[""]}`), "removed.: the name of a group"},
		{"a group removed twice", replace(`7776000000000000}}`, `7776000000000000},"removed":["a","a"]}`), "removed.a: `a` is listed twice"},
		{"removed groups out of order", replace(`7776000000000000}}`, `7776000000000000},"removed":["b","a"]}`), "canonical"},
		{"tokens without end", replace(`7776000000000000}}`, `7776000000000000,"token_lifetime":1}}`), "token_lifetime"},
		{"tags where there can be none", replace(`"console":true`, `"console":true,"tags":{"a":"b"},"no_tags":true`), "has tags"},
		{"Starback's own tags", replace(`"console":true`, `"console":true,"tags":{"starback:user":"bob"}`), "starback:"},
		{"no tags, explicitly", replace(`"console":true`, `"console":true,"tags":{}`), "canonical"},
		{"permissions without meaning", replace(`"console":true`, `"console":true,"permissions":"{}"`), "roles.prod-readonly.permissions: the permissions policy has no"},
		{"permissions of another account", replace(`"console":true`, `"console":true,"permission_arns":["arn:aws:iam::999922223333:policy/x"]`), "permission_arns"},
		{"a session policy in another order", replace(`\"Effect\":\"Allow\",\"Resource\":\"*\"`, `\"Resource\":\"*\",\"Effect\":\"Allow\"`), "alphabetical"},
	}
}

// TestDecodeRefuses damages an encoded document in one place at a time.
func TestDecodeRefuses(t *testing.T) {
	for _, c := range damagedCases(t) {
		t.Run(c.name, func(t *testing.T) {
			d, err := policy.Decode([]byte(c.doc))
			if d != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Decode = %v, %v; want an error with %q", d, err, c.want)
			}
		})
	}
}

// TestEncodeRefuses checks that nothing can be stored that could not be read.
func TestEncodeRefuses(t *testing.T) {
	d := load(t, "policy.yaml")
	d.Admins = nil
	if b, err := d.Encode(); err == nil {
		t.Errorf("encoded %s", b)
	}
	if got := d.Digest(); got != "" {
		t.Errorf("digest = %q, want none", got)
	}
	if got := (*policy.Document)(nil).Digest(); got != "" {
		t.Errorf("digest of nothing = %q, want none", got)
	}
}

// TestDigestTellsApart checks that whatever changes a Document changes its
// digest.
func TestDigestTellsApart(t *testing.T) {
	base := load(t, "policy.yaml").Digest()
	for name, change := range map[string]func(*policy.Document){
		"a duration":  func(d *policy.Document) { d.Roles["prod-readonly"].MaxDuration += time.Minute },
		"an approver": func(d *policy.Document) { d.Roles["prod-admin"].Approval.By[0] = "sre" },
		"an admin":    func(d *policy.Document) { d.Admins[0] = "sre" },
		"a grant":     func(d *policy.Document) { d.Groups["dev"].Grants[0].Role = "prod-admin" },
		"an expiry":   func(d *policy.Document) { d.Groups["dev"].Grants[0].Expires = noon },
		"a session tag": func(d *policy.Document) {
			d.Roles["prod-readonly"].Tags = map[string]string{"team": "data"}
		},
		"permissions":     func(d *policy.Document) { d.Roles["prod-readonly"].Permissions = session },
		"a removed group": func(d *policy.Document) { d.Removed = []policy.GroupName{"old"} },
		"two admins":      func(d *policy.Document) { d.Settings.TwoAdmins = true },
		"a user group": func(d *policy.Document) {
			g := d.Groups["dev"]
			g.SlackGroup = "S012ABCDEF"
			d.Groups["dev"] = g
		},
		"tickets' links": func(d *policy.Document) { d.Settings.TicketURL = "https://t.example/{ticket}" },
		"a role's links": func(d *policy.Document) { d.Roles["prod-admin"].TicketURL = "https://t.example/{ticket}" },
		"an ARN":         func(d *policy.Document) { d.Roles["prod-admin"].ARN += "s" },
		"tags":           func(d *policy.Document) { d.Roles["prod-admin"].NoTags = true },
		"settings":       func(d *policy.Document) { d.Settings.BindByEmail = true },
		"a definition":   func(d *policy.Document) { d.Groups["new"] = policy.Group{Name: "new"} },
	} {
		t.Run(name, func(t *testing.T) {
			d := load(t, "policy.yaml")
			change(d)
			if got := d.Digest(); got == base || got == "" {
				t.Errorf("digest = %q, was %q", got, base)
			}
		})
	}
}
