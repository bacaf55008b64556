package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/starback/starback/internal/faultproxy"
)

// TestQueueFaults has SQS fail the front in every way. Slack is answered in
// time and the person told, each time. Where the message was queued all the
// same, it is carried out once, however often the SDK sent it.
func TestQueueFaults(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for _, tt := range []struct {
		name   string
		fault  faultproxy.Fault
		queued bool
	}{
		{"drops the connection", faultproxy.Drop, false},
		{"refuses", faultproxy.Refuse(http.StatusForbidden, "com.amazonaws.sqs#AccessDenied"), false},
		{"throttles", faultproxy.Refuse(http.StatusBadRequest, "com.amazonaws.sqs#RequestThrottled"), false},
		{"is unavailable", faultproxy.Refuse(http.StatusServiceUnavailable, "com.amazonaws.sqs#ServiceUnavailable"), false},
		{"stalls", faultproxy.Stall(faultproxy.NewGate()), false},
		{"answers garbage", faultproxy.Garbage, false},
		{"loses its answer", faultproxy.Lose, true},
		{"answers half", faultproxy.Half, true},
		{"answers late", faultproxy.Late(faultproxy.NewGate()), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sentBefore, _ := c.queue.count()
			mintedBefore, issuedBefore := c.assumed(), len(c.trail("session.issued"))
			c.via.queue.SetRule(faultproxy.On(tt.fault, "SendMessage"))
			ack, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h")
			c.via.queue.SetRule(nil)
			if err != nil || ack.Problem != "" { // Slack's 3 s among them
				t.Errorf("Slack was answered %d %q, %v\n%s", ack.Status, ack.Problem, err, c.output())
			}
			if said := string(ack.Body); !strings.Contains(said, "Starback could not take your command") || !strings.Contains(said, "Request `") {
				t.Errorf("Alice is told %s", said)
			}
			c.queue.busy.Wait()
			sent, dead := c.queue.count()
			want := 0
			if tt.queued {
				want = 1
			}
			if queued := sent > sentBefore; queued != tt.queued || dead != 0 {
				t.Errorf("%d messages were queued, and %d put aside", sent-sentBefore, dead)
			}
			minted, issued := c.assumed()-mintedBefore, c.trail("session.issued")
			if minted != want || len(issued)-issuedBefore != want {
				t.Errorf("AWS was asked for %d sessions, and %d sessions recorded", minted, len(issued)-issuedBefore)
			}
			if n := len(c.released("U0ALICE")); n != len(issued) {
				t.Errorf("credentials were shown %d times, and recorded %d times", n, len(issued))
			}
		})
	}
	// The queue is back, and so is the front.
	before := c.assumed()
	if ack, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h"); err != nil || len(ack.Body) != 0 {
		t.Errorf("the next command was answered %s, %v", ack.Body, err)
	}
	c.queue.busy.Wait()
	if c.assumed() != before+1 {
		t.Errorf("AWS was asked for %d sessions for the next command\n%s", c.assumed()-before, c.output())
	}
	c.noLeak()
}

// TestSilentNeighbour has one call to each of AWS's services hang, and the
// answers to writes get lost. The call is made again while the person waits,
// and nothing that came after the silence suffers from it.
func TestSilentNeighbour(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests wait for no time-out")
	}
	t.Parallel()
	for _, tt := range []struct {
		name, call string
		nth        int
		done       bool
	}{
		{"SSM", "GetParameter", 1, false},
		{"STS", "AssumeRole", 1, false},
		{"BatchGetItem", "BatchGetItem", 1, false},
		{"the ask, written", "PutItem request", 1, true},
		{"the outcome, written", "PutItem request", 2, true},
	} {
		c := newCloud(t)
		<-c.broker.ready
		h := newHold(tt.call, tt.nth, tt.done)
		c.via.setRule(h.rule)
		ack, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h")
		if err != nil {
			t.Fatal(err)
		}
		h.wait(t, c)

		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // once all hang
			c.t = t
			c.answer("U0ALICE", 1)
			c.queue.busy.Wait()
			sessions := c.request(ack).Sessions
			if shown := c.released("U0ALICE"); len(shown) != 1 || len(sessions) != 1 || sessions[0].AccessKeyID != shown[0] {
				t.Errorf("%q was shown, and %+v recorded\n%s", shown, sessions, c.output())
			}
		})
	}
}
