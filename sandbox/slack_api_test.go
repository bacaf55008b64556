package sandbox_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/starback/starback/sandbox"
)

func TestRatePerChannel(t *testing.T) {
	w := newSlackWorld(t, func(c *sandbox.SlackConfig) { c.RatePerChannel = true })
	form := url.Values{"channel": {"C1"}, "text": {"x"}}
	for i, tt := range []struct {
		after   time.Duration
		channel string
		want    int
	}{{0, "C1", 200}, {999 * time.Millisecond, "C1", 429}, {0, "U1", 200}, {time.Millisecond, "C1", 200}} {
		w.clock.Add(tt.after)
		form.Set("channel", tt.channel)
		if status, got := w.call(t, "chat.postMessage", w.BotToken(), form); status != tt.want {
			t.Errorf("post %d: status %d %v, want %d", i, status, got, tt.want)
		}
	}
}

func TestFaults(t *testing.T) {
	w := newSlackWorld(t)
	tests := []struct {
		name   string
		fault  sandbox.SlackFault
		check  func(error) bool
		posted bool
	}{
		{"error", sandbox.SlackFault{Error: "fatal_error"}, func(err error) bool { return err.Error() == "fatal_error" }, false},
		{"status", sandbox.SlackFault{Status: 503}, func(err error) bool { return strings.Contains(err.Error(), "503") }, false},
		{"garbage", sandbox.SlackFault{Garbage: true}, func(err error) bool { return strings.Contains(err.Error(), "invalid character") }, false},
		{"drop", sandbox.SlackFault{Drop: true}, func(err error) bool { return strings.Contains(err.Error(), "EOF") }, false},
		{"rate", sandbox.SlackFault{RetryAfter: 1500 * time.Millisecond},
			func(err error) bool { return strings.Contains(err.Error(), "retry after 2s") }, false},
		{"lost answer", sandbox.SlackFault{Drop: true, After: true},
			func(err error) bool { return strings.Contains(err.Error(), "EOF") }, true},
		{"late", sandbox.SlackFault{Delay: time.Millisecond}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(w.Channel("C1"))
			w.SetFault(func(method string) *sandbox.SlackFault {
				if method != "chat.postMessage" {
					return nil
				}
				return &tt.fault
			})
			defer w.SetFault(nil)
			_, _, err := w.api.PostMessage("C1", slack.MsgOptionText("x", false))
			if (err == nil) != (tt.check == nil) || err != nil && !tt.check(err) {
				t.Errorf("error %v", err)
			}
			if _, err := w.api.AuthTest(); err != nil {
				t.Errorf("another method: %v", err)
			}
			if posted := len(w.Channel("C1")) > before; posted != tt.posted {
				t.Errorf("posted %v, want %v", posted, tt.posted)
			}
		})
	}
	want := map[string]int{"chat.postMessage": len(tests), "auth.test": len(tests)}
	if diff := cmp.Diff(want, w.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
