package bot_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

const adminPolicy = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  dev: {grants: [prod-readonly]}
  sre: {grants: [prod-admin]}
  platform: {}
  second: {}
admins: [platform]
settings: {two_admins: %t}
roles:
  prod-admin: {account: prod, iam_role: starback/Admin, max_duration: 1h, includes: [prod-readonly], ticket: '[A-Z]+-[0-9]+'}
  prod-readonly: {account: prod, iam_role: starback/ReadOnly, max_duration: 8h}
  staging-admin: {account: prod, iam_role: starback/Staging, max_duration: 1h, approval: {by: [sre]}}
users:
  alice: {slack: T0SANDBOX/U1, groups: [dev, platform]}
  bob: {slack: T0SANDBOX/U2, groups: [sre]}
  dana: {slack: T0SANDBOX/U4, groups: [platform], expires: 2026-12-31}
  erin: {slack: T0SANDBOX/U5, groups: [platform], disabled: true}
  finn: {slack: T0SANDBOX/U6, groups: [platform], expires: 2026-11-24}
  ci-deploy: {app: true, owner: bob, grants: [prod-readonly]}
`

// newAdminWorld is a world in which alice and dana administer, and bob does
// not. bob, dana and eve read the audit channel.
func newAdminWorld(t *testing.T, twoAdmins bool) *world {
	t.Helper()
	w := newWorld(t, store.SQLiteOptions{})
	ids := []string{"U1", "U2", "U3", "U4", "U5", "U6", "U7", "U8"}
	for id, name := range map[string]string{"U4": "dana", "U5": "erin", "U6": "finn", "U7": "robot", "U8": "gwen"} {
		w.AddUser(sandbox.SlackUser{ID: id, Name: name})
	}
	w.AddChannel(sandbox.SlackChannel{ID: "C1", Name: "general", Members: ids, BotIn: true})
	w.AddChannel(sandbox.SlackChannel{ID: "C9", Name: "audit", Members: []string{"U2", "U3", "U4"}, BotIn: true})
	w.apply(fmt.Sprintf(adminPolicy, twoAdmins))
	w.passOn(t)
	return w
}

// asks has a user ask for something as an administrator, and checks that there
// is one answer, to them alone.
func (w *world) asks(t *testing.T, user, text string) string {
	t.Helper()
	before := len(w.Seen(user))
	text = w.types(user, "admin "+text)
	seen := w.Seen(user)
	if len(seen) != before+1 || !seen[len(seen)-1].Ephemeral || seen[len(seen)-1].For != user {
		t.Fatalf("%d messages for %q", len(seen)-before, text)
	}
	return text
}

// random are the ids that are others at every run.
var random = regexp.MustCompile(`\b01[0-9A-Z]{24}\b`)

// TestAdminCommands drives every command there is, each on what those before
// have left. What is answered is kept, to be read.
func TestAdminCommands(t *testing.T) {
	w := newAdminWorld(t, false)
	token, _, err := w.admin("root").CreateToken(t.Context(), broker.TokenWish{User: "ci-deploy", AnyRole: true, Label: "*nightly*"})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := audit(w)
	var driven []string
	var kept strings.Builder
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", []string{"What administrators can type after `/starback admin`", "`user add USER", "as in `group add data`", "`changes`"}},
		{"HELP me", []string{"What administrators can type after"}},
		{"help user bind", []string{"`user bind USER [--slack TEAM/USER] [--message WHY]`", "as in `user bind alice --slack T012AB/U0456`"}},

		{"user add hank --slack T0SANDBOX/U9 --group dev --until 2027-01-31 --message 'on the team'", []string{"✅ `user add`: done.", "hank:", "groups: dev", "slack: T0SANDBOX/U9", "expires: 2027-02-01"}},
		{"User Add gwen —slack @gwen –group sre —message “it’s time”", []string{"✅ `user add`: done.", "slack: T0SANDBOX/U8"}},
		{"user add bot2 --owner @bob", []string{"✅ `user add`: done.", "application of: bob"}},
		{"user disable @gwen hank", []string{"✅ `user disable`: done.", "gwen: enabled: true → false", "hank: enabled: true → false"}},
		{"user disable gwen", []string{"☑️ `user disable`: it was so already, and nothing was changed."}},
		{"user enable gwen", []string{"✅ `user enable`: done."}},
		{"user renew gwen --until 7d", []string{"✅ `user renew`: done.", "→ 2026-11-30 12:00:09 UTC"}},
		{"user renew gwen --until 2020-01-01", []string{"That cannot be done.", "2020-01-02 00:00 UTC has passed already"}},
		{"user bind hank --slack <@U3>", []string{"✅ `user bind`: done.", "T0SANDBOX/U9 → T0SANDBOX/U3"}},
		{"user bind hank --slack=@bob", []string{"\"@bob\" is not an account in Slack"}},
		{"user bind hank --slack @bob", []string{"That cannot be done.", "T0SANDBOX/U2 in Slack is bob's."}},
		{"user bind hank", []string{"To which account?", "It goes `/starback admin user bind USER"}},
		{"user remove hank bot2", []string{"✅ `user remove`: done.", "hank:", "removed", "bot2:"}},
		{"user remove hank", []string{"`user remove`: it was so already"}},
		{"user remove hanna", []string{"There is no user hanna; did you mean dana?"}},
		{"user disable alcie", []string{"There is no user alcie; did you mean alice?"}},
		{"user disable @robot", []string{"Nobody here is bound to the account `T0SANDBOX/U7` in Slack."}},

		{"group add data", []string{"✅ `group add`: done.", "groups.data", "Policy version 3"}},
		{"group add-member data @gwen", []string{"✅ `group add-member`: done.", "gwen: groups: sre → data, sre"}},
		{"group remove-member data gwen", []string{"✅ `group remove-member`: done.", "data, sre → sre"}},
		{"grant add prod-readonly --group data --until 30d", []string{"✅ `grant add`: done.", "groups.data.grants", "2026-12-23"}},
		{"grant add prod-admin --user @gwen", []string{"✅ `grant add`: done.", "gwen: grants: none → prod-admin"}},
		{"grant add prod-admin --user @alice", []string{"✅ `grant add`: done.", "Everybody in the audit channel is told:", "This benefits its author alice: alice gains prod-admin"}},
		{"grant remove prod-admin --user alice", []string{"✅ `grant remove`: done."}},
		{"grant remove prod-readonly --group data", []string{"✅ `grant remove`: done."}},
		{"grant remove prod-readonly --group data", []string{"`grant remove`: it was so already"}},
		{"grant remove prod-readnoly --group data", []string{"That cannot be done.", "prod-readnoly"}},
		{"grant add prod-admin", []string{"To whom? Give either --group or --user."}},
		{"grant add prod-admin --gruop dev", []string{"Did you mean --group?", "It goes `/starback admin grant add ROLE"}},
		{"admins add second", []string{"✅ `admins add`: done."}},
		{"admins remove second", []string{"✅ `admins remove`: done."}},
		{"admins remove second", []string{"`admins remove`: it was so already"}},
		{"admins remove platform", []string{"That cannot be done."}},
		{"group add-member data gwen dana", []string{"✅ `group add-member`: done."}},
		{"grant add prod-readonly --group data", []string{"✅ `grant add`: done."}},
		{"group remove data --message ‘nobody’s left’", []string{"✅ `group remove`: done."}},
		{"user show gwen", []string{"Groups: `data` (removed), `sre`"}},
		{"group remove data", []string{"`group remove`: it was so already"}},
		{"policy preview 8", []string{
			"Rolling back to version 8 would change this. Nothing was changed yet.", "the removed group data comes back, with its members dana, gwen",
			"dana gains prod-readonly", "would be told:* The removed group data comes back.", "`/starback admin policy rollback 8`",
		}},
		{"policy preview 9", []string{"Rolling back to version 9 would change nothing: it is so already."}},
		{"policy preview x", []string{"\"x\" is not the number of a version."}},
		{"policy preview 99", []string{"There is no version 99 of the policy"}},
		{"policy rollback 8", []string{
			"✅ `policy rollback`: done.", "the removed group data comes back, with its members dana, gwen", "dana gains prod-readonly",
			"is told:* The removed group data comes back.", "Policy version 10",
		}},
		{"group remove data", []string{"✅ `group remove`: done."}},
		{"admins add second --message 'for a moment'", []string{"done.", "admins.second"}},
		{"policy rollback 2", []string{"✅ `policy rollback`: done."}},
		{"policy rollback 99", []string{"There is no version 99 of the policy"}},
		{"policy rollback x", []string{"\"x\" is not the number of a version."}},
		{"token revoke ci-deploy " + token.ID, []string{"✅ `token revoke`: done.", token.ID + " → none"}},
		{"token create ci-deploy", []string{"A token is made on the command line alone"}},

		{"can bob prod-readonly", []string{"✅ *bob* may ask for `prod-readonly`, for up to 8h.", "`bob ∈ sre → prod-admin → includes prod-readonly` until", "As things are now · The first of these ways has been there since today at 12:00 PM"}},
		{"can @alice prod-admin", []string{"⛔ *alice* may not ask for `prod-admin`.", "membership of sre, or a grant to the user"}},
		{"can bob prod-amdin", []string{"There is no role prod-amdin; did you mean prod-admin?"}},
		{"can bob", []string{"That is not how it is asked.", "It goes `/starback admin can USER ROLE`"}},
		{"who-can prod-readonly", []string{"4 users may ask for `prod-readonly`.", "`alice ∈ dev → prod-readonly`", "`ci-deploy → prod-readonly`"}},
		{"who-can nothing", []string{"There is no role nothing."}},
		{"user show @bob", []string{"*bob* until", "Groups: `sre`", "Slack: `T0SANDBOX/U2`", "`bob ∈ sre → prod-admin` until"}},
		{"user show ci-deploy", []string{"Application of `bob`", token.ID, "revoked", "*nightly*"}},
		{"user show hank", []string{"*hank* removed for good"}},
		{"user list", []string{"7 users.", "`erin` switched off", "`ci-deploy` application of `bob`"}},
		{"user list sre", []string{"2 users in `sre`.", "`bob`", "`gwen` until Nov 30 at 12:00 PM in `data` (removed), `sre`"}},
		{"user list srr", []string{"There is no group `srr`. Did you mean `sre`?"}},
		{"expiring", []string{"The access of 2 users ends within 14d", "`finn`", "`gwen`", "`/starback admin user renew USER`"}},
		{"expiring 60d", []string{"The access of 3 users ends within 60d", "`dana`"}},
		{"expiring 1h", []string{"Nobody's access ends within 1h."}},
		{"user renew bob --until 6d", []string{"✅ `user renew`: done."}},
		{"expiring 150h", []string{"The access of 3 users ends within 150h", "`bob` until Nov 29 at", "`ci-deploy` application of `bob` until Nov 29 at", "`finn`"}},
		{"user show ci-deploy", []string{"*ci-deploy* until Nov 29 at", "Application of `bob`, whose access: until Nov 29 at"}},
		{"user renew bob --until 90d", []string{"✅ `user renew`: done."}},
		{"expiring soon", []string{"soon is not a length of time such as 14d or 12h."}},
		{"group show platform", []string{"`platform`: 4 members.", "Its members administer Starback", "`dana` until"}},
		{"group show sre", []string{"Grants: `prod-admin`", "Its members approve requests for `staging-admin`"}},
		{"group show pltform", []string{"There is no group `pltform`. Did you mean `platform`?"}},
		{"group list", []string{"4 groups", "`platform` none administers", "`dev` `prod-readonly`"}},
		{"policy history", []string{"The policy is at version", "by alice, rollback", "by alice, command: nobody’s left", "by root@build-1, file: for the test"}},
		{"changes", []string{"No change waits for a second administrator."}},
		{"change confirm 7K2M9QXD", []string{"There is no proposal 7K2M9QXD."}},
		{"change reject 7K2M9QXD", []string{"There is no proposal 7K2M9QXD."}},

		{"end user @gwen", []string{"Nothing of `gwen` is open, so there is nothing to end."}},
		{"end user alcie", []string{"There is no user alcie; did you mean alice?"}},
		{"end role prod-admin", []string{"Nothing of the role `prod-admin` is open"}},
		{"end role prod-amdin", []string{"There is no role prod-amdin; did you mean prod-admin?"}},
		{"end session 01jdckq0000000000000000000", []string{"That cannot be done.", "Nothing was issued as 01JDCKQ0000000000000000000."}},
		{"end session ASIA1", []string{"Nothing was issued as ASIA1."}},
		{"end session", []string{"That is not how it is asked.", "It goes `/starback admin end session ID`"}},

		{"user ad bob", []string{"Did you mean `user add`? It goes `/starback admin user add USER"}},
		{"who-cna prod-admin", []string{"Did you mean `who-can`?"}},
		{"user", []string{"There is no such command for administrators."}},
		{"make me root", []string{"There is no such command for administrators. Type `/starback admin help`"}},
		{"user disable bob --message 'on leave", []string{"A quotation in that command does not end."}},
		{"user disable bob --message", []string{"--message needs a value."}},
		{"user disable `*<!here>", []string{"\"`*<!here>\" is not a user's name"}},
	} {
		t.Run(c.text, func(t *testing.T) {
			answer := w.asks(t, "U1", c.text)
			has(t, answer, c.want...)
			fmt.Fprintf(&kept, "=== /starback admin %s\n%s\n", c.text, answer)
		})
		words := strings.ToLower(c.text)
		for _, op := range adminWords() {
			if words == op || strings.HasPrefix(words, op+" ") {
				driven = append(driven, op)
			}
		}
		w.clock.add(time.Second)
	}
	all := strings.ReplaceAll(kept.String(), token.ID, "7Qm2xK9fLp0a")
	bot.Golden(t, "admin-commands.txt", random.ReplaceAll([]byte(all), []byte("01JDCKQ0000000000000000000")))
	slices.Sort(driven)
	if diff := cmp.Diff(adminWords(), slices.Compact(driven)); diff != "" {
		t.Errorf("not every command was driven (-there is +driven):\n%s", diff)
	}
	w.passOn(t)
	messages, _ := audit(w)
	all = strings.Join(messages[len(before):], "\n")
	has(t, all, "A user was removed for good: `hank`", "An access token was revoked: `ci-deploy`", "The policy was put back to an older version",
		"it’s time", "# ⚠️ A user was changed: alice @here This benefits its author alice: alice gains prod-admin.")
	has(t, all, "# ⚠️ The policy was put back to an older version (version 10) @here The removed group data comes back. "+
		"the removed group data comes back, with its members dana, gwen; dana gains prod-readonly; groups.data: added", "The members of", "is another account in Slack from now on")
	if n := strings.Count(all, "@here"); n != 5 {
		t.Errorf("everybody is called %d times", n)
	}
}

// adminWords are the words of every command, sorted, from what help lists.
func adminWords() []string {
	words := []string{"can", "who-can", "user show", "user list", "expiring", "group show", "group list", "policy history", "policy preview", "changes", "change confirm", "change reject",
		"end session", "end user", "end role"}
	for _, c := range broker.Commands {
		words = append(words, string(c.Op))
	}
	slices.Sort(words)
	return words
}

// TestHelpListsCommands holds that adminWords are those that help lists.
func TestHelpListsCommands(t *testing.T) {
	w := newAdminWorld(t, false)
	var listed []string
	for line := range strings.Lines(w.asks(t, "U1", "help")) {
		if usage, ok := strings.CutPrefix(line, "`"); ok {
			words, _, _ := strings.Cut(strings.Trim(usage, "`\n"), " [")
			listed = append(listed, strings.TrimRight(words, "ABCDEFGHIJKLMNOPQRSTUVWXYZ. "))
		}
	}
	slices.Sort(listed)
	if diff := cmp.Diff(adminWords(), listed); diff != "" {
		t.Errorf("(-want +listed):\n%s", diff)
	}
}

// TestWhoMayAdminister has everybody but an administrator try every way there
// is, in vain.
func TestWhoMayAdminister(t *testing.T) {
	for _, c := range []struct {
		name, user, want string
		prepare          func(t *testing.T, w *world)
	}{
		{"somebody unknown", "U3", "Starback does not know you yet.", nil},
		{"no administrator", "U2", "Only administrators of Starback can do that, and you are not one of them. Nothing was changed.", nil},
		{"a disabled administrator", "U5", "Your access to Starback is switched off.", nil},
		{"an expired administrator", "U6", "Your access to Starback has expired.", func(_ *testing.T, w *world) { w.clock.add(48 * time.Hour) }},
		{"a guest", "U4", "Guests of this workspace cannot use Starback.", func(t *testing.T, w *world) {
			if err := w.SetUser("U4", func(u *sandbox.SlackUser) { u.Restricted = true }); err != nil {
				t.Fatal(err)
			}
		}},
		{"an application", "U7", "nothing can be issued to it", bindApplication},
		{"an administrator no more", "U4", "Only administrators of Starback can do that", func(t *testing.T, w *world) {
			has(t, w.asks(t, "U4", "group list"), "4 groups")
			has(t, w.asks(t, "U1", "group remove-member platform dana"), "done.")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newAdminWorld(t, true)
			if c.prepare != nil {
				c.prepare(t, w)
			}
			proposed := w.proposes(t, "U1")
			before := w.state(t)
			for _, text := range []string{"", "help", "xyzzy", "user list", "group add data", "user enable bob", "changes", "change confirm " + proposed.ID, "end user alice"} {
				has(t, w.asks(t, c.user, text), c.want)
			}
			for _, action := range []string{"confirm:", "reject:"} {
				w.clicks(t, c.user, action+proposed.ID)
				has(t, w.sees(c.user), c.want)
			}
			if diff := cmp.Diff(before, w.state(t)); diff != "" {
				t.Errorf("something changed (-before +after):\n%s", diff)
			}
		})
	}
}

// bindApplication makes robot's account in Slack the application's, which no
// command does.
func bindApplication(t *testing.T, w *world) {
	app, err := w.store.User(t.Context(), "ci-deploy")
	if err != nil {
		t.Fatal(err)
	}
	app.Slack, app.Groups = broker.SlackID{Team: "T0SANDBOX", User: "U7"}, []policy.GroupName{"platform"}
	if app, err = w.store.PutUser(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.PutIdentity(t.Context(), broker.Identity{Slack: app.Slack, User: app.Name, UserID: app.ID}); err != nil {
		t.Fatal(err)
	}
}

// state is everything that administering can change, in words.
func (w *world) state(t *testing.T) []string {
	t.Helper()
	head, _, err := w.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{fmt.Sprint("policy ", head.Version)}
	if err := w.store.Users(t.Context(), func(u broker.User) bool {
		lines = append(lines, fmt.Sprint(u.Name, u.Enabled, u.Removed, u.Expires, u.Groups, u.Grants, u.Slack, u.Tokens))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Proposals(t.Context(), func(p broker.Proposal) bool {
		lines = append(lines, fmt.Sprint(p.ID, p.State, p.AnswerBy))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestRepeatedCommands carries every command out twice, as happens when a worker
// dies before it says that it is done.
func TestRepeatedCommands(t *testing.T) {
	w := newAdminWorld(t, false)
	token, _, err := w.admin("root").CreateToken(t.Context(), broker.TokenWish{User: "ci-deploy", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"user add hank --slack T0SANDBOX/U9 --group sre --group dev --until 90d",
		"user add bot2 --owner bob",
		"user disable hank", "user enable hank", "user renew hank --until 30d", "user bind hank --slack T0SANDBOX/UA",
		"group add data", "group add-member data hank bob", "group remove-member data bob", "grant add prod-readonly --group data --until 12h",
		"grant add prod-admin --user hank --until 30d", "grant remove prod-admin --user hank", "grant remove prod-readonly --group data",
		"admins add data", "admins remove data", "group remove data", "admins add second", "policy rollback 2", "token revoke ci-deploy " + token.ID, "user remove hank bot2",
	} {
		t.Run(text, func(t *testing.T) {
			job := w.claims(t, "U1", "admin "+text)
			if err := w.worker.Do(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			has(t, w.sees("U1"), "done.")
			before := w.state(t)
			w.clock.add(time.Minute)
			if err := w.worker.Do(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			has(t, w.sees("U1"), "it was so already, and nothing was changed.")
			if diff := cmp.Diff(before, w.state(t)); diff != "" {
				t.Errorf("the second time changed something (-before +after):\n%s", diff)
			}
		})
	}
}

// claims has a user type a command, and takes its Job off the queue.
func (w *world) claims(t *testing.T, user, text string) broker.Job {
	t.Helper()
	w.sends(user, text)
	job, ok, err := w.store.Claim(t.Context(), w.clock.Now(), time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := w.store.Done(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	return job
}

// TestLateAdmin carries out what nobody waits for any more.
func TestLateAdmin(t *testing.T) {
	w := newAdminWorld(t, true)
	p := w.proposes(t, "U1")
	before := w.state(t)
	w.sends("U4", "admin user disable bob")
	w.clock.add(5 * time.Minute)
	w.work()
	has(t, w.sees("U4"), "Your command waited too long to be carried out, so nothing was changed.")
	w.posts(bot.PathInteractions, formType, clickBody("U4", w.url, "confirm:"+p.ID))
	w.clock.add(5 * time.Minute)
	w.work()
	if diff := cmp.Diff(before, w.state(t)); diff != "" {
		t.Errorf("something changed (-before +after):\n%s", diff)
	}
}

func TestAdminWithoutStore(t *testing.T) {
	w := newAdminWorld(t, false)
	job := w.claims(t, "U1", "admin user disable bob")
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.worker.Do(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	has(t, w.sees("U1"), "Starback cannot reach its store")
}
