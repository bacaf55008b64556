package bot_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

const approvalPolicy = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  dev: {grants: [one, two, rising, plain]}
  leads: {grants: [one]}
  platform: {}
admins: [platform]
roles:
  one:
    account: prod
    iam_role: starback/Admin
    max_duration: 4h
    default_duration: 1h
    ticket: '[A-Z]+-[0-9]+'
    approval: {by: [leads], within: 2h, claim_within: 1h}
  two:
    account: prod
    iam_role: starback/Root
    max_duration: 4h
    approval: {by: [leads], count: 2, within: 2h, claim_within: 1h}
  rising:
    account: prod
    iam_role: starback/Admin
    max_duration: 1h
    approval: {by: [leads], count: 2, within: 2h, escalate_to: [platform], escalate_after: 40m}
  plain: {account: prod, iam_role: starback/ReadOnly, max_duration: 1h}
users:
  alice: {slack: T0SANDBOX/U1, groups: [dev]}
  bob: {slack: T0SANDBOX/U2, groups: [dev, platform]}
  lea: {slack: T0SANDBOX/U4, groups: [leads]}
  mia: {slack: T0SANDBOX/U5, groups: [leads]}
  ida: {slack: T0SANDBOX/U6, groups: [leads]}
  gus: {slack: T0SANDBOX/U7, groups: [leads]}
`

const approvals = "C8"

// newApprovalWorld is a world in which Lea, Mia and Ida approve what Alice and
// Bob ask for. Gus, in their group, is a guest; Ola, in their channel, is of
// another workspace; and nobody has told Starback of Eve.
func newApprovalWorld(t *testing.T) *world { return newApprovalWorldOn(t, onSQLite) }

func newApprovalWorldOn(t *testing.T, open opener) *world {
	t.Helper()
	w := newWorldOn(t, open)
	for id, name := range map[string]string{"U4": "lea", "U5": "mia", "U6": "ida"} {
		w.AddUser(sandbox.SlackUser{ID: id, Name: name})
	}
	w.AddUser(sandbox.SlackUser{ID: "U7", Name: "gus", Restricted: true})
	w.AddUser(sandbox.SlackUser{ID: "U8", Name: "ola", Stranger: true, TeamID: "T0OTHER"})
	w.AddChannel(sandbox.SlackChannel{ID: approvals, Name: "approvals", Members: []string{"U1", "U2", "U3", "U4", "U5", "U6", "U7", "U8"}, BotIn: true})
	w.client.Approvals = approvals
	w.front.Views, w.front.View = w.client, &broker.View{Reader: w.store, Now: w.clock.Now}
	w.apply(approvalPolicy)
	w.passOn(t)
	return w
}

// post is the approvals channel's newest message outside any thread.
func (w *world) post(t *testing.T) sandbox.Message {
	t.Helper()
	for _, m := range slices.Backward(w.Channel(approvals)) {
		if m.ThreadTS == "" {
			return m
		}
	}
	t.Fatal("nothing is posted")
	return sandbox.Message{}
}

// shows is how a message reads, without its markup.
func (w *world) shows(m sandbox.Message) string {
	return bare(sandbox.Text(m, w.RenderOptions()))
}

var markup = strings.NewReplacer("`", "", "*", "")

// bare is a text without its markup.
func bare(text string) string { return markup.Replace(text) }

// thread is what was said beneath the newest message, a reply a line.
func (w *world) thread(t *testing.T) string {
	t.Helper()
	ts := w.post(t).TS
	var all []string
	for _, m := range w.Channel(approvals) {
		if m.ThreadTS == ts {
			all = append(all, strings.Join(strings.Fields(w.shows(m)), " "))
		}
	}
	return strings.Join(all, "\n")
}

// asksFor has Alice ask for a role, and passes that on.
func (w *world) asksFor(t *testing.T, text string) string {
	t.Helper()
	said := w.types("U1", text)
	w.passOn(t)
	return said
}

// votes has a user press one of the buttons of the newest message in the
// approvals channel. It returns what they, and only they, are told.
func (w *world) votes(t *testing.T, user, action string) string {
	t.Helper()
	return w.does(t, user, w.post(t), action, "")
}

// does has a user press a button, or choose from a menu, and returns what they
// are told; then what came of it is passed on.
func (w *world) does(t *testing.T, user string, m sandbox.Message, action, choice string) string {
	t.Helper()
	before := w.private(user)
	var ack sandbox.Ack
	var err error
	if choice == "" {
		ack, err = w.Click(t.Context(), user, m, action)
	} else {
		ack, err = w.Choose(t.Context(), user, m, action, choice)
	}
	if err != nil || ack.Problem != "" {
		t.Fatalf("%s: %s, %v", action, ack.Problem, err)
	}
	w.work()
	after := w.private(user)
	w.passOn(t)
	if len(after) == 0 || len(after) == len(before) && cmp.Equal(before, after) {
		return ""
	}
	return w.shows(after[len(after)-1])
}

// private is what only a user sees.
func (w *world) private(user string) []sandbox.Message {
	return slices.DeleteFunc(w.Seen(user), func(m sandbox.Message) bool { return !m.Ephemeral })
}

// direct is the newest direct message to a user.
func (w *world) direct(t *testing.T, user string) sandbox.Message {
	t.Helper()
	for _, m := range slices.Backward(w.Seen(user)) {
		if strings.HasPrefix(m.Channel, "D") && !m.Ephemeral {
			return m
		}
	}
	t.Fatalf("nobody has written to %s", user)
	return sandbox.Message{}
}

// stored is how far the only Request that waited for approval has come.
func (w *world) stored(t *testing.T, m sandbox.Message) broker.Request {
	t.Helper()
	_, rest, _ := strings.Cut(w.shows(m), "Request ")
	r, err := w.store.Request(t.Context(), rest[:20])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tellApproval follows a request that two must approve from the command to
// credentials, and on.
func tellApproval(t *testing.T, begin beginning) {
	w := begin(t)
	w.endsThrough(&revoker{})
	has(t, bare(w.asksFor(t, "two 2h the disk is full")), "⏳ two in prod (111122223333) for 2h needs 2 approvals from leads.",
		"I send you a message once they have answered", "[ Withdraw ]")
	post := w.post(t)
	has(t, w.shows(post), "⏳ @alice alice asks for two in prod (111122223333) for 2h", "0 of 2 approvals so far.", "Reason the disk is full",
		"To answer: @ida @lea @mia", "[ Approve ]", "[! Deny !]", "alice ∈ dev → two")
	has(t, w.thread(t), "asked by alice")

	has(t, w.votes(t, "U4", "approve"), "✅ You approved two for alice. 1 of 2 approvals so far, by lea.")
	has(t, w.shows(w.post(t)), "1 of 2 approvals so far, by lea.", "To answer: @ida @mia")
	has(t, w.votes(t, "U4", "approve"), "You have answered this request already. Your answer stands")
	if w.mint.made != 0 {
		t.Fatal("something was minted before it was approved")
	}
	has(t, w.votes(t, "U5", "approve"), "✅ You approved two for alice. alice can reveal the credentials now")
	has(t, w.shows(w.post(t)), "✅ @alice alice asks for two", "Approved by lea, mia. It waits for alice to reveal the credentials")
	if text := w.shows(w.post(t)); strings.Contains(text, "[") {
		t.Errorf("there are buttons left:\n%s", text)
	}
	has(t, w.thread(t), "approved by lea, for 2h", "approved by mia, for 2h")
	if w.mint.made != 0 {
		t.Fatal("approving has minted something")
	}

	dm := w.direct(t, "U1")
	has(t, w.shows(dm), "✅ Your request for two in prod (111122223333) was approved by lea, mia. Press Reveal for credentials for 2h: they are made only then.", "[ Reveal ]")
	w.clock.add(10 * time.Minute)
	has(t, w.does(t, "U1", dm, "reveal", ""), "export AWS_ACCESS_KEY_ID='ASIA0000000000000001'", "two in prod (111122223333)")
	if shown := w.direct(t, "U1"); shown.TS != dm.TS || strings.Contains(string(shown.Blocks), sandbox.Marker) {
		t.Errorf("the credentials stand in a message that stays: %s", w.shows(shown))
	}
	has(t, w.shows(w.direct(t, "U1")), "you have revealed the credentials. You can have new keys until today at 1:55 PM.", "[ Renew ]")
	has(t, w.shows(w.post(t)), "🟢 @alice", "Approved by lea, mia, and revealed. It ends")
	has(t, w.thread(t), "revealed by alice")

	has(t, w.does(t, "U1", w.direct(t, "U1"), "renew", ""), "ASIA0000000000000002", "These are new keys.")
	keys := w.private("U1")
	has(t, w.does(t, "U1", keys[len(keys)-1], "shell:fish", ""), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000003'")
	w.passOn(t)
	messages, replies := audit(w)
	has(t, bare(strings.Join(messages, "\n")), "alice asked for two in 111122223333 for 2h", "Issued 3 times, the last until", "approved by lea, mia")
	has(t, bare(strings.Join(replies, "\n")), "put to approvers, until", "approved by lea, for 2h")
	r := w.stored(t, w.post(t))
	if !r.WindowEnd.Equal(w.clock.Now().Add(2 * time.Hour)) {
		t.Errorf("the window ends %s", r.WindowEnd)
	}
	has(t, w.thread(t), "further session "+r.Sessions[2].ID+" for alice", "further session "+r.Sessions[3].ID+" for alice")
	has(t, bare(w.types("U1", "end "+r.Sessions[1].ID)), "is ended. AWS denies it everything")
	w.passOn(t)
	has(t, w.thread(t), "to be ended by alice: session "+r.Sessions[1].ID, "ended: session "+r.Sessions[1].ID)
	has(t, w.shows(w.post(t)), "Approved by lea, mia, and revealed. It ends")
	has(t, bare(w.types("U1", "end")), "two in prod (111122223333) is ended.")
	w.passOn(t)
	has(t, w.thread(t), "ended: session "+r.Sessions[2].ID+", "+r.Sessions[3].ID)
	has(t, w.shows(w.post(t)), "Approved by lea, mia, and revealed. It ended")
}

// TestDoubleClicks holds that pressing again changes nothing, and is answered.
func TestDoubleClicks(t *testing.T) {
	w := newApprovalWorld(t)
	w.asksFor(t, "one 1h INC-1 x")
	id := w.stored(t, w.post(t)).ID
	w.votes(t, "U4", "approve")
	dm := w.direct(t, "U1")
	// As those press who have not seen that it changed.
	for _, again := range []string{"approve", "deny"} {
		has(t, w.late(t, "U5", again, id), "Nothing was changed: this request is past that. Approved by lea. It waits for alice")
	}
	w.does(t, "U1", dm, "reveal", "")
	has(t, w.late(t, "U1", "reveal", id), "You have revealed this already, and nothing is issued twice for it.", "press Renew")
	has(t, w.late(t, "U1", "withdraw", id), "Nothing was changed: this request is past that. Approved by lea, and revealed.")
	if got := w.mint.made; got != 1 {
		t.Errorf("%d credentials were made", got)
	}
}

// late has a user press a button about a Request that they do not see any more,
// and returns what they are told.
func (w *world) late(t *testing.T, user, action, id string) string {
	t.Helper()
	body := fmt.Sprintf(`{"type":"block_actions","team":{"id":"T0SANDBOX"},"user":{"id":%q,"team_id":"T0SANDBOX"},"channel":{"id":%q},
		"trigger_id":"9.%s","response_url":%q,"actions":[{"action_id":%q,"value":%q}]}`, user, approvals, user+action, w.url+"/actions/none", action, id)
	if code := w.posts(bot.PathInteractions, formType, url.Values{"payload": {body}}.Encode()); code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	w.work()
	return bare(w.sees(user))
}
