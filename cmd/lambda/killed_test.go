package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// TestKilledInTheMiddle ends a function at once while each neighbour in turn
// holds its call, as Lambda does at a time-out: before the neighbour did its
// work, or after, when only the answer is missing. The message is delivered
// again, to a new function: the person is answered, nothing is shown without a
// record, and the trail tells.
//
// All are killed first and looked at then, so that they wait for their leases
// (30 s) side by side.
func TestKilledInTheMiddle(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests wait for no lease")
	}
	t.Parallel()
	const (
		keys    = "AWS_SECRET_ACCESS_KEY"
		already = "carried out already"
	)
	once := []broker.SessionState{broker.SessionIssued}
	takenOver := []broker.SessionState{broker.SessionLost, broker.SessionIssued}
	for _, tt := range []struct {
		name   string
		call   string
		nth    int
		done   bool
		beside string // in the trail before the kill: what is written side by side with the call
		says   string // to Alice, at last; empty: Slack said that it failed
		states []broker.SessionState
	}{
		{"BatchGetItem", "BatchGetItem", 1, false, "request.asked", keys, takenOver},
		{"Slack's directory", "users.info", 1, false, "request.asked", keys, takenOver},
		{"the ask", "PutItem request", 1, false, "", keys, once},
		{"the ask, written", "PutItem request", 1, true, "", keys, takenOver},
		{"SSM", "GetParameter", 1, false, "request.asked", keys, takenOver},
		{"STS", "AssumeRole", 1, false, "", keys, takenOver},
		{"STS, minted", "AssumeRole", 1, true, "", keys, takenOver},
		{"the outcome", "PutItem request", 2, false, "", keys, takenOver},
		{"the outcome, written", "PutItem request", 2, true, "", already, once},
		{"sign-in", "getSigninToken", 1, false, "session.issued", already, once},
		{"response_url", "response_url", 1, false, "", already, once},
		{"response_url, shown", "response_url", 1, true, "", already, once},
		{"the audit channel", "chat.postMessage", 1, false, "", already, once},
		{"SQS", "SendMessage", 1, false, "", "", nil},
		{"SQS, queued", "SendMessage", 1, true, "", keys, once},
	} {
		c := newCloud(t)
		<-c.front.ready
		<-c.broker.ready
		h := newHold(tt.call, tt.nth, tt.done)
		c.via.setRule(h.rule)
		acks := make(chan sandbox.Ack, 1)
		go func() {
			ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h looking into it")
			if err != nil {
				t.Error(err)
			}
			acks <- ack
		}()
		h.wait(t, c)
		if tt.beside != "" {
			c.waitForTrail(tt.beside)
		}
		if tt.call == "SendMessage" {
			c.replace(&c.front, "front")
		} else {
			c.replace(&c.broker, "broker")
		}
		c.via.setRule(nil)
		ack := <-acks

		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // once all are killed
			c.t = t
			if tt.says == "" {
				c.queue.busy.Wait()
				if sent, _ := c.queue.count(); sent != 0 || ack.Problem == "" || c.assumed() != 0 {
					t.Errorf("%d jobs were queued, Slack said %q, and AWS was asked for %d sessions", sent, ack.Problem, c.assumed())
				}
				return
			}
			c.waitFor("U0ALICE", time.Minute, func(seen []sandbox.Message) bool {
				return slices.ContainsFunc(seen, func(m sandbox.Message) bool { return strings.Contains(m.Text+string(m.Blocks), tt.says) })
			})
			c.queue.busy.Wait()
			if _, dead := c.queue.count(); dead != 0 {
				t.Errorf("%d messages were put aside", dead)
			}

			// The table tells of every attempt, and of what was shown.
			var states []broker.SessionState
			var recorded []string
			for _, s := range c.request(ack).Sessions {
				states = append(states, s.State)
				if s.State == broker.SessionIssued {
					recorded = append(recorded, s.AccessKeyID)
				}
			}
			if !slices.Equal(states, tt.states) {
				t.Errorf("the sessions are %v, want %v\n%s", states, tt.states, c.output())
			}
			shown := c.released("U0ALICE")
			if len(shown) > 1 || len(shown) == 1 && !slices.Equal(shown, recorded) {
				t.Errorf("%q was shown, and %q recorded", shown, recorded)
			}
			if tt.says == keys && len(shown) != 1 {
				t.Error("no credentials were shown")
			}
			c.house().TrueTrail()
		})
	}
}
