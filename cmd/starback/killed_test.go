package main

import (
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
)

// TestKilledWhileDynamoDBHolds kills the process while DynamoDB holds each of
// its calls in turn, before the call is carried out or after. After the next
// start Alice has been answered, whatever was issued twice was shown once, the
// audit channel tells, and the trail is true.
func TestKilledWhileDynamoDBHolds(t *testing.T) {
	long(t)
	t.Parallel()
	for _, tt := range []struct {
		call  string
		after bool   // DynamoDB has done its work
		says  string // to Alice in the end; empty: only Slack knows that she asked
		mints int    // AssumeRole calls in all
		taken bool   // the next process takes the attempt over, and says so
	}{
		{"enqueue Query", false, "", 0, false},
		{"enqueue PutItem", false, "", 0, false},
		{"enqueue PutItem", true, story.SaysIssued, 1, false},
		{"claim Query", false, story.SaysIssued, 1, false},
		{"claim UpdateItem", false, story.SaysIssued, 1, false},
		{"claim UpdateItem", true, story.SaysIssued, 1, false},
		{"identify BatchGetItem", false, story.SaysIssued, 1, true},
		{"ask PutItem", false, story.SaysIssued, 1, false},
		{"ask PutItem", true, story.SaysIssued, 1, true},
		{"outcome PutItem", false, story.SaysIssued, 2, true},
		{"outcome PutItem", true, saysDoneAlone, 1, false},
		{"done DeleteItem", false, saysDoneAlone, 1, false},
		{"done DeleteItem", true, story.SaysIssued, 1, false},
		{"sweep Query", false, story.SaysIssued, 1, false},
		{"sweep BatchGetItem", false, story.SaysIssued, 1, false},
		{"sweep PutItem", true, story.SaysIssued, 1, false},
		{"sweep UpdateItem", true, story.SaysIssued, 1, false},
		{"settle PutItem", false, story.SaysIssued, 1, false},
	} {
		name, hold := tt.call+", before", faultproxy.Stall
		if tt.after {
			name, hold = tt.call+", after", faultproxy.Late
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, onDynamoDB(t))
			h.StoreWire.SetRule(faultproxy.On(hold(h.Gate), tt.call))
			typed := make(chan struct{})
			go func() {
				defer close(typed)
				// Whether Slack has an answer depends on when the process dies.
				_, _ = h.Slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h INC-1 looking")
			}()
			select {
			case <-h.Gate.Reached():
			case <-time.After(20 * time.Second):
				t.Fatalf("DynamoDB is not called\n%s", h.output())
			}
			switch kind, _, _ := strings.Cut(tt.call, " "); kind {
			case "enqueue":
			case "identify": // beside it, the ask is recorded
				h.waitForTrail("request.asked", 1)
			case "sweep", "settle", "done": // of what was shown
				h.Hears(story.SaysIssued, 1)
			default:
				<-typed
			}
			h.kill()
			<-typed
			h.Heal()

			h.restart()
			told := ""
			if tt.says != "" {
				h.Hears(tt.says, 1)
				told = "INC-1"
			}
			if n := h.Assumed(); n != tt.mints {
				t.Errorf("AssumeRole was called %d times, want %d", n, tt.mints)
			}
			if taken := len(h.trail("request.taken_over")) > 0; taken != tt.taken {
				t.Errorf("the trail tells of a take-over: %v, want %v\n%s", taken, tt.taken, h.output())
			}
			h.afterwards(told)
		})
	}
}
