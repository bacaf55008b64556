package bench_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/starback/starback/broker"
)

// The steps of a request, by which the tap knows calls.
const (
	stepEnqueue = "enqueue"
	stepRead    = "read"
	stepAsk     = "ask"
	stepSSM     = "ssm"
	stepSTS     = "sts"
	stepSignIn  = "sign-in"
	stepOutcome = "outcome"
	stepSlack   = "response_url"
)

// A tap sees every call that Starback makes, and holds it up.
type tap struct {
	delays map[string]time.Duration // by step; not changed while in use

	mu    sync.Mutex
	calls []string // steps, in the order in which they began
	slept map[string]time.Duration
	hold  func(step string) // called for each call as it begins; may be nil
}

// setHold sets hold for the calls that follow.
func (t *tap) setHold(hold func(step string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hold = hold
}

// reset forgets what the tap has seen.
func (t *tap) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls, t.slept = nil, map[string]time.Duration{}
}

// pass notes a call and sleeps as long as its step is to take.
func (t *tap) pass(step string) {
	t.mu.Lock()
	t.calls = append(t.calls, step)
	hold := t.hold
	t.mu.Unlock()
	if hold != nil {
		hold(step)
	}
	if t.delays[step] == 0 {
		return
	}
	began := time.Now()
	time.Sleep(t.delays[step])
	t.mu.Lock()
	t.slept[step] += time.Since(began)
	t.mu.Unlock()
}

// seen returns the calls since the last reset, and how long those of each step
// really slept.
func (t *tap) seen() (calls []string, slept map[string]time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls, t.slept
}

// handler passes requests on to next, each as the step that it is.
func (t *tap) handler(step func(*http.Request) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.pass(step(r))
		next.ServeHTTP(w, r)
	})
}

// awsStep says which step a request to AWS is.
func awsStep(r *http.Request) string {
	switch {
	case r.URL.Path == "/federation":
		return stepSignIn
	case r.Header.Get("X-Amz-Target") != "":
		return stepSSM
	default:
		return stepSTS
	}
}

// slackStep says which step a request to Slack is. A method of the Web API is
// a step of its own.
func slackStep(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/commands/") {
		return stepSlack
	}
	return r.URL.Path
}

// A ledger is a store's, seen by the tap.
type ledger struct {
	broker.Ledger
	tap *tap
}

func (l ledger) Identify(ctx context.Context, id broker.SlackID) (broker.Facts, error) {
	l.tap.pass(stepRead)
	return l.Ledger.Identify(ctx, id)
}

func (l ledger) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	step := stepOutcome
	if r.Version == 0 {
		step = stepAsk
	}
	l.tap.pass(step)
	return l.Ledger.PutRequest(ctx, r)
}

func (l ledger) Request(ctx context.Context, id string) (broker.Request, error) {
	l.tap.pass("request")
	return l.Ledger.Request(ctx, id)
}

// A queue is a store's, seen by the tap. It wakes a worker, as cmd/starback's
// does.
type queue struct {
	broker.Queue
	tap  *tap
	wake chan<- struct{}
}

func (q queue) Enqueue(ctx context.Context, j broker.Job) error {
	q.tap.pass(stepEnqueue)
	if err := q.Queue.Enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}
