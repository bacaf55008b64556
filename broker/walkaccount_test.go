package broker_test

import (
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// An account is what a walker knows by itself: of the policy, of people and of
// Requests.
type account struct {
	needed   int           // how many must usually agree
	role     string        // what the role that is asked for points to
	count    int           // how many must agree now
	by       string        // the group that may
	granted  bool          // to Bob, and to the application
	longest  time.Duration // that it can be had for
	disabled map[string]bool
	out      map[string]bool // who is no lead any more
	requests []*walked
}

// pointings are what the role points to.
var pointings = []string{"starback/ReadOnly", "starback/Second"}

// groups are who is in the groups that may approve; in that of the leads, as
// long as they are not out.
var groups = map[string][]string{"leads": {"lea", "mia", "ida"}, "seconds": {"ida", "root"}}

// newAccount is that of a walk on which so many must usually agree.
func newAccount(needed int) account {
	a := account{needed: needed, disabled: map[string]bool{}, out: map[string]bool{}}
	a.usual()
	return a
}

// usual is the policy with which a walk begins.
func (a *account) usual() {
	a.role, a.count, a.by, a.granted, a.longest = pointings[0], a.needed, "leads", true, 4*time.Hour
}

// addPointing has AWS know the second IAM role.
func (w *walker) addPointing() {
	w.aws.AddRole(sandbox.Role{
		ARN:                "arn:aws:iam::111122223333:role/" + pointings[1],
		Trust:              sandbox.Trust{Principals: []string{"arn:aws:iam::111122223333:user/starback"}, TagSession: true, SetSourceIdentity: true},
		MaxSessionDuration: 8 * time.Hour,
	})
}

// file is the policy as a file, with the users or without.
func (a *account) file(users bool) string {
	file := replace(approvals, "guarded:   {account: prod, iam_role: starback/ReadOnly, max_duration: 4h, approval: {by: [leads], within: 2h, claim_within: 1h}}",
		fmt.Sprintf("guarded:   {account: prod, iam_role: %s, max_duration: %s, default_duration: 1h, approval: {by: [%s], count: %d, within: 2h, claim_within: 1h}}",
			a.role, strings.TrimSuffix(strings.TrimSuffix(a.longest.String(), "0s"), "0m"), a.by, a.count))
	file = replace(file, "  leads: {}\n", "  leads: {}\n  seconds: {}\n")
	if !a.granted {
		file = replace(file, "sre: {grants: [guarded, doubly]}", "sre: {grants: [doubly]}")
	}
	if !users {
		return file[:strings.Index(file, "users:")]
	}
	file = replace(file, "{slack: T0AB/UIDA, groups: [leads]}", "{slack: T0AB/UIDA, groups: [leads, seconds]}")
	return replace(file, "{slack: T0AB/UROOT, groups: [admins]}", "{slack: T0AB/UROOT, groups: [admins, seconds]}")
}

// amend changes one thing in the policy, or makes it what it was at first, and
// says so.
func (a *account) amend(random *mathrand.Rand) string {
	switch random.IntN(8) {
	case 0:
		a.role = pointings[random.IntN(2)]
	case 1:
		a.count = 3 - a.count
	case 2:
		a.by = map[string]string{"leads": "seconds", "seconds": "leads"}[a.by]
	case 3:
		a.granted = !a.granted
	case 4:
		a.longest = 5*time.Hour - a.longest // 1 h or 4 h
	default:
		a.usual()
	}
	return fmt.Sprintf("the role is %s for %s, granted: %v; %d of %s must agree", a.role, a.longest, a.granted, a.count, a.by)
}

// turn switches somebody, and returns the command that does.
func (a *account) turn(random *mathrand.Rand) string {
	name := []string{"lea", "mia", "ida", "bob"}[random.IntN(4)]
	switch {
	case name != "bob" && random.IntN(2) == 0 && a.out[name]:
		a.out[name] = false
		return "group add-member leads " + name
	case name != "bob" && random.IntN(2) == 0:
		a.out[name] = true
		return "group remove-member leads " + name
	case a.disabled[name]:
		a.disabled[name] = false
		return "user enable " + name
	}
	a.disabled[name] = true
	return "user disable " + name
}

// leads says whether somebody is in the group that may approve.
func (a *account) leads(name string) bool {
	for _, member := range groups[a.by] {
		if member == name {
			return a.by != "leads" || !a.out[name]
		}
	}
	return false
}

// agreed says whether enough approvals count now.
func (a *account) agreed(q *walked) bool {
	n := 0
	for name := range q.yes {
		if a.leads(name) && !a.disabled[name] {
			n++
		}
	}
	return n >= a.count
}

// refuses is the rule by which what is asked for would be refused now; "" if it
// would not be.
func (a *account) refuses(q *walked) policy.Rule {
	switch {
	case q.who == "bob" && a.disabled["bob"]:
		return policy.RuleUserDisabled
	case q.who == "robot" && a.disabled["lea"]:
		return policy.RuleOwnerDisabled
	case !a.granted:
		return policy.RuleNotGranted
	case q.duration > a.longest:
		return policy.RuleDurationLong
	}
	return ""
}

// changed says whether the role is not what was asked for any more.
func (a *account) changed(q *walked) bool { return q.asked != a.role }

// good says whether credentials may come of a Request now.
func (a *account) good(q *walked) bool { return a.refuses(q) == "" && !a.changed(q) && a.agreed(q) }

// A walked is what is known of one Request.
type walked struct {
	id, who  string
	asked    string                   // the role as it was when it was asked for
	duration time.Duration            // as asked; of the window, once there is one
	yes      map[string]time.Duration // who approved, and for how much less
	state    broker.State
	lapses   time.Time
	window   time.Time            // its end
	keys     map[string]string    // the access key of each set that was released, by its Session
	last     broker.Issued        // the last set, and
	unseen   bool                 // whether it, and all before it, may not have been shown
	claim    time.Time            // until when it can be revealed anew then
	until    map[string]time.Time // when a Session expires, unless a sweep is to end it
	ended    map[string]bool      // Sessions that somebody has ended
}

// person is who answers for the Request.
func (q *walked) person() string {
	if q.who == "robot" {
		return "lea"
	}
	return q.who
}

// waits says whether the Request waits for approvers, or to be revealed.
func (q *walked) waits() bool {
	return q.state == broker.StatePending || q.state == broker.StateApproved
}

// tick lets a Request lapse whose time is up.
func (q *walked) tick(now time.Time) {
	if q.waits() && !now.Before(q.lapses) {
		q.state = broker.StateLapsed
	}
}

// claimable says whether nothing was shown, and can still be revealed.
func (q *walked) claimable(now time.Time) bool { return q.unseen && now.Before(q.claim) }

// over takes in that all of the Request is ended.
func (q *walked) over(now time.Time) {
	if q.waits() {
		q.state = broker.StateVoid
		return
	}
	q.state = broker.StateClosed
	for id, until := range q.until {
		if now.Before(until) {
			q.ended[id] = true
		}
	}
}

// audits passes on what is due, and compares the trail with the account: each
// set that was released has its outcome on the trail, and before that its ask,
// both of its own Request; and nothing else was issued.
func (w *walker) audits() {
	w.t.Helper()
	w.advance(5 * time.Minute) // whoever held an item has let it go
	w.sweeps()
	swept(w.t, w.b)                // what a sweep closes has Events for the next
	want := map[[2]string]string{} // access keys, by Request and Session
	for _, q := range w.requests {
		w.want(len(w.reads(q).Trail.Events) == 0, "request %s still holds Events", q.id)
		for session, key := range q.keys {
			want[[2]string{q.id, session}] = key
		}
	}
	got, asked := map[[2]string]string{}, map[[2]string]bool{}
	const page = 100
	for query := (broker.EventQuery{Limit: page}); ; {
		events, err := w.store.Events(w.t.Context(), query)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range events {
			of := [2]string{e.RequestID, e.SessionID}
			switch e.Event {
			case broker.EventAsked:
				asked[of] = true
			case broker.EventIssued:
				w.want(asked[of] && got[of] == "", "%v is issued on the trail, asked before: %v, issued before: %q", of, asked[of], got[of])
				got[of] = e.AccessKeyID
			}
			query.After = e.ID
		}
		if len(events) < page {
			break
		}
	}
	diff := cmp.Diff(want, got)
	w.want(diff == "", "what was released, and the trail (-want +got):\n%s", diff)
}
