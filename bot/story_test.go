package bot_test

import (
	"crypto/rand"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// An opener opens an empty store.
type opener func(t *testing.T, now func() time.Time) store.Store

// engines are the stores that there are.
var engines = map[string]opener{"SQLite": onSQLite, "DynamoDB": onDynamoDB}

func onSQLite(t *testing.T, _ func() time.Time) store.Store {
	return openSQLite(t, store.SQLiteOptions{})
}

func openSQLite(t *testing.T, opts store.SQLiteOptions) store.Store {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "store.db"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func onDynamoDB(t *testing.T, now func() time.Time) store.Store {
	t.Helper()
	cfg, table := dynamolocal.Config(t), dynamolocal.TableName()
	if _, err := store.CreateTable(t.Context(), cfg, table, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenDynamoDB(cfg, table, store.DynamoDBOptions{Now: now, Entropy: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A beginning makes the world in which a story begins.
type beginning func(*testing.T) *world

// TestStories tells every flow from its first word to its end, on both stores.
// Slack delivers each step, signed, to the Front over HTTP; what people see of
// it is what Slack shows them.
func TestStories(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name  string
		world func(*testing.T, opener) *world
		tell  func(*testing.T, beginning)
	}{
		{"a form", newFormWorldOn, tellForm},
		{"shortcuts", newFormWorldOn, tellShortcuts},
		{"a form, closed early", newFormWorldOn, tellClosedForm},
		{"a form, for approvers", newApprovalWorldOn, tellFormForApprovers},
		{"approved by two", newApprovalWorldOn, tellApproval},
		{"approved for less", newApprovalWorldOn, tellApprovalForLess},
		{"denied", newApprovalWorldOn, tellDenial},
		{"withdrawn", newApprovalWorldOn, tellWithdrawal},
		{"kept up to date", newApprovalWorldOn, tellRefresh},
		{"lapsed", newApprovalWorldOn, tellLapse},
		{"void", newApprovalWorldOn, tellVoid},
		{"reminded", newApprovalWorldOn, tellReminder},
		{"escalated", newApprovalWorldOn, tellEscalation},
		{"sessions, console and end", newSessionWorldOn, tellSessions},
		{"one session's end", newSessionWorldOn, tellEndOfOne},
		{"end and renew, typed", newSessionWorldOn, tellTypedEnds},
		{"ended by an administrator", newSessionWorldOn, tellAdminEnds},
		{"ended by being disabled", newSessionWorldOn, tellDisabling},
		{"the end of a window", newSessionWorldOn, tellWindowEnding},
		{"more, for approvers", newApprovalWorldOn, tellMoreWaits},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			for name, open := range engines {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					story.tell(t, func(t *testing.T) *world { return story.world(t, open) })
				})
			}
		})
	}
}

// tellFormForApprovers fills in a form for a role that needs approval. Nothing
// is made until it is revealed, and the form holds no credentials.
func tellFormForApprovers(t *testing.T, begin beginning) {
	w := begin(t)
	w.types("U1", "whoami")
	w.sends("U1", "")
	has(t, bare(w.chooses("U1", "one")), "Role: [ one v ]", "Needs 1 approval from leads.", "Ticket: ________")
	has(t, w.submits("U1", map[string]string{"duration:one": "2h", "ticket": "INC-7", "reason": "the disk is full"}), "Working on it…")
	w.work()
	w.passOn(t)
	has(t, bare(w.shownTo("U1")), "⏳ one in prod (111122223333) for 2h needs 1 approval from leads.", "I send you a message once they have answered", "[ Withdraw ]")
	has(t, w.shows(w.post(t)), "⏳ @alice alice asks for one in prod (111122223333) for 2h", "Ticket INC-7", "Reason the disk is full", "[ Approve ]")
	if r := w.stored(t, w.post(t)); r.Surface != broker.SurfaceForm || r.State != broker.StatePending || r.Ticket != "INC-7" {
		t.Errorf("the request is %s, by %s, for %q", r.State, r.Surface, r.Ticket)
	}
	has(t, w.votes(t, "U4", "approve"), "✅ You approved one for alice. alice can reveal the credentials now")
	if w.mint.made != 0 {
		t.Fatal("something was made before it was revealed")
	}
	dm := w.direct(t, "U1")
	has(t, w.shows(dm), "✅ Your request for one in prod (111122223333) was approved by lea. Press Reveal for credentials for 2h", "[ Reveal ]")
	w.clock.add(10 * time.Minute)
	has(t, w.does(t, "U1", dm, "reveal", ""), "export AWS_ACCESS_KEY_ID='ASIA0000000000000001'", "Ends today at 2:10 PM")
	has(t, w.shows(w.post(t)), "Approved by lea, and revealed. It ends")
	if shown := w.shownTo("U1"); strings.Contains(shown, sandbox.Marker) || w.mint.made != 1 {
		t.Errorf("%d sets were made; the form shows\n%s", w.mint.made, shown)
	}
	for _, m := range slices.Concat(w.Channel(approvals), w.Channel("C9"), w.Channel(dm.Channel)) {
		if !m.Ephemeral && strings.Contains(string(m.Blocks)+m.Text, sandbox.Marker) {
			t.Errorf("a message that stays holds credentials:\n%s", w.shows(m))
		}
	}
}

// tellDisabling switches somebody off, who has credentials and wants more.
func tellDisabling(t *testing.T, begin beginning) {
	w := begin(t)
	w.types("U2", "prod-readonly 1h")
	w.clock.add(time.Second)
	w.types("U2", "prod-readonly 2h")
	w.types("U1", "prod-readonly 1h")
	w.passOn(t)
	bobs, alices := w.open(t, "bob"), w.open(t, "alice")
	has(t, bare(w.asks(t, "U1", "user disable bob --message 'left the laptop on a train'")), "✅ user disable: done.", "bob: enabled: true → false")
	has(t, bare(w.types("U2", "prod-readonly")), "Your access to Starback is switched off.")
	w.passOn(t)
	want := []string{bobs[0].Sessions[0].ID, bobs[1].Sessions[0].ID}
	if got := slices.Sorted(slices.Values(w.ends.denied)); !slices.Equal(got, want) {
		t.Errorf("denied %v, want %v", got, want)
	}
	if n := len(w.open(t, "bob")); n != 0 || len(w.open(t, "alice")) != 1 || w.mint.made != 3 {
		t.Errorf("bob has %d open, alice %d; %d sets were made", n, len(w.open(t, "alice")), w.mint.made)
	}
	has(t, w.types("U1", "renew "+alices[0].Sessions[0].ID), "ASIA0000000000000004")
	_, replies := audit(w)
	has(t, bare(strings.Join(replies, "\n")), "ended: session "+bobs[0].Sessions[0].ID, "ended: session "+bobs[1].Sessions[0].ID)
}
