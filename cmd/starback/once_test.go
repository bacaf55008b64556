package main

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// TestOnceOnly delivers one command 200 times at once, to two processes that
// share a store: one set of credentials is made and shown.
func TestOnceOnly(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		second := start(t, h.env)
		h.Printed = func() string { return h.output() + second.output() }

		// The first delivery is refused by nobody but never carried out: its bytes
		// are what is delivered then.
		h.Slack.SetApp("http://127.0.0.1:1")
		ack, _ := h.Slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h INC-1 looking")
		deliver := func(address string) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/slack/commands", strings.NewReader(string(ack.Request.Body)))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = ack.Request.Header.Clone()
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("answered %d", res.StatusCode)
			}
		}
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() { deliver([]string{h.addr, second.addr}[i%2]) })
		}
		wg.Wait()
		// A machine may be too busy to queue any of so many in time. Then it is
		// delivered again, like everything else that is.
		for deadline := time.Now().Add(time.Minute); len(h.Shown("U0ALICE")) == 0 && time.Now().Before(deadline); time.Sleep(time.Second) {
			deliver(h.addr)
		}
		h.waitForAnswers("U0ALICE")
		h.stop()
		second.stop()
		if n := h.Assumed(); n != 1 {
			t.Errorf("AssumeRole was called %d times", n)
		}
		if shown := h.Shown("U0ALICE"); len(shown) != 1 {
			t.Errorf("the keys %q were shown", shown)
		}
		h.TrueTrail()
		if n := len(h.Trail("session.issued")); n != 1 {
			t.Errorf("the trail has %d sessions", n)
		}
	})
}

// waitForAnswers waits until somebody has had an answer and no more come.
func (h *house) waitForAnswers(userID string) {
	h.t.Helper()
	h.Answer(userID, 1)
	for quiet, last := 0, -1; quiet < 20; time.Sleep(50 * time.Millisecond) {
		if n := len(h.Slack.Seen(userID)); n == last {
			quiet++
		} else {
			quiet, last = 0, n
		}
	}
}

// TestKilledInTheMiddle kills the process while each neighbour in turn holds
// its call. After the next start, the person has been answered, nothing was
// shown without a record, and the trail tells what happened.
func TestKilledInTheMiddle(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests wait for no lease")
	}
	t.Parallel()
	for _, tt := range []struct {
		neighbour string
		hold      func(h *house, held chan<- struct{}, release <-chan struct{})
		says      string // what the person is told after the next start
	}{
		{"STS", holdAWS("AssumeRole"), "AWS_SECRET_ACCESS_KEY"},
		{"SSM", holdAWS("GetParameter"), "AWS_SECRET_ACCESS_KEY"},
		{"who Starback is", holdAWS("GetCallerIdentity"), "AWS_SECRET_ACCESS_KEY"},
		{"sign-in", holdAWS("getSigninToken"), "carried out already"},
		{"Slack's directory", holdSlack("users.info"), "AWS_SECRET_ACCESS_KEY"},
		{"the response URL", holdSlack("response_url"), "Request"}, // what was held may still be shown
	} {
		t.Run(tt.neighbour, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, onSQLite(t))
			held, release := make(chan struct{}, 16), make(chan struct{})
			tt.hold(h, held, release)
			if _, err := h.Slack.Command(t.Context(), "U0ALICE", story.General, "prod-console 1h"); err != nil {
				t.Fatal(err)
			}
			select {
			case <-held:
			case <-time.After(20 * time.Second):
				t.Fatalf("%s was not called\n%s", tt.neighbour, h.output())
			}
			if strings.HasPrefix(tt.neighbour, "sign") {
				h.waitForTrail("session.issued", 1) // beside it, the outcome is recorded
			}
			h.kill()
			before := h.Assumed()
			h.Heal()
			close(release)

			h.restart()
			m := h.Answer("U0ALICE", 1)
			if said := m.Text + string(m.Blocks); !strings.Contains(said, tt.says) {
				t.Errorf("after the kill Alice is told\n%s", m.Text)
			}
			if shown := h.Shown("U0ALICE"); len(shown) > 1 {
				t.Errorf("the keys %q were shown", shown)
			}
			if before > 0 && len(story.Trail(h.before, "session.issued")) == 0 && len(h.trail("request.taken_over")) == 0 {
				t.Errorf("the trail does not say that the attempt was taken over\n%s", h.output())
			}
			h.stop()
			h.TrueTrail()
		})
	}
}

// holdAWS holds a call of AWS's.
func holdAWS(action string) func(*house, chan<- struct{}, <-chan struct{}) {
	return func(h *house, held chan<- struct{}, release <-chan struct{}) {
		h.AWS.SetFault(func(_, called string) *sandbox.Fault {
			if called == action {
				held <- struct{}{}
				<-release
			}
			return nil
		})
	}
}

// holdSlack holds a call of Slack's.
func holdSlack(method string) func(*house, chan<- struct{}, <-chan struct{}) {
	return func(h *house, held chan<- struct{}, release <-chan struct{}) {
		h.Slack.SetFault(func(called string) *sandbox.SlackFault {
			if called == method {
				held <- struct{}{}
				<-release
			}
			return nil
		})
	}
}
