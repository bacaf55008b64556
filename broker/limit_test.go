package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// The limits of many people take no more than so much memory: beyond it those
// are forgotten who have all their tokens back, and nobody else.
func TestLimitsAreBounded(t *testing.T) {
	allow := broker.NewLimits()
	for range 19 {
		allow("busy", noon.Add(4*time.Minute))
	}
	for i := range broker.LimitUsers - 1 {
		if !allow(policy.UserName(fmt.Sprint("u", i)), noon) {
			t.Fatalf("user %d is refused", i)
		}
	}
	if allow("late", noon.Add(15*time.Second-time.Millisecond)) {
		t.Error("one user more than are remembered is let in")
	}
	if !allow("late", noon.Add(15*time.Second)) {
		t.Error("nobody was forgotten, though all tokens but one user's are back")
	}
	if now := noon.Add(4 * time.Minute); !allow("busy", now) || allow("busy", now) {
		t.Error("a busy user was forgotten")
	}
}
