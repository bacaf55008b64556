package broker_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// Ten thousand deliveries of some thousand asks, in any order, repeated, late,
// by two workers, with some killed before they recorded what they made: each
// ask releases credentials once at most, and each that was released is
// recorded.
func TestTenThousandDeliveries(t *testing.T) {
	t.Parallel()
	deliveries := 10_000
	switch {
	case testing.Short():
		deliveries = 200
	case raceDetector:
		deliveries = 1_000 // scripts/test runs them all, without the race detector
	}
	w := newWorld(t)
	workers := []*broker.Broker{w.Broker, w.on(&tap{SQLite: w.store})}
	random := rand.New(rand.NewPCG(1, 2))
	released := map[string]int{}
	refused := map[policy.Rule]int{}
	seen := map[string]broker.Ask{}
	for i := range deliveries {
		key := fmt.Sprint(i/8 + random.IntN(12))
		ask, again := seen[key]
		if !again {
			ask = w.ask(key, "plain") // its deadline counts from here
			seen[key] = ask
		}
		switch random.IntN(20) {
		case 0: // a worker that dies once AWS has answered
			w.tap.watch(nth("PutRequest", 2), nil)
		case 1:
			w.advance(broker.LeaseFor + time.Second)
		default:
			w.advance(time.Duration(random.IntN(10_000)) * time.Millisecond)
		}
		issued, err := workers[i%2].Issue(t.Context(), ask)
		w.tap.watch(nil, nil)
		var refusal *broker.Refusal
		var already *broker.AlreadyIssued
		switch {
		case err == nil:
			released[key]++
			if s := w.request(t, issued.Request.ID).Sessions; s[len(s)-1].AccessKeyID != issued.Credentials.AccessKeyID {
				t.Fatalf("delivery %d: what was released is not what is recorded", i)
			}
		case errors.As(err, &refusal):
			refused[refusal.Decision.Rule]++
		case errors.As(err, &already), errors.Is(err, broker.ErrConflict), errors.Is(err, broker.ErrUnavailable):
		default:
			t.Fatalf("delivery %d: %v", i, err)
		}
	}
	for key, n := range released {
		if n != 1 {
			t.Errorf("the ask %s released %d sets of credentials", key, n)
		}
	}
	if len(released) < 5 {
		t.Errorf("only %d asks released anything: %v", len(released), refused)
	}
}
