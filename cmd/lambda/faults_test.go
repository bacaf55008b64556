package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
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
		{"has its key switched off", faultproxy.Refuse(http.StatusBadRequest, "com.amazonaws.sqs#KmsDisabled"), false},
		{"may not use its key", faultproxy.Refuse(http.StatusBadRequest, "com.amazonaws.sqs#KmsAccessDenied"), false},
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
			ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h")
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
	if ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h"); err != nil || len(ack.Body) != 0 {
		t.Errorf("the next command was answered %s, %v", ack.Body, err)
	}
	c.queue.busy.Wait()
	if c.assumed() != before+1 {
		t.Errorf("AWS was asked for %d sessions for the next command\n%s", c.assumed()-before, c.output())
	}
	c.noLeak()
}

// TestTableKeyOff has DynamoDB unable to use the table's key: whatever it is
// asked, it refuses. The person is told, and nothing is minted or put aside.
func TestTableKeyOff(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	off := faultproxy.Answer(http.StatusBadRequest, "application/x-amz-json-1.0", `{"__type":"com.amazon.coral.service#AccessDeniedException",`+
		`"Message":"KMS key access denied error: the key does not exist, is disabled, or you are not allowed to access it."}`)
	c.via.table.SetRule(func(faultproxy.Call) faultproxy.Fault { return off })
	if ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h"); err != nil || len(ack.Body) != 0 {
		t.Fatalf("the command was answered %s, %v", ack.Body, err)
	}
	said := c.answer("U0ALICE", 1)
	c.queue.busy.Wait()
	if !strings.Contains(said.Text, "Starback cannot reach its store") || !strings.Contains(string(said.Blocks), "Request `") {
		t.Errorf("Alice is told\n%s", said.Text)
	}
	if _, dead := c.queue.count(); dead != 0 || c.assumed() != 0 {
		t.Errorf("%d messages were put aside, and AWS was asked for %d sessions", dead, c.assumed())
	}
	c.via.table.SetRule(nil)
	if _, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h"); err != nil {
		t.Fatal(err)
	}
	c.answer("U0ALICE", 2)
	if shown, issued := c.released("U0ALICE"), c.trail("session.issued"); len(shown) != 1 || len(issued) != 1 {
		t.Errorf("%q was shown; the trail says %+v\n%s", shown, issued, c.output())
	}
	c.noLeak()
}

// TestHiding has a Job delivered again while another worker's lease holds its
// Request. SQS is told to hide it until the lease ends; where SQS does not take
// that, the Job comes back once it would anyway. Either way it is done once.
func TestHiding(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests wait for no lease")
	}
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault faultproxy.Fault
	}{
		{"hides it", nil},
		{"refuses", faultproxy.Refuse(http.StatusForbidden, "com.amazonaws.sqs#AccessDenied")},
		{"drops the connection", faultproxy.Drop},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			<-c.broker.ready
			c.queue.redeliver = broker.LeaseFor + 5*time.Second
			h := newHold("AssumeRole", 1, false)
			c.via.setRule(h.rule)
			ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h")
			if err != nil {
				t.Fatal(err)
			}
			h.wait(t, c)
			c.replace(&c.broker, "broker")
			c.via.setRule(nil)
			if tt.fault != nil {
				c.via.queue.SetRule(faultproxy.On(tt.fault, "ChangeMessageVisibility"))
			}

			c.queue.send(c.jobs()[0]) // the same once more, while the lease lasts
			c.queue.busy.Wait()
			hidden := c.queue.hiddenFor()
			if tt.fault == nil && (len(hidden) != 1 || hidden[0] <= 0 || hidden[0] > broker.LeaseFor) || tt.fault != nil && len(hidden) != 0 {
				t.Errorf("the message was hidden for %v", hidden)
			}
			if late := strings.Contains(c.output(), `"msg":"a job comes back later than it need"`); late != (tt.fault != nil) {
				t.Errorf("the log tells of a job that comes late: %v\n%s", late, c.output())
			}
			shown, sessions := c.released("U0ALICE"), c.request(ack).Sessions
			if len(shown) != 1 || len(sessions) != 2 || sessions[0].State != broker.SessionLost || sessions[1].AccessKeyID != shown[0] {
				t.Errorf("%q was shown, and %+v recorded", shown, sessions)
			}
			if _, dead := c.queue.count(); dead != 0 {
				t.Errorf("%d messages were put aside", dead)
			}
		})
	}
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
		ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h")
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
