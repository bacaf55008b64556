package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// approvals is the rules with roles that need one approval, and two.
var approvals = replace(replace(replace(rules,
	"guarded:   {account: prod, iam_role: starback/ReadOnly, max_duration: 1h, approval: {by: [leads]}}",
	"guarded:   {account: prod, iam_role: starback/ReadOnly, max_duration: 4h, approval: {by: [leads], within: 2h, claim_within: 1h}}\n"+
		"  doubly:    {account: prod, iam_role: starback/ReadOnly, max_duration: 4h, approval: {by: [leads], count: 2}}"),
	"sre: {grants: [guarded]}", "sre: {grants: [guarded, doubly]}"),
	"root:  {slack: T0AB/UROOT, groups: [admins]}",
	"root:  {slack: T0AB/UROOT, groups: [admins]}\n"+
		"  lea:   {slack: T0AB/ULEA, groups: [leads]}\n"+
		"  mia:   {slack: T0AB/UMIA, groups: [leads, sre]}\n"+
		"  ida:   {slack: T0AB/UIDA, groups: [leads]}\n"+
		"  robot: {app: true, owner: lea, groups: [sre]}")

func person(id string) broker.SlackID { return broker.SlackID{Team: "T0AB", User: id} }

var lea, mia, ida = person("ULEA"), person("UMIA"), person("UIDA")

// pending is a world in which Bob has asked for a role that needs approval.
func pending(t *testing.T, role policy.RoleName) (*world, broker.Request) {
	t.Helper()
	w := newWorld(t)
	w.apply(t, approvals)
	ask := w.ask("1", role)
	ask.Caller, ask.Duration, ask.Words = bob, 4*time.Hour, "disk is full"
	_, err := w.Issue(t.Context(), ask)
	var waiting *broker.Waiting
	if !errors.As(err, &waiting) || waiting.Request.State != broker.StatePending {
		t.Fatalf("err = %v", err)
	}
	return w, waiting.Request
}

// answer is somebody's answer to a Request.
func (w *world) answer(who broker.SlackID, r broker.Request, yes bool) broker.Answer {
	return broker.Answer{Caller: who, RequestID: r.ID, Yes: yes, Key: "click " + who.User, Deadline: w.Now().Add(time.Minute)}
}

func (w *world) approve(t *testing.T, who broker.SlackID, r broker.Request) broker.Request {
	t.Helper()
	r, err := w.Answer(t.Context(), w.answer(who, r, true))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reveal is Bob revealing a Request.
func (w *world) reveal(r broker.Request, key string) broker.AskAgain {
	return broker.AskAgain{Caller: bob, RequestID: r.ID, Key: key, Deadline: w.Now().Add(time.Minute)}
}

// However often AWS has failed, a Request stays one small item, and what was
// approved can be revealed in the end, and renewed.
func TestIssuedAfterManyFailures(t *testing.T) {
	w, r := pending(t, "guarded")
	r = w.approve(t, lea, r)
	for _, issue := range []func(context.Context, broker.AskAgain) (broker.Issued, error){w.Reveal, w.IssueAgain} {
		r = w.request(t, r.ID)
		for len(r.Sessions) < 100 {
			r.Sessions = append(r.Sessions, broker.Session{ID: "S", Key: "another", State: broker.SessionFailed, BeganAt: w.Now(), Lease: w.Now()})
		}
		if _, err := w.store.PutRequest(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		w.advance(time.Second)
		issued, err := issue(t.Context(), w.reveal(r, w.Now().String()))
		if err != nil || !released(issued) {
			t.Fatal(err)
		}
		if s := issued.Request.Sessions; len(s) != 100 || s[0].State != broker.SessionWaited || s[99].State != broker.SessionIssued {
			t.Errorf("%d sessions, the first %s, the last %s", len(s), s[0].State, s[len(s)-1].State)
		}
	}
}

// Approving mints nothing; revealing what was approved does, once, and opens
// the window; and further Sessions of the window are issued as long as the
// approval counts.
func TestApprove(t *testing.T) {
	w, r := pending(t, "guarded")
	if len(w.assumed()) != 0 {
		t.Fatal("something was minted for a request that waits")
	}
	if _, err := w.Reveal(t.Context(), w.reveal(r, "early")); !errors.As(err, new(*broker.Settled)) {
		t.Errorf("revealed before it was approved: %v", err)
	}
	w.advance(time.Minute)
	r = w.approve(t, lea, r)
	if r.State != broker.StateApproved || !r.LapsesAt.Equal(w.Now().Add(time.Hour)) || len(w.assumed()) != 0 {
		t.Errorf("approved: %+v", r)
	}
	w.advance(time.Minute)
	issued, err := w.Reveal(t.Context(), w.reveal(r, "1"))
	if err != nil {
		t.Fatal(err)
	}
	r = issued.Request
	if !released(issued) || r.State != broker.StateOpen || r.Rule != policy.RuleApproved || !r.WindowEnd.Equal(w.Now().Add(4*time.Hour)) || issued.Again {
		t.Errorf("revealed: %+v", r)
	}
	for _, key := range []string{"1", "2"} {
		if _, err := w.Reveal(t.Context(), w.reveal(r, key)); !errors.As(err, new(*broker.AlreadyIssued)) {
			t.Errorf("revealed again: %v", err)
		}
	}
	w.advance(time.Hour)
	again := broker.AskAgain{Caller: bob, RequestID: r.ID, Key: "renew", Deadline: w.Now().Add(time.Minute)}
	if issued, err = w.IssueAgain(t.Context(), again); err != nil || !issued.Again {
		t.Errorf("renewed: %v", err)
	}
	// An approver who is none any more takes it with them.
	do(t, w.admin(w.tap), "group remove-member leads lea")
	again.Key = "later"
	if _, err := w.IssueAgain(t.Context(), again); rule(err) != policy.RuleApprovalRequired {
		t.Errorf("renewed without an approver: %v", err)
	}

	w.due(t)
	found, err := w.store.Events(t.Context(), broker.EventQuery{RequestID: r.ID})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range found {
		got = append(got, fmt.Sprintf("%s by %s", e.Event, e.Actor))
	}
	want := []string{
		"request.asked by unknown", "request.pending by bob", "approval.given by lea", "request.asked by bob", "session.issued by bob",
		"request.asked by bob", "session.issued by bob", "request.asked by bob", "request.denied by bob",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
}

// Whose answer counts, and why not.
func TestWhoMayAnswer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		who   broker.SlackID
		first func(*testing.T, *world, broker.Request)
		want  policy.Rule // "" for an answer that counts
	}{
		{name: "an approver", who: lea},
		{name: "an approver who may ask for it too", who: mia},
		{name: "the requester", who: bob, want: broker.RuleApproveOwn},
		{name: "the requester, an approver now", who: bob, want: broker.RuleApproveOwn, first: func(t *testing.T, w *world, _ broker.Request) {
			do(t, w.admin(w.tap), "group add-member leads bob")
		}},
		{name: "somebody else", who: alice, want: broker.RuleNotApprover},
		{name: "an administrator", who: person("UROOT"), want: broker.RuleNotApprover},
		{name: "nobody known", who: person("UNOBODY"), want: broker.RuleEmailMissing},
		{name: "of another workspace", who: broker.SlackID{Team: "T0XY", User: "ULEA"}, want: broker.RuleEmailMissing},
		{name: "a former approver", who: lea, want: broker.RuleNotApprover, first: func(t *testing.T, w *world, _ broker.Request) {
			do(t, w.admin(w.tap), "group remove-member leads lea")
		}},
		{name: "a disabled approver", who: lea, want: policy.RuleUserDisabled, first: func(t *testing.T, w *world, _ broker.Request) {
			do(t, w.admin(w.tap), "user disable lea")
		}},
		{name: "an expired approver", who: lea, want: policy.RuleUserExpired, first: func(t *testing.T, w *world, _ broker.Request) {
			do(t, w.admin(w.tap), "user renew lea --until 30m")
			w.advance(30 * time.Minute)
		}},
		{name: "a guest", who: lea, want: broker.RuleGuest, first: nowSays(broker.Guest)},
		{name: "a bot", who: lea, want: broker.RuleBot, first: nowSays(broker.Bot)},
		{name: "a deleted account", who: lea, want: broker.RuleDeleted, first: nowSays(broker.Deleted)},
		{name: "a foreign account", who: lea, want: broker.RuleForeign, first: nowSays(broker.Foreign)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, r := pending(t, "guarded")
			if tt.first != nil {
				tt.first(t, w, r)
			}
			got, err := w.Answer(t.Context(), w.answer(tt.who, r, true))
			if rule(err) != tt.want {
				t.Fatalf("err = %v", err)
			}
			if tt.want == "" {
				if got.State != broker.StateApproved {
					t.Errorf("request %+v", got)
				}
				return
			}
			if after := w.request(t, r.ID); after.State != broker.StatePending || len(after.Approvals) != 0 {
				t.Errorf("changed: %+v", after)
			}
			found, err := w.store.Events(t.Context(), broker.EventQuery{RequestID: r.ID})
			if err != nil || len(found) == 0 || found[len(found)-1].Rule != tt.want || found[len(found)-1].Slack != tt.who.String() {
				t.Errorf("the trail says %+v, %v", found, err)
			}
			// And no is not theirs to say either.
			if _, err := w.Answer(t.Context(), w.answer(tt.who, r, false)); rule(err) != tt.want {
				t.Errorf("declined: %v", err)
			}
		})
	}
}

// nowSays has Slack say something of everybody.
func nowSays(s broker.Standing) func(*testing.T, *world, broker.Request) {
	return func(_ *testing.T, w *world, _ broker.Request) {
		w.directory.profile.Standing = s
	}
}

// An application's owner cannot approve what it asks for.
func TestOwnerMayNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.apply(t, approvals)
	_, token, err := w.admin(w.tap).CreateToken(t.Context(), broker.TokenWish{User: "robot", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Issue(t.Context(), w.bearer("1", token, "guarded"))
	var waiting *broker.Waiting
	if !errors.As(err, &waiting) {
		t.Fatalf("err = %v", err)
	}
	if _, err := w.Answer(t.Context(), w.answer(lea, waiting.Request, true)); rule(err) != broker.RuleApproveOwn {
		t.Errorf("the owner: %v", err)
	}
	if r := w.approve(t, ida, waiting.Request); r.State != broker.StateApproved {
		t.Errorf("request %+v", r)
	}
}

// Two are needed, two different ones; one no is enough.
func TestTwoOfMany(t *testing.T) {
	w, r := pending(t, "doubly")
	r = w.approve(t, lea, r)
	if yes, needed := r.Answered(); r.State != broker.StatePending || yes != 1 || needed != 2 {
		t.Errorf("after one: %+v", r)
	}
	if _, err := w.Answer(t.Context(), w.answer(lea, r, true)); rule(err) != broker.RuleAnsweredTwice {
		t.Errorf("the same again: %v", err)
	}
	less := w.answer(mia, r, true)
	less.Duration = time.Hour
	r, err := w.Answer(t.Context(), less)
	if err != nil || r.State != broker.StateApproved {
		t.Fatalf("after two: %+v, %v", r, err)
	}
	issued, err := w.Reveal(t.Context(), w.reveal(r, "1"))
	if err != nil || issued.Request.WindowEnd.Sub(w.Now()) != time.Hour {
		t.Errorf("for less: %+v, %v", issued.Request, err)
	}
	if _, err := w.IssueAgain(t.Context(), broker.AskAgain{Caller: bob, RequestID: r.ID, Key: "renew", Deadline: w.Now().Add(time.Minute)}); err != nil {
		t.Errorf("renewed: %v", err)
	}

	w, r = pending(t, "doubly")
	r = w.approve(t, lea, r)
	no := w.answer(ida, r, false)
	no.Reason = "not today"
	r, err = w.Answer(t.Context(), no)
	if err != nil || r.State != broker.StateDenied || r.Approvals[1].Reason != "not today" {
		t.Errorf("declined: %+v, %v", r, err)
	}
	if _, err := w.Answer(t.Context(), w.answer(mia, r, true)); !errors.As(err, new(*broker.Settled)) {
		t.Errorf("approved after all: %v", err)
	}
	if _, err := w.Reveal(t.Context(), w.reveal(r, "1")); !errors.As(err, new(*broker.Settled)) || len(w.assumed()) != 0 {
		t.Errorf("revealed after all: %d sets were made, %v", len(w.assumed()), err)
	}
}

// What was approved is decided again when it is used: whatever has changed in
// between makes it void.
func TestApprovalIsVoid(t *testing.T) {
	guarded := "guarded:   {account: prod, iam_role: starback/ReadOnly"
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *world)
		want   policy.Rule
	}{
		{"another IAM role", func(t *testing.T, w *world) {
			w.apply(t, replace(approvals, guarded, "guarded:   {account: prod, iam_role: starback/Plain"))
		}, policy.RuleApprovalRequired},
		{"a session policy", func(t *testing.T, w *world) {
			w.apply(t, replace(approvals, guarded, `guarded:   {session_policy: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "*", Resource: "*"}}, account: prod, iam_role: starback/ReadOnly`))
		}, policy.RuleApprovalRequired},
		{"session tags", func(t *testing.T, w *world) {
			w.apply(t, replace(approvals, guarded, "guarded:   {tags: {team: data}, account: prod, iam_role: starback/ReadOnly"))
		}, policy.RuleApprovalRequired},
		{"a shorter role", func(t *testing.T, w *world) {
			w.apply(t, replace(approvals, "max_duration: 4h, approval: {by: [leads], within", "max_duration: 1h, approval: {by: [leads], within"))
		}, policy.RuleDurationLong},
		{"one more approver is needed", func(t *testing.T, w *world) {
			w.apply(t, replace(approvals, "approval: {by: [leads], within: 2h", "approval: {by: [leads], count: 2, within: 2h"))
		}, policy.RuleApprovalRequired},
		{"the approver is none any more", func(t *testing.T, w *world) {
			do(t, w.admin(w.tap), "group remove-member leads lea")
		}, policy.RuleApprovalRequired},
		{"the approver has left Slack", func(t *testing.T, w *world) {
			if err := w.StandingChanged(t.Context(), lea, broker.Deleted); err != nil {
				t.Fatal(err)
			}
		}, policy.RuleApprovalRequired},
		{"the approver is disabled", func(t *testing.T, w *world) { do(t, w.admin(w.tap), "user disable lea") }, policy.RuleApprovalRequired},
		{"the approver is removed", func(t *testing.T, w *world) { do(t, w.admin(w.tap), "user remove lea") }, policy.RuleApprovalRequired},
		{"the requester is disabled", func(t *testing.T, w *world) { do(t, w.admin(w.tap), "user disable bob") }, policy.RuleUserDisabled},
		{"the grant is gone", func(t *testing.T, w *world) { do(t, w.admin(w.tap), "group remove-member sre bob") }, policy.RuleNotGranted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, r := pending(t, "guarded")
			r = w.approve(t, lea, r)
			tt.change(t, w)
			issued, err := w.Reveal(t.Context(), w.reveal(r, "1"))
			if rule(err) != tt.want || released(issued) || len(w.assumed()) != 0 {
				t.Errorf("released: %v, err = %v", released(issued), err)
			}
			if after := w.request(t, r.ID); after.State != broker.StateVoid {
				t.Errorf("request %+v", after)
			}
			if _, err := w.Reveal(t.Context(), w.reveal(r, "2")); !errors.As(err, new(*broker.Settled)) && rule(err) != policy.RuleUserDisabled {
				t.Errorf("a second time: %v", err)
			}
		})
	}
}

// A request that was changed under its approvers cannot be approved.
func TestChangedWhilePending(t *testing.T) {
	w, r := pending(t, "guarded")
	w.apply(t, replace(approvals, "guarded:   {account: prod, iam_role: starback/ReadOnly", "guarded:   {account: prod, iam_role: starback/Plain"))
	_, err := w.Answer(t.Context(), w.answer(lea, r, true))
	var settled *broker.Settled
	if !errors.As(err, &settled) || settled.Request.State != broker.StateVoid || settled.Request.Rule != broker.RuleChanged {
		t.Errorf("err = %v", err)
	}
}

func TestWithdraw(t *testing.T) {
	for _, approved := range []bool{false, true} {
		w, r := pending(t, "guarded")
		if approved {
			r = w.approve(t, lea, r)
		}
		if _, err := w.Withdraw(t.Context(), lea, r.ID, w.Now().Add(time.Minute)); rule(err) != broker.RuleNotYours {
			t.Errorf("by somebody else: %v", err)
		}
		r, err := w.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute))
		if err != nil || r.State != broker.StateWithdrawn {
			t.Errorf("request %+v, %v", r, err)
		}
		if _, err := w.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute)); !errors.As(err, new(*broker.Settled)) {
			t.Errorf("twice: %v", err)
		}
		if _, err := w.Answer(t.Context(), w.answer(ida, r, true)); !errors.As(err, new(*broker.Settled)) {
			t.Errorf("approved after all: %v", err)
		}
		issued, err := w.Reveal(t.Context(), w.reveal(r, "1"))
		if !errors.As(err, new(*broker.Settled)) || released(issued) || len(w.assumed()) != 0 {
			t.Errorf("revealed after all: %d sets were made, %v", len(w.assumed()), err)
		}
	}
}

// A Request lapses by itself, unanswered or unclaimed, and whoever comes late
// is told.
func TestLapse(t *testing.T) {
	t.Run("unanswered, by itself", func(t *testing.T) {
		w, r := pending(t, "guarded")
		w.advance(2*time.Hour - time.Millisecond)
		w.due(t)
		if got := w.request(t, r.ID); got.State != broker.StatePending {
			t.Errorf("too early: %+v", got)
		}
		w.advance(time.Millisecond)
		w.due(t)
		if got := w.request(t, r.ID); got.State != broker.StateLapsed {
			t.Errorf("request %+v", got)
		}
	})
	t.Run("unanswered, too late", func(t *testing.T) {
		w, r := pending(t, "guarded")
		w.advance(2 * time.Hour)
		_, err := w.Answer(t.Context(), w.answer(lea, r, true))
		var settled *broker.Settled
		if !errors.As(err, &settled) || settled.Request.State != broker.StateLapsed {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("unclaimed, by itself", func(t *testing.T) {
		w, r := pending(t, "guarded")
		w.approve(t, lea, r)
		w.advance(time.Hour)
		w.due(t)
		if got := w.request(t, r.ID); got.State != broker.StateLapsed {
			t.Errorf("request %+v", got)
		}
	})
	t.Run("unclaimed, too late", func(t *testing.T) {
		w, r := pending(t, "guarded")
		r = w.approve(t, lea, r)
		w.advance(time.Hour)
		_, err := w.Reveal(t.Context(), w.reveal(r, "1"))
		var settled *broker.Settled
		if !errors.As(err, &settled) || settled.Request.State != broker.StateLapsed || len(w.assumed()) != 0 {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("claimed in time", func(t *testing.T) {
		w, r := pending(t, "guarded")
		r = w.approve(t, lea, r)
		w.advance(time.Hour - time.Millisecond)
		if _, err := w.Reveal(t.Context(), w.reveal(r, "1")); err != nil {
			t.Fatal(err)
		}
		w.advance(time.Hour)
		w.due(t)
		if got := w.request(t, r.ID); got.State != broker.StateOpen {
			t.Errorf("request %+v", got)
		}
	})
}

// A failure of AWS's leaves what was approved to be revealed again.
func TestRevealFails(t *testing.T) {
	w, r := pending(t, "guarded")
	r = w.approve(t, lea, r)
	denied := sandbox.Fault{Status: 403, Code: "AccessDenied", Message: "not authorized"}
	w.aws.SetFault(func(_, action string) *sandbox.Fault { return &denied })
	if _, err := w.Reveal(t.Context(), w.reveal(r, "1")); faultCode(err) != broker.FaultAccess {
		t.Errorf("err = %v", err)
	}
	w.aws.SetFault(nil)
	if issued, err := w.Reveal(t.Context(), w.reveal(r, "2")); err != nil || !released(issued) {
		t.Errorf("err = %v", err)
	}
}

// The same ask again waits for the same answer.
func TestAskedAgainWhilePending(t *testing.T) {
	w, r := pending(t, "guarded")
	ask := w.ask("1", "guarded")
	ask.Caller, ask.Duration, ask.Words = bob, 4*time.Hour, "disk is full"
	_, err := w.Issue(t.Context(), ask)
	var waiting *broker.Waiting
	if !errors.As(err, &waiting) || waiting.Request.ID != r.ID || !errors.Is(err, broker.ErrWaiting) {
		t.Errorf("err = %v", err)
	}
}

// Who is told what, and when.
func TestApprovalNotices(t *testing.T) {
	w, r := pending(t, "guarded")
	told := func() string {
		w.teller.told = nil
		w.due(t)
		w.due(t) // what the first has let lapse
		var kinds []string
		for _, telling := range w.teller.told {
			if telling.Request != nil {
				kinds = append(kinds, string(telling.Kind))
			}
		}
		return strings.Join(kinds, " ")
	}
	steps := []struct {
		what string
		do   func()
		want string
	}{
		{"asked", func() {}, "audit approval"},
		{"nothing new", func() {}, ""},
		{"an eighth of the time", func() { w.advance(15 * time.Minute) }, "remind"},
		{"a quarter", func() { w.advance(15 * time.Minute) }, "remind"},
		{"half", func() { w.advance(30 * time.Minute) }, "remind"},
		{"approved", func() { r = w.approve(t, lea, r) }, "audit approval outcome"},
		{"unclaimed", func() { w.advance(time.Hour) }, "audit approval outcome over"},
		{"over", func() { w.advance(24 * time.Hour) }, ""},
	}
	for _, s := range steps {
		s.do()
		if got := told(); got != s.want {
			t.Errorf("%s: %q, want %q", s.what, got, s.want)
		}
	}
	if got := w.request(t, r.ID); got.State != broker.StateLapsed || got.Trail.Post != "thread" {
		t.Errorf("request %+v", got)
	}
}

// Whoever began to reveal in time, and died, comes too late as well.
func TestLapsedWhileRevealing(t *testing.T) {
	w, r := pending(t, "guarded")
	r = w.approve(t, lea, r)
	w.advance(time.Hour - 10*time.Second)
	w.tap.watch(func(call string, n int) error {
		if call == "PutRequest" && n > 1 {
			return errDown
		}
		return nil
	}, nil)
	if issued, err := w.Reveal(t.Context(), w.reveal(r, "1")); err == nil || released(issued) {
		t.Fatalf("err = %v", err)
	}
	w.tap.watch(nil, nil)
	w.advance(time.Minute)
	issued, err := w.Reveal(t.Context(), w.reveal(r, "1"))
	var settled *broker.Settled
	if !errors.As(err, &settled) || settled.Request.State != broker.StateLapsed || released(issued) {
		t.Errorf("err = %v", err)
	}
}
