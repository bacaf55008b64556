package main

import (
	"strings"
	"testing"

	"github.com/starback/starback/internal/story"
)

// TestNobodyIsAsked holds that serve says at its start where roles need approval
// and there is no channel to ask in.
func TestNobodyIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		channel string
		warned  bool
	}{"no channel": {"", true}, "a channel": {story.Approvals, false}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, onSQLite(t), "STARBACK_APPROVALS_CHANNEL="+c.channel)
			h.stop()
			if got := strings.Contains(h.output(), `STARBACK_APPROVALS_CHANNEL is not set","role":"prod-guarded"`); got != c.warned {
				t.Errorf("warned: %v\n%s", got, h.output())
			}
		})
	}
}
