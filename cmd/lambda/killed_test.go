package main

import (
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/sandbox"
)

// TestKilledInTheMiddle ends the broker at once while each neighbour in turn
// holds its call, as Lambda does at a time-out. The message is delivered again,
// to a new function: the person is answered, nothing is shown without a record,
// and the trail tells.
func TestKilledInTheMiddle(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests wait for no lease")
	}
	t.Parallel()
	for _, tt := range []struct{ neighbour, action, method, says string }{
		{"STS", "AssumeRole", "", "AWS_SECRET_ACCESS_KEY"},
		{"SSM", "GetParameter", "", "AWS_SECRET_ACCESS_KEY"},
		{"sign-in", "getSigninToken", "", "carried out already"},
		{"Slack's directory", "", "users.info", "AWS_SECRET_ACCESS_KEY"},
	} {
		t.Run(tt.neighbour, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			<-c.front.ready
			<-c.broker.ready
			bootstrap, err := build()
			if err != nil {
				t.Fatal(err)
			}
			held, release := make(chan struct{}, 16), make(chan struct{})
			c.aws.SetFault(func(_, action string) *sandbox.Fault {
				if action == tt.action {
					held <- struct{}{}
					<-release
				}
				return nil
			})
			c.slack.SetFault(func(method string) *sandbox.SlackFault {
				if method == tt.method {
					held <- struct{}{}
					<-release
				}
				return nil
			})
			c.queue.redeliver = 9 * time.Second // five deliveries outlast the lease
			first := c.broker
			if _, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h"); err != nil {
				t.Fatal(err)
			}
			select {
			case <-held:
			case <-time.After(20 * time.Second):
				t.Fatalf("%s was not called\n%s", tt.neighbour, c.output())
			}
			if tt.neighbour == "sign-in" { // beside it, the outcome is recorded
				for deadline := time.Now().Add(10 * time.Second); !strings.Contains(first.output(), `"event":"session.issued"`); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("the outcome is not recorded")
					}
				}
			}
			second := startFunction(t, bootstrap, 75*time.Second, append(c.env, "STARBACK_FUNCTION=broker")...)
			c.replace(second)
			first.kill()
			c.aws.SetFault(nil)
			c.slack.SetFault(nil)
			close(release)

			m := c.answerWithin(1, 90*time.Second)
			if said := m.Text + string(m.Blocks); !strings.Contains(said, tt.says) {
				t.Errorf("after the kill Alice is told\n%s", m.Text)
			}
			c.queue.busy.Wait()
			both := first.output() + second.output()
			if n := strings.Count(both, `"event":"session.issued"`); n != 1 {
				t.Errorf("%d sessions are recorded", n)
			}
			if len(c.queue.dead) != 0 {
				t.Errorf("%d messages were put aside", len(c.queue.dead))
			}
			if strings.Contains(both, sandbox.Marker) {
				t.Error("a secret was printed")
			}
		})
	}
}
