package story

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// TestAge holds that every time of a Request is moved by the same, its timers
// are named after their new time, and nothing else is changed.
func TestAge(t *testing.T) {
	// request is one that was asked at a time, with all times it can have.
	request := func(asked time.Time) broker.Request {
		at := func(d time.Duration) time.Time { return asked.Add(d) }
		event := broker.Event{ID: "E", Time: at(time.Second), ExpiresAt: at(time.Hour)}
		return broker.Request{
			ID: "R", Duration: time.Hour, AskedAt: at(0), OpenedAt: at(time.Minute), WindowEnd: at(time.Hour), LapsesAt: at(2 * time.Hour),
			Sessions: []broker.Session{{
				BeganAt: at(1), Lease: at(2), ExpiresAt: at(3), EndAsked: at(4), EndedAt: at(5), UndeliveredAt: at(6),
			}, {BeganAt: at(7)}},
			Approvals: []broker.Approval{{Duration: time.Minute, At: at(8)}},
			Trail: broker.Trail{Events: []broker.Event{event}, Notices: []broker.Notice{
				{ID: "N", Kind: broker.NoticeAudit, Due: at(9), Event: &event, About: at(10)},
				{ID: "remind.1", Kind: broker.NoticeRemind, Due: at(11)},
				{ID: fmt.Sprint("ending.", at(50*time.Minute).UnixMilli()), Kind: broker.NoticeEnding, Due: at(12)},
				{ID: fmt.Sprint("close.", at(time.Hour).UnixMilli()), Kind: broker.NoticeClose, Due: at(13)},
			}},
		}
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 123_456_789, time.UTC)
	const by = 100 * time.Minute
	got := request(now)
	if err := age(&got, by); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(request(now.Add(-by)), got); diff != "" {
		t.Errorf("aged (-want +got):\n%s", diff)
	}

	if err := age(&got, time.Microsecond); err == nil {
		t.Error("a timer is named after less than a millisecond")
	}
	nameless := broker.Request{Trail: broker.Trail{Notices: []broker.Notice{{ID: "close", Kind: broker.NoticeClose}}}}
	if err := age(&nameless, by); err == nil {
		t.Error("a timer has an old name, which is not understood")
	}
}
