package main

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
)

// TestWarmPath counts the calls that a second command costs on DynamoDB, from
// the command to the message, as they go over the wire. The queue's own calls
// and those that pass on the trail are left out, by the keys they name:
// everything else is listed.
func TestWarmPath(t *testing.T) {
	long(t)
	t.Parallel()
	h := newHouse(t, onDynamoDB(t))
	h.Command("prod-console")
	h.Hears(story.SaysIssued, 1)
	h.Channel(story.Audit, h.waitForTrail("session.issued", 1)[0].SessionID)
	h.Called(h.StoreWire, "settle PutItem", "")

	var mu sync.Mutex
	var calls []string
	note := func(c faultproxy.Call) faultproxy.Fault {
		mu.Lock()
		defer mu.Unlock()
		switch kind, _, _ := strings.Cut(c.Name, " "); kind {
		case "enqueue", "claim", "renew", "done": // the queue
		case "sweep", "settle", "chat.postMessage", "chat.update": // the trail
		default:
			calls = append(calls, c.Name)
		}
		return nil
	}
	for _, wire := range []*faultproxy.Proxy{h.StoreWire, h.AWSWire, h.SlackWire} {
		wire.SetRule(note)
	}
	h.Command("prod-console")
	h.Hears(story.SaysIssued, 2)
	mu.Lock()
	defer mu.Unlock()
	want := []string{"identify BatchGetItem", "ask PutItem", "AssumeRole", "outcome PutItem", "getSigninToken", "response_url"}
	sorted := func(calls []string) []string { return slices.Sorted(slices.Values(calls)) }
	if diff := cmp.Diff(sorted(want), sorted(calls)); diff != "" {
		t.Fatalf("a second command makes other calls (-want +got)\n%s", diff)
	}
	at := func(name string) int { return slices.Index(calls, name) }
	for _, order := range [][2]string{
		{"identify BatchGetItem", "AssumeRole"}, {"ask PutItem", "AssumeRole"}, {"AssumeRole", "outcome PutItem"},
		{"AssumeRole", "getSigninToken"}, {"outcome PutItem", "response_url"}, {"getSigninToken", "response_url"},
	} {
		if at(order[0]) > at(order[1]) {
			t.Errorf("%s comes after %s: %v", order[0], order[1], calls)
		}
	}
}
