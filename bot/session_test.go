package bot_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// A revoker remembers whom AWS denies, unless it fails or is full.
type revoker struct {
	mu     sync.Mutex
	denied []string // of the last call
	err    error
	full   bool
}

func (r *revoker) Fence(_ context.Context, _ *policy.Role, ended []broker.Ended) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.full {
		return 0, r.err
	}
	r.denied = nil
	for _, e := range ended {
		r.denied = append(r.denied, e.SessionID)
	}
	return len(ended), nil
}

// endsThrough has the world's Sessions ended by r.
func (w *world) endsThrough(r broker.Revoker) {
	w.ends, _ = r.(*revoker)
	config := w.broker.Config
	config.Fences, config.Revoker = w.store, r
	w.broker = broker.New(config)
	w.worker.Broker = w.broker
}

func newSessionWorld(t *testing.T) (*world, *revoker) {
	t.Helper()
	w := newSessionWorldOn(t, onSQLite)
	return w, w.ends
}

func newSessionWorldOn(t *testing.T, open opener) *world {
	t.Helper()
	w := newWorldOn(t, open)
	w.endsThrough(&revoker{})
	w.AddChannel(sandbox.SlackChannel{ID: approvals, Name: "approvals", Members: []string{"U1", "U2", "U3"}, BotIn: true})
	w.passOn(t)
	return w
}

// open are somebody's open Requests, oldest first.
func (w *world) open(t *testing.T, user policy.UserName) []broker.Request {
	t.Helper()
	open, err := w.store.OpenRequests(t.Context(), user, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// last is the newest message that a user sees.
func (w *world) last(user string) sandbox.Message {
	seen := w.Seen(user)
	return seen[len(seen)-1]
}

// tellSessions goes through what can be done with a Request that is open.
func tellSessions(t *testing.T, begin beginning) {
	w := begin(t)
	r := w.ends
	has(t, bare(w.types("U1", "sessions")), "Nothing of yours is open or waiting.")
	w.types("U1", "prod-readonly 4h looking")
	w.clock.add(30 * time.Minute)
	id := w.open(t, "alice")[0].ID
	has(t, bare(w.types("U1", "sessions")), "1 request of yours is open or waiting.", "🟢 prod-readonly in prod (111122223333): 3h30m left, until today at 4:00 PM",
		"Key ASIA0000000000000001 until today at 4:00 PM, session "+w.open(t, "alice")[0].Sessions[0].ID, "[ Console ] [ Renew ] [! End !]", "Request "+id)

	has(t, w.does(t, "U1", w.last("U1"), "renew", ""), "ASIA0000000000000002", "These are new keys.")
	w.types("U1", "sessions")
	console := w.does(t, "U1", w.last("U1"), "open_console", "")
	has(t, console, "Open the AWS console", "prod-readonly in prod (111122223333)", "Ends today at 4:00 PM", "[! End this session !]")
	if strings.Contains(console, "AWS_SECRET") {
		t.Errorf("the console comes with keys:\n%s", console)
	}
	list := bare(w.types("U1", "sessions"))
	has(t, list, "Key ASIA0000000000000003", "Key ASIA0000000000000001", "End one session")

	sessions := w.open(t, "alice")[0].Sessions
	has(t, w.does(t, "U1", w.last("U1"), "end_one", id+" "+sessions[1].ID),
		"✅ The session "+sessions[1].ID+" of prod-readonly in prod (111122223333) is ended. AWS denies it everything from now on; it can take AWS some seconds",
		"2 other sessions go on, until today at 4:00 PM at the latest.", "Request "+id)
	if !slices.Equal(r.denied, []string{sessions[1].ID}) {
		t.Errorf("denied %v", r.denied)
	}
	if list := bare(w.types("U1", "sessions")); strings.Contains(list, "ASIA0000000000000002") {
		t.Errorf("what is ended is listed:\n%s", list)
	}
	has(t, w.does(t, "U1", w.last("U1"), "end", ""), "✅ prod-readonly in prod (111122223333) is ended.")
	if len(r.denied) != 3 || len(w.open(t, "alice")) != 0 {
		t.Errorf("denied %v, open %v", r.denied, w.open(t, "alice"))
	}
	has(t, w.late(t, "U1", "end", id), "There is nothing to end: it was ended before, or has expired by itself.")
	has(t, w.late(t, "U1", "renew", id), "is over, or will be in less than 15 minutes")

	messages, replies := audit(w)
	has(t, bare(messages[len(messages)-1]), "☑️ alice asked for prod-readonly", "Over since today at 12:30 PM")
	has(t, bare(strings.Join(replies, "\n")), "to be ended by alice: session "+sessions[1].ID, "ended: session "+sessions[1].ID,
		"to be ended by alice: session "+sessions[0].ID+", "+sessions[2].ID, "ended: session "+sessions[0].ID+", "+sessions[2].ID)
}

// tellEndOfOne ends the Session of the message with its keys, and leaves
// the Request open.
func tellEndOfOne(t *testing.T, begin beginning) {
	w := begin(t)
	r := w.ends
	w.types("U1", "prod-readonly 1h")
	has(t, bare(w.presses("U1", "end")), "The session "+w.open(t, "alice")[0].Sessions[0].ID+" of prod-readonly", "is ended.")
	if len(r.denied) != 1 || len(w.open(t, "alice")) != 1 {
		t.Errorf("denied %v, open %v", r.denied, w.open(t, "alice"))
	}
	list := bare(w.types("U1", "sessions"))
	has(t, list, "No keys of it work now.", "[ Console ] [ Renew ]")
	if strings.Contains(list, "End") {
		t.Errorf("what is ended can be ended:\n%s", list)
	}
	has(t, w.presses("U1", "renew"), "ASIA0000000000000002")
}

// tellTypedEnds types end and renew with one Request open, with several and
// with none.
func tellTypedEnds(t *testing.T, begin beginning) {
	w := begin(t)
	r := w.ends
	for _, verb := range []string{"end", "renew"} {
		has(t, bare(w.types("U1", verb)), "Nothing of yours is open.")
	}
	w.types("U1", "prod-readonly 1h")
	has(t, w.types("U1", "renew"), "ASIA0000000000000002", "These are new keys.")
	w.clock.add(time.Second)
	w.types("U1", "prod-readonly 2h")
	w.types("U2", "prod-readonly 1h")
	bobs := w.open(t, "bob")[0].Sessions[0].ID
	for _, verb := range []string{"end", "renew"} {
		has(t, bare(w.types("U1", verb)), "2 of your requests are open. Press a button of the one you mean, or name a session: the last 6 characters are enough.",
			"Key ASIA0000000000000001", "Key ASIA0000000000000003")
		has(t, bare(w.types("U1", verb+" 12345")), "Name a session by its last 6 characters, or more.")
		has(t, bare(w.types("U1", verb+" "+bobs)), "None of your sessions that are open ends in "+bobs+".", "ASIA0000000000000003")
	}
	if len(r.denied) != 0 || w.mint.made != 4 {
		t.Fatalf("denied %v, made %d", r.denied, w.mint.made)
	}

	open := w.open(t, "alice")
	first := open[0].Sessions[0].ID
	has(t, w.types("U1", "renew "+strings.ToLower(first)), "ASIA0000000000000005")
	has(t, bare(w.types("U1", "end "+first[20:])), "The session "+first+" of prod-readonly", "is ended.", "2 other sessions go on")
	has(t, bare(w.types("U1", "end "+first[20:])), "There is nothing to end")
	if !slices.Equal(r.denied, []string{first}) {
		t.Errorf("denied %v", r.denied)
	}
	has(t, bare(w.types("U2", "end")), "✅ prod-readonly in prod (111122223333) is ended.")
	if len(r.denied) != 2 || len(w.open(t, "alice")) != 2 || len(w.open(t, "bob")) != 0 {
		t.Errorf("denied %v", r.denied)
	}
}

// TestEndMeansWhatWasOpen holds that an end that waits, or is carried out
// twice, does not end what was asked for after it was typed.
func TestEndMeansWhatWasOpen(t *testing.T) {
	w, r := newSessionWorld(t)
	w.sends("U1", "end")
	w.clock.add(time.Second)
	ask := broker.Ask{
		Caller: broker.SlackID{Team: "T0SANDBOX", User: "U1"}, Surface: broker.SurfaceCommand, Key: "k", Role: "prod-readonly", Deadline: w.clock.Now().Add(time.Minute),
	}
	if _, err := w.broker.Issue(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	w.work()
	has(t, bare(w.sees("U1")), "Nothing of yours is open.")
	if len(r.denied) != 0 {
		t.Errorf("denied %v", r.denied)
	}
}

// TestEndFails says what becomes of a Session that is not ended, and ends it
// once AWS lets it.
func TestEndFails(t *testing.T) {
	fault := func(code broker.FaultCode) func(*revoker) {
		return func(r *revoker) { r.err = &broker.Fault{Code: code, Err: errors.New("SECRET")} }
	}
	for name, c := range map[string]struct {
		fail    func(*revoker)
		want    string
		forGood bool
	}{
		"no boundary":    {fault(broker.FaultNoBoundary), "⚠️ prod-readonly in prod (111122223333) can't be ended early: its IAM role has no boundary of Starback's. The keys work until today at 1:00 PM.", true},
		"a full one":     {func(r *revoker) { r.full = true }, "⚠️ prod-readonly in prod (111122223333) is not ended yet: AWS denies as many sessions of its IAM role as it can.", false},
		"AWS throttles":  {fault(broker.FaultThrottled), "⏳ prod-readonly in prod (111122223333) is not ended yet: AWS did not take it. Starback keeps trying, until AWS denies it or it ends by itself today at 1:00 PM.", false},
		"AWS is denied":  {fault(broker.FaultAccess), "⏳ prod-readonly in prod (111122223333) is not ended yet: AWS did not take it.", false},
		"anything else":  {func(r *revoker) { r.err = errors.New("SECRET") }, "⏳ prod-readonly in prod (111122223333) is not ended yet: AWS did not take it.", false},
		"no revoker yet": {nil, "can't be ended early", true},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := newSessionWorld(t)
			if c.fail == nil {
				w.endsThrough(nil)
			} else {
				c.fail(r)
			}
			w.types("U1", "prod-readonly 1h")
			id := w.open(t, "alice")[0].ID
			told := bare(w.types("U1", "end"))
			has(t, told, c.want, "Request "+id)
			if strings.Contains(told, "SECRET") {
				t.Errorf("the cause is shown:\n%s", told)
			}
			w.passOn(t)
			messages, _ := audit(w)
			has(t, bare(messages[len(messages)-1]), "Over since today at 12:00 PM, but its keys work until today at 1:00 PM")

			if !c.forGood {
				r.err, r.full = nil, false
			}
			w.clock.add(31 * time.Second)
			w.passOn(t)
			messages, replies := audit(w)
			said := bare(strings.Join(replies, "\n"))
			has(t, said, "to be ended by alice: session")
			if ended := strings.Contains(said, " ended: session"); ended == c.forGood || len(r.denied) == 0 == ended {
				t.Errorf("denied %v; the thread says\n%s", r.denied, said)
			}
			if still := strings.Contains(messages[len(messages)-1], "but its keys work"); still != c.forGood {
				t.Errorf("the channel says\n%s", messages[len(messages)-1])
			}
		})
	}
}

// TestEndIsNotTaken holds that where the end cannot even be recorded, nothing
// is said to be on its way.
func TestEndIsNotTaken(t *testing.T) {
	w, r := newSessionWorld(t)
	w.types("U1", "prod-readonly 1h")
	w.sends("U1", "end")
	w.clock.add(5 * time.Minute)
	w.work()
	has(t, bare(w.sees("U1")), "Starback could not take this in, so nothing is ended. Try again in a minute", "Request "+w.open(t, "alice")[0].ID)
	if len(r.denied) != 0 {
		t.Errorf("denied %v", r.denied)
	}
}

// TestOthersSessions presses the buttons of somebody else's Request.
func TestOthersSessions(t *testing.T) {
	w, r := newSessionWorld(t)
	w.types("U1", "prod-readonly 1h")
	alices := w.open(t, "alice")[0]
	for _, c := range []struct{ user, action, value, want string }{
		{"U2", "end", alices.ID, "This is somebody else's request. Nothing was changed."},
		{"U2", "end", alices.ID + " " + alices.Sessions[0].ID, "This is somebody else's request."},
		{"U2", "end_one", alices.ID + " " + alices.Sessions[0].ID, "This is somebody else's request."},
		{"U2", "open_console", alices.ID, "That request is not known any more."},
		{"U2", "ask_more", alices.ID, "That request is not known any more."},
		{"U3", "end", alices.ID, "Starback does not know you yet."},
		{"U1", "end", "0123456789ABCDEFGHJK", "There is nothing to end"},
		{"U1", "ask_more", "0123456789ABCDEFGHJK", "That request is not known any more."},
	} {
		has(t, w.late(t, c.user, c.action, c.value), c.want)
		w.clock.add(time.Second)
	}
	if len(r.denied) != 0 || w.mint.made != 1 {
		t.Errorf("denied %v, made %d", r.denied, w.mint.made)
	}
	// An administrator may, as Alice is.
	w.types("U2", "prod-readonly 1h")
	has(t, w.late(t, "U1", "end", w.open(t, "bob")[0].ID), "✅ prod-readonly in prod (111122223333) is ended.")
}

// TestWaitingSessions lists what waits for approval, and for being revealed.
func TestWaitingSessions(t *testing.T) {
	w := newApprovalWorld(t)
	w.endsThrough(&revoker{})
	w.asksFor(t, "one 1h INC-1 x")
	has(t, bare(w.types("U1", "sessions")), "1 request of yours is open or waiting.", "⏳ one in prod (111122223333) for 1h. 0 of 1 approval so far.", "[ Withdraw ]")
	has(t, bare(w.types("U1", "end")), "Nothing of yours is open.", "⏳ one in prod", "[ Withdraw ]")
	w.votes(t, "U4", "approve")
	has(t, bare(w.types("U1", "sessions")), "✅ one in prod (111122223333) for 1h. Approved by lea.", "[ Reveal ] [ Withdraw ]")
	has(t, w.does(t, "U1", w.last("U1"), "reveal", ""), "ASIA0000000000000001")
	has(t, bare(w.types("U1", "end")), "✅ one in prod (111122223333) is ended.")
}

// tellAdminEnds has an administrator end a session, by its ID and by its key;
// and all of a user's, and of a role's.
func tellAdminEnds(t *testing.T, begin beginning) {
	w := begin(t)
	r := w.ends
	for range 3 {
		w.types("U2", "prod-readonly 1h")
		w.clock.add(time.Second)
	}
	w.types("U2", "renew "+w.open(t, "bob")[2].Sessions[0].ID)
	w.passOn(t)
	bobs := w.open(t, "bob")
	has(t, bare(w.asks(t, "U1", "end session "+bobs[0].Sessions[0].ID)), "✅ The session "+bobs[0].Sessions[0].ID+" of prod-readonly", "is ended.", "Request "+bobs[0].ID)
	has(t, bare(w.asks(t, "U1", "end session "+bobs[0].Sessions[0].ID)), "There is nothing to end")
	has(t, bare(w.asks(t, "U1", "end session asia0000000000000002")), "✅ The session "+bobs[1].Sessions[0].ID, "is ended.")
	if len(r.denied) != 2 {
		t.Errorf("denied %v", r.denied)
	}
	has(t, bare(w.asks(t, "U1", "end user @bob")), "✅ Ended for bob: 3 requests. AWS denies their sessions everything from now on")
	if len(r.denied) != 4 {
		t.Errorf("denied %v", r.denied)
	}

	w.types("U2", "prod-readonly 1h")
	w.types("U1", "prod-readonly 1h")
	w.passOn(t)
	r.err = &broker.Fault{Code: broker.FaultNoBoundary, Err: errors.New("SECRET")}
	has(t, bare(w.asks(t, "U1", "end user bob")), "⚠️ Can't be ended early: 1 request,", "The IAM role has no boundary of Starback's")
	r.err = &broker.Fault{Code: broker.FaultThrottled, Err: errors.New("SECRET")}
	has(t, bare(w.asks(t, "U1", "end role prod-readonly")), "⏳ Not ended yet: 2 requests,", "Starback keeps trying.")
	r.err = nil
	w.clock.add(31 * time.Second)
	w.passOn(t)
	if len(r.denied) != 6 {
		t.Errorf("denied %v", r.denied)
	}
	has(t, bare(w.asks(t, "U1", "end role prod-readonly")), "Nothing of the role prod-readonly is open")
}

// Whoever answers for an application sees what it has open, and ends it by name.
// They are not offered its credentials, and what they end without a name is their
// own.
func TestSessionsOfAnApplication(t *testing.T) {
	w, r := newSessionWorld(t)
	for _, words := range []string{"user add ci --owner alice", "grant add prod-readonly --user ci"} {
		change, err := broker.ParseCommand(strings.Fields(words))
		if err == nil {
			_, err = w.admin("os:root").Do(t.Context(), change)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_, token, err := w.admin("os:root").CreateToken(t.Context(), broker.TokenWish{User: "ci", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := w.broker.Issue(t.Context(), broker.Ask{
		Token: token, Surface: broker.SurfaceAPI, Key: "1", Role: "prod-readonly", Deadline: w.clock.Now().Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.add(time.Second)
	list := bare(w.types("U1", "sessions"))
	has(t, list, "1 request of yours or of your applications is open or waiting.", "🟢 ci: prod-readonly in prod", "[! End !]", "Request "+issued.Request.ID)
	for _, button := range []string{"Console", "Renew", "Reveal", "Withdraw"} {
		if strings.Contains(list, button) {
			t.Errorf("%s is offered:\n%s", button, list)
		}
	}
	has(t, bare(w.types("U2", "sessions")), "Nothing of yours is open or waiting.")
	has(t, bare(w.types("U1", "end")), "Nothing of yours is open.")
	has(t, bare(w.types("U1", "renew")), "Nothing of yours is open.")
	if len(r.denied) != 0 {
		t.Fatalf("denied %v", r.denied)
	}
	id := issued.Session.ID
	has(t, bare(w.types("U1", "end "+id[len(id)-6:])), "The session "+id+" of prod-readonly in prod (111122223333) is ended.")
	if !slices.Equal(r.denied, []string{id}) {
		t.Errorf("denied %v", r.denied)
	}
}
