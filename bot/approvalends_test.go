package bot_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

// tellDenial has an approver say no, and why.
func tellDenial(t *testing.T, begin beginning) {
	for name, c := range map[string]struct {
		why           string
		where         []string // the denial is seen with its reason
		withoutReason bool
	}{
		"with a reason":      {why: "not during the *freeze*\n<!channel>", where: []string{"Denied by lea.", "Why not not during the freeze <!channel>"}},
		"with nothing in it": {why: " \u202e \n", where: []string{"Denied by lea."}, withoutReason: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			w.asksFor(t, "one 1h INC-1 x")
			if told := w.votes(t, "U4", "deny"); told != "" {
				t.Fatalf("answered before the form was: %s", told)
			}
			views := w.Views("U4")
			if len(views) != 1 {
				t.Fatalf("%d forms are open", len(views))
			}
			has(t, bare(sandbox.ViewText(views[0], w.RenderOptions())), "Deny a request", "You deny alice the role one for 1h, for good.", "They are told, and it is recorded.")
			if r := w.stored(t, w.post(t)); r.State != broker.StatePending {
				t.Fatalf("the request is %s", r.State)
			}
			if _, err := w.Submit(t.Context(), "U4", views[0].ID, nil); err == nil || !strings.Contains(err.Error(), "required") {
				t.Errorf("without a word: %v", err)
			}
			if ack, err := w.Submit(t.Context(), "U4", views[0].ID, map[string]string{"why": c.why}); err != nil || ack.Problem != "" {
				t.Fatalf("%s, %v", ack.Problem, err)
			}
			w.work()
			has(t, bare(w.sees("U4")), "⛔ You denied one for alice, who is told.")
			w.passOn(t)
			has(t, w.shows(w.post(t)), append(c.where, "⛔ @alice alice asks for one")...)
			has(t, w.shows(w.direct(t, "U1")), append(c.where[1:], "⛔ Your request for one in prod (111122223333) was denied by lea.", "ask again: /starback one")...)
			has(t, w.thread(t), "denied by lea")
			for _, text := range []string{w.shows(w.post(t)), w.shows(w.direct(t, "U1")), w.thread(t)} {
				if strings.Contains(strings.ReplaceAll(text, "[ Ask again ]", ""), "[") || strings.Contains(text, "Why not") == c.withoutReason {
					t.Errorf("shown as\n%s", text)
				}
			}
			if len(w.Views("U4")) != 0 {
				t.Error("the form stays open")
			}
		})
	}
}

// TestDenyWithoutForms holds that where there are no forms, or none is of use,
// a no counts at once.
func TestDenyWithoutForms(t *testing.T) {
	w := newApprovalWorld(t)
	w.front.Views = nil
	w.asksFor(t, "one 1h INC-1 x")
	has(t, w.votes(t, "U4", "deny"), "⛔ You denied one for alice")
	has(t, w.shows(w.post(t)), "Denied by lea.")
}

// TestDenyWithoutAView holds that a form opens that says less, where nothing
// can be looked up.
func TestDenyWithoutAView(t *testing.T) {
	w := newApprovalWorld(t)
	w.front.View = nil
	w.asksFor(t, "one 1h INC-1 x")
	w.votes(t, "U4", "deny")
	has(t, sandbox.ViewText(w.Views("U4")[0], w.RenderOptions()), "You deny this request, for good.")
}

// TestDenyFormFails holds that Slack shows that the button failed where the
// form cannot be opened, and that nothing is denied.
func TestDenyFormFails(t *testing.T) {
	w := newApprovalWorld(t)
	w.asksFor(t, "one 1h INC-1 x")
	w.fails(sandbox.SlackFault{Error: "expired_trigger_id"}, "views.open")
	if ack, err := w.Click(t.Context(), "U4", w.post(t), "deny"); err != nil || ack.Status != http.StatusServiceUnavailable {
		t.Errorf("answered %d, %v", ack.Status, err)
	}
	w.SetFault(nil)
	w.work()
	if r := w.stored(t, w.post(t)); r.State != broker.StatePending || len(r.Approvals) != 0 {
		t.Errorf("the request is %s", r.State)
	}
}

// TestForgedForm holds that a form counts only from the person for whom it was
// opened, and as it was opened.
func TestForgedForm(t *testing.T) {
	w := newApprovalWorld(t)
	w.asksFor(t, "one 1h INC-1 x")
	w.votes(t, "U4", "deny")
	sealed := w.Views("U4")[0].PrivateMetadata
	for name, c := range map[string]struct {
		user, metadata string
		want           int
	}{
		"another person's": {"U5", sealed, http.StatusBadRequest},
		"changed":          {"U4", sealed[:40] + "A" + sealed[41:], http.StatusBadRequest},
		"of no form":       {"U4", "x", http.StatusBadRequest},
		"empty":            {"U4", "", http.StatusBadRequest},
		"as it was opened": {"U4", sealed, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			body := fmt.Sprintf(`{"type":"view_submission","team":{"id":"T0SANDBOX"},"user":{"id":%q,"team_id":"T0SANDBOX"},"trigger_id":"9.9",
				"view":{"id":"V1","callback_id":"deny_form","private_metadata":%q}}`, c.user, c.metadata)
			if got := w.posts(bot.PathInteractions, formType, url.Values{"payload": {body}}.Encode()); got != c.want {
				t.Errorf("status %d", got)
			}
		})
	}
}

// tellApprovalForLess holds that the shortest that anybody agreed to counts.
func tellApprovalForLess(t *testing.T, begin beginning) {
	w := begin(t)
	w.asksFor(t, "two 4h x")
	id := w.stored(t, w.post(t)).ID
	has(t, w.does(t, "U4", w.post(t), "approve_less", id+" 1h"), "✅ You approved two for alice, for 1h at most.")
	has(t, w.shows(w.post(t)), "1 of 2 approvals so far, by lea (for 1h).")
	if _, err := w.Choose(t.Context(), "U5", w.post(t), "approve_less", id+" 1h"); err == nil {
		t.Error("what was agreed to is offered as less")
	}
	has(t, w.does(t, "U5", w.post(t), "approve_less", id+" 30m"), "✅ You approved two for alice, for 30m at most.")
	has(t, w.thread(t), "approved by lea, for 1h", "approved by mia, for 30m")
	has(t, w.shows(w.direct(t, "U1")), "for credentials for 30m")
	has(t, w.does(t, "U1", w.direct(t, "U1"), "reveal", ""), "Ends today at 12:30 PM")
}

// tellWithdrawal has the requester take it back: while it waits, and once it was
// approved.
func tellWithdrawal(t *testing.T, begin beginning) {
	for name, approve := range map[string]bool{"pending": false, "approved": true} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			w.asksFor(t, "one 1h INC-1 x")
			asked := w.private("U1")
			if approve {
				w.votes(t, "U4", "approve")
			}
			has(t, w.does(t, "U1", asked[len(asked)-1], "withdraw", ""), "☑️ Your request for one in prod (111122223333) is withdrawn.")
			if len(w.private("U1")) != len(asked) {
				t.Error("the message with the button stays")
			}
			has(t, w.shows(w.post(t)), "Withdrawn by alice.")
			has(t, w.thread(t), "withdrawn by alice")
			has(t, w.late(t, "U4", "approve", w.stored(t, w.post(t)).ID), "Nothing was changed: this request is past that. Withdrawn by alice.")
		})
	}
}

// TestWithdrawClosed withdraws in the form, and closes it before the answer.
func TestWithdrawClosed(t *testing.T) {
	w := newApprovalWorld(t)
	w.types("U1", "whoami")
	w.sends("U1", "")
	w.chooses("U1", "two")
	w.submits("U1", nil)
	w.work()
	w.passOn(t)
	has(t, bare(w.shownTo("U1")), "⏳ two in prod (111122223333) for 1h needs 2 approvals from leads.", "[ Withdraw ]")
	id := w.modal("U1").ID
	if _, err := w.ClickView(t.Context(), "U1", id, "withdraw"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CloseView(t.Context(), "U1", id); err != nil {
		t.Fatal(err)
	}
	w.work()
	has(t, w.shows(w.direct(t, "U1")), "☑️ Your request for two in prod (111122223333) is withdrawn.")
}

// tellLapse lets the time pass in which nobody answers, or nothing is revealed.
func tellLapse(t *testing.T, begin beginning) {
	for name, c := range map[string]struct {
		approve   bool
		post, own string
	}{
		"nobody answers":    {false, "It has lapsed, with 0 of 1 approval.", "has lapsed, with 0 of 1 approval."},
		"nobody reveals it": {true, "It has lapsed: approved by lea, and not revealed in time.", "has lapsed: approved by lea, and not revealed in time."},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			w.asksFor(t, "one 1h INC-1 x")
			if c.approve {
				w.votes(t, "U4", "approve")
			}
			w.clock.add(2 * time.Hour)
			w.passOn(t)
			has(t, w.shows(w.post(t)), c.post)
			has(t, w.thread(t), "lapsed")
			has(t, w.shows(w.direct(t, "U1")), c.own, "If you still need it, ask again: /starback one")
			has(t, w.late(t, "U1", "reveal", w.stored(t, w.post(t)).ID), "Nothing was changed: this request is past that.", c.post)
			has(t, w.late(t, "U5", "approve", w.stored(t, w.post(t)).ID), "Nothing was changed: this request is past that.", c.post)
		})
	}
}

// TestRevealLate holds that the message with the button says what has become of
// the request, once it is pressed too late.
func TestRevealLate(t *testing.T) {
	w := newApprovalWorld(t)
	w.asksFor(t, "one 1h INC-1 x")
	w.votes(t, "U4", "approve")
	dm := w.direct(t, "U1")
	w.clock.add(2 * time.Hour)
	has(t, w.does(t, "U1", dm, "reveal", ""), "this request is past that. It has lapsed: approved by lea, and not revealed in time.")
	for _, m := range w.Seen("U1") {
		if m.TS == dm.TS && strings.Contains(w.shows(m), "Reveal ]") {
			t.Errorf("the button stays:\n%s", w.shows(m))
		}
	}
}

// tellVoid changes the role between the asking and the answer, and the
// approver between the answer and the revealing.
func tellVoid(t *testing.T, begin beginning) {
	w := begin(t)
	w.asksFor(t, "one 1h INC-1 x")
	w.apply(strings.Replace(approvalPolicy, "starback/Admin", "starback/Owner", 1))
	has(t, w.votes(t, "U4", "approve"), "Nothing was changed: this request is past that. It is void: the role has changed since it was asked for.")
	has(t, w.shows(w.post(t)), "⚠️ @alice alice asks for one", "It is void: the role has changed since it was asked for.")
	has(t, w.shows(w.direct(t, "U1")), "does not hold any more: the role has changed since you asked for it.", "ask again")

	w.asksFor(t, "one 1h INC-1 once more")
	w.votes(t, "U4", "approve")
	dm := w.direct(t, "U1")
	w.apply(strings.Replace(approvalPolicy, "lea: {slack: T0SANDBOX/U4, groups: [leads]}", "lea: {slack: T0SANDBOX/U4, groups: [dev]}", 1))
	w.does(t, "U1", dm, "reveal", "")
	has(t, w.shows(w.post(t)), "⚠️ @alice alice asks for one", "It is void:")
	if w.mint.made != 0 {
		t.Errorf("%d credentials were made", w.mint.made)
	}
}

// tellReminder calls approvers again while the request waits.
func tellReminder(t *testing.T, begin beginning) {
	w := begin(t)
	w.asksFor(t, "two 1h x")
	w.votes(t, "U4", "approve")
	w.clock.add(15 * time.Minute)
	w.passOn(t)
	has(t, w.thread(t), "⏰ alice still waits for an answer on two in prod (111122223333) for 1h. 1 of 2 approvals so far, by lea. It lapses today at 2:00 PM. To answer: @ida @mia")
	w.votes(t, "U5", "approve")
	said := w.thread(t)
	w.clock.add(15 * time.Minute)
	w.passOn(t)
	if again := w.thread(t); again != said {
		t.Errorf("reminded of what was approved:\n%s", again)
	}
}

// tellEscalation puts a request that nobody answers to a second group: the
// message asks them too, and the thread says so.
func tellEscalation(t *testing.T, begin beginning) {
	w := begin(t)
	w.asksFor(t, "rising 1h x")
	has(t, w.shows(w.post(t)), "To answer: @ida @lea @mia")
	// Two of them become guests, which Slack tells of. That leaves two who can answer.
	for _, id := range []string{"U5", "U6"} {
		if err := w.broker.StandingChanged(t.Context(), broker.SlackID{Team: "T0SANDBOX", User: id}, broker.Guest); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.add(15 * time.Minute)
	w.passOn(t)
	has(t, w.shows(w.post(t)), "To answer: @lea")
	has(t, w.thread(t), "⏰ alice still waits for an answer on rising in prod (111122223333) for 1h. 0 of 2 approvals so far. It lapses today at 2:00 PM. To answer: @lea")
	if text := w.shows(w.post(t)); strings.Contains(text, "@bob") || strings.Contains(text, "only") {
		t.Errorf("it has not escalated yet, and two can answer:\n%s", text)
	}
	at := w.post(t).TS
	w.clock.add(25 * time.Minute)
	w.passOn(t)
	has(t, w.shows(w.post(t)), "To answer: @bob @lea")
	has(t, w.thread(t), "⏫ Escalated to platform: alice still waits for an answer on rising in prod (111122223333) for 1h. 0 of 2 approvals so far. It lapses today at 2:00 PM. To answer: @bob @lea")
	if w.post(t).TS != at {
		t.Error("there is a second message for it")
	}
	w.votes(t, "U2", "approve")
	if err := w.broker.StandingChanged(t.Context(), broker.SlackID{Team: "T0SANDBOX", User: "U4"}, broker.Guest); err != nil {
		t.Fatal(err)
	}
	w.clock.add(20 * time.Minute)
	w.passOn(t)
	has(t, w.shows(w.post(t)), "1 of 2 approvals so far, by bob.", "Nobody in leads, platform can answer this. An administrator has to add somebody.")
}

// TestAlreadyOpen holds that approvers see what the requester has open, and
// nothing of what only waits or is somebody else's.
func TestAlreadyOpen(t *testing.T) {
	w := newApprovalWorld(t)
	w.types("U2", "plain 30m")
	w.asksFor(t, "one 1h INC-1 x")
	if text := w.shows(w.post(t)); strings.Contains(text, "has open already") {
		t.Errorf("nothing is open:\n%s", text)
	}
	w.types("U1", "plain 1h")
	w.asksFor(t, "two 1h x")
	has(t, w.shows(w.post(t)), "alice has open already: plain until today at 1:00 PM. To answer:")
}

// TestNoApprovalsChannel holds that the requester is told where nobody is asked.
func TestNoApprovalsChannel(t *testing.T) {
	w := newApprovalWorld(t)
	w.client.Approvals = ""
	has(t, bare(w.asksFor(t, "one 1h INC-1 x")), "⚠️ one in prod (111122223333) for 1h needs 1 approval from leads, and this Starback has no approvals channel, so nobody is asked.",
		"Ask an administrator to set one", "This request lapses today at 2:00 PM.")
	if n := len(w.Channel(approvals)); n != 0 {
		t.Errorf("%d messages were posted", n)
	}
	w.clock.add(2 * time.Hour)
	w.passOn(t)
	has(t, w.shows(w.direct(t, "U1")), "has lapsed, with 0 of 1 approval.")
}

// TestOutsiders has everybody press who may not answer: they are told why, and
// nobody else; and nothing is changed.
func TestOutsiders(t *testing.T) {
	lea := func(change func(*sandbox.SlackUser)) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			if err := w.SetUser("U4", change); err != nil {
				t.Fatal(err)
			}
			if acks, err := w.UserChanged(t.Context(), "U4"); err != nil || len(acks) != 1 || acks[0].Problem != "" {
				t.Fatalf("%+v, %v", acks, err)
			}
			w.work()
		}
	}
	for name, c := range map[string]struct {
		user  string
		first func(*testing.T, *world) // once it is asked
		want  string
	}{
		"an outsider": {user: "U3", want: "Starback does not know you yet. Give an administrator your Slack id from the line below, and ask to be added."},
		"no approver": {user: "U2", want: "You are not one of those who may answer this request. Nothing was changed."},
		"a guest":     {user: "U7", want: "Guests of this workspace cannot use Starback."},
		"a bot":       {user: "U4", first: lea(func(u *sandbox.SlackUser) { u.Bot = true }), want: "Bots cannot use Starback."},
		"deleted": {
			user: "U4", first: lea(func(u *sandbox.SlackUser) { u.Deleted = true }),
			want: "Slack says that this account is deactivated, so nothing can be issued to it.",
		},
		"of another workspace":  {user: "U8", want: "You are a member of another workspace, and Starback serves only its own."},
		"the requester":         {user: "U1", want: "You cannot approve or deny what you, or an application of yours, asked for."},
		"the requester's owner": {user: "U4", first: robotAsks, want: "You cannot approve or deny what you, or an application of yours, asked for."},
		"a former approver": {user: "U4", first: func(_ *testing.T, w *world) {
			w.apply(strings.Replace(approvalPolicy, "lea: {slack: T0SANDBOX/U4, groups: [leads]}", "lea: {slack: T0SANDBOX/U4, groups: [dev]}", 1))
		}, want: "You are not one of those who may answer this request. Nothing was changed."},
		"an approver, twice": {user: "U4", first: func(t *testing.T, w *world) {
			w.votes(t, "U4", "approve")
		}, want: "You have answered this request already. Your answer stands; nothing was changed."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newApprovalWorld(t)
			w.asksFor(t, "two 4h x")
			if c.first != nil {
				c.first(t, w)
				w.passOn(t)
			}
			before, replies := w.post(t), w.thread(t)
			asked := w.stored(t, before)
			for _, action := range []string{"approve", "approve_less", "deny"} {
				var choice string
				if action == "approve_less" {
					choice = asked.ID + " 30m"
				}
				told := w.does(t, c.user, before, action, choice)
				// That somebody has become a guest is found out from Slack, when
				// the form comes back.
				if views := w.Views(c.user); told == "" && len(views) == 1 {
					if _, err := w.Submit(t.Context(), c.user, views[0].ID, map[string]string{"why": "no"}); err != nil {
						t.Fatal(err)
					}
					w.work()
					told = w.sees(c.user)
				}
				has(t, told, c.want)
				w.passOn(t)
				if after := w.post(t); !cmp.Equal(before, after) || w.thread(t) != replies {
					t.Errorf("%s: the post has changed:\n%s\n%s", action, w.shows(after), w.thread(t))
				}
				if after := w.stored(t, before); after.State != broker.StatePending || !cmp.Equal(after.Approvals, asked.Approvals) {
					t.Errorf("%s: the request is %s, with %+v", action, after.State, after.Approvals)
				}
			}
		})
	}
}

// robotAsks has an application of Lea's ask for a role.
func robotAsks(t *testing.T, w *world) {
	t.Helper()
	w.apply(approvalPolicy + "  robot: {app: true, owner: lea, groups: [dev]}\n")
	_, token, err := w.admin("root").CreateToken(t.Context(), broker.TokenWish{User: "robot", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	ask := broker.Ask{Token: token, Surface: broker.SurfaceAPI, Key: "1", Role: "two", Duration: 4 * time.Hour, Deadline: w.clock.Now().Add(time.Minute)}
	if _, err := w.broker.Issue(t.Context(), ask); !errors.Is(err, broker.ErrWaiting) {
		t.Fatal(err)
	}
	w.passOn(t)
	has(t, w.shows(w.post(t)), "robot asks for two")
}

// TestRevealedByOthers holds that what was approved is its requester's alone.
func TestRevealedByOthers(t *testing.T) {
	w := newApprovalWorld(t)
	w.asksFor(t, "one 1h INC-1 x")
	w.votes(t, "U4", "approve")
	id := w.stored(t, w.post(t)).ID
	for action, want := range map[string]string{
		"reveal": "That request is not known any more.", "renew": "That request is not known any more.", "withdraw": "This is somebody else's request. Nothing was changed.",
	} {
		has(t, w.late(t, "U2", action, id), want)
	}
	if r := w.stored(t, w.post(t)); r.State != broker.StateApproved || w.mint.made != 0 {
		t.Errorf("the request is %s, and %d credentials were made", r.State, w.mint.made)
	}
}

// TestDeletedPost holds that a message that somebody has deleted comes back.
func TestDeletedPost(t *testing.T) {
	gone := func(method string) *sandbox.SlackFault {
		if method == "chat.update" {
			return &sandbox.SlackFault{Error: "message_not_found"}
		}
		return nil
	}
	w := newApprovalWorld(t)
	w.asksFor(t, "two 1h x")
	before := w.post(t)
	w.SetFault(gone)
	w.votes(t, "U4", "approve")
	w.SetFault(nil)
	after := w.post(t)
	if after.TS == before.TS {
		t.Fatal("it is not posted again")
	}
	has(t, w.shows(after), "1 of 2 approvals so far, by lea.")
	w.votes(t, "U5", "approve")
	has(t, w.shows(w.post(t)), "Approved by lea, mia.")
	if w.post(t).TS != after.TS {
		t.Error("it is posted once more")
	}
}

// TestApprovalsWithoutSlack holds that nothing is lost while Slack is down, and
// nothing is said twice.
func TestApprovalsWithoutSlack(t *testing.T) {
	w := newApprovalWorld(t)
	w.fails(sandbox.SlackFault{Status: http.StatusServiceUnavailable}, "chat.postMessage")
	w.types("U1", "two 1h x")
	if err := w.due(); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("err = %v", err)
	}
	w.SetFault(nil)
	w.clock.add(time.Minute)
	w.passOn(t)
	if n := len(w.Channel(approvals)); n != 2 {
		t.Errorf("%d messages for one request", n)
	}
	has(t, w.thread(t), "asked by alice")
}

// TestUnreachableRequester holds that somebody whom no message reaches counts
// as told.
func TestUnreachableRequester(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		_, _ = out.Write([]byte(`{"ok":false,"error":"user_disabled"}`))
	}))
	t.Cleanup(server.Close)
	client := bot.NewClient(broker.NewSecret("xoxb-1"), server.URL+"/", "", server.Client())
	r := broker.Request{ID: "R", State: broker.StateLapsed, Slack: broker.SlackID{Team: "T1", User: "U1"}}
	if _, err := client.Tell(t.Context(), broker.Telling{Kind: broker.NoticeOutcome, Request: &r}); err != nil {
		t.Error(err)
	}
}
