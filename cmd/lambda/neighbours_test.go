package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/internal/faultproxy"
)

// neighbours are what the functions call, each behind a proxy of its own.
type neighbours struct{ slack, aws, table, queue, lambda *faultproxy.Proxy }

// setRule has all of them follow a rule; nil lets every call pass.
func (n *neighbours) setRule(rule faultproxy.Rule) {
	for _, p := range []*faultproxy.Proxy{n.slack, n.aws, n.table, n.queue} {
		p.SetRule(rule)
	}
}

// callName names a call as AWS or Slack's Web API does, a write to the table
// also by what is written, and a post to a response URL as response_url.
func callName(r *http.Request, body []byte) string {
	name := faultproxy.Action(r, body)
	if name == "PutItem" {
		var in struct {
			Item struct{ PK struct{ S string } }
		}
		if json.Unmarshal(body, &in) == nil {
			kind, _, _ := strings.Cut(in.Item.PK.S, "#")
			name += " " + kind
		}
	}
	if strings.HasPrefix(name, "/commands/") || strings.HasPrefix(name, "/actions/") {
		return "response_url"
	}
	return strings.TrimPrefix(name, "/api/")
}

// A hold keeps one call until its caller is no more.
type hold struct {
	call string // its name
	nth  int    // of that name, from 1
	done bool   // the neighbour has done its work; only the answer is held

	gate *faultproxy.Gate
	mu   sync.Mutex
	seen int
}

// newHold returns the hold of the nth call of a name.
func newHold(call string, nth int, done bool) *hold {
	return &hold{call: call, nth: nth, done: done, gate: faultproxy.NewGate()}
}

// rule is the faultproxy.Rule that holds the call.
func (h *hold) rule(c faultproxy.Call) faultproxy.Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Name != h.call {
		return nil
	}
	h.seen++
	switch {
	case h.seen != h.nth:
		return nil
	case h.done:
		return faultproxy.Late(h.gate)
	default:
		return faultproxy.Stall(h.gate)
	}
}

// wait waits until the call is held.
func (h *hold) wait(t *testing.T, c *cloud) {
	t.Helper()
	select {
	case <-h.gate.Reached():
	case <-time.After(20 * time.Second):
		t.Fatalf("%s was not called\n%s", h.call, c.output())
	}
}
