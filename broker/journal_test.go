package broker_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

var noon = time.Date(2026, time.November, 5, 12, 0, 0, 0, time.UTC)

// What a log reader sees. Unknown fields are absent, never empty.
func TestAuditLine(t *testing.T) {
	tests := []struct {
		name  string
		event broker.Event
		want  string
	}{
		{
			"whole",
			broker.Event{
				ID: "01K", Event: broker.EventIssued, Time: noon, Actor: "alice", Slack: "T0AB/UALICE", Subject: "bob",
				RequestID: "REQ", SessionID: "01S", Role: "readonly", AccountID: "111122223333",
				RoleARN: "arn:aws:iam::111122223333:role/R", Duration: 3600, Ticket: "INC-1", Reason: "a look",
				Decision: "allow", Rule: "grant.held", Path: "alice → readonly", PolicyVersion: 7, AccessKeyID: "ASIAX",
				AssumedRoleID: "AROAX:alice@01S", SourceID: "alice", ExpiresAt: noon.Add(time.Hour), Outcome: "ok", Detail: "A sentence.",
			},
			`{"kind":"starback.audit","id":"01K","event":"session.issued","time":"2026-11-05T12:00:00Z","actor":"alice",` +
				`"slack":"T0AB/UALICE","subject":"bob","request_id":"REQ","session_id":"01S","role":"readonly","account_id":"111122223333",` +
				`"role_arn":"arn:aws:iam::111122223333:role/R","duration_s":3600,"ticket":"INC-1","reason":"a look","decision":"allow",` +
				`"rule":"grant.held","path":"alice → readonly","policy_version":7,"access_key_id":"ASIAX","assumed_role_id":"AROAX:alice@01S",` +
				`"source_identity":"alice","expires_at":"2026-11-05T13:00:00Z","outcome":"ok","detail":"A sentence."}`,
		},
		{
			"bare",
			broker.Event{ID: "01K", Event: broker.EventAsked, Time: noon},
			`{"kind":"starback.audit","id":"01K","event":"request.asked","time":"2026-11-05T12:00:00Z"}`,
		},
		{
			"a reason that tries to forge a line",
			broker.Event{ID: "01K", Event: broker.EventAsked, Time: noon, Reason: "x\"}\n{\"kind\":\"starback.audit\""},
			`{"kind":"starback.audit","id":"01K","event":"request.asked","time":"2026-11-05T12:00:00Z","reason":"x\"}\n{\"kind\":\"starback.audit\""}`,
		},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		broker.NewJournal(&out).Audit(tt.event, broker.Metrics{})
		if diff := cmp.Diff(tt.want+"\n", out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A line that measures is Embedded Metric Format: every metric that it
// declares is a number beside the declaration.
func TestMetricsLine(t *testing.T) {
	var out bytes.Buffer
	j := broker.NewJournal(&out)
	j.Metrics(noon, "REQ", broker.Metrics{})
	if out.Len() != 0 {
		t.Errorf("nothing to count gives a line: %s", out.String())
	}
	j.Metrics(noon, "REQ", broker.Metrics{
		Requests: 1, Denials: 2, Mints: 3, Failures: 4, Failed: "aws",
		Identify: time.Millisecond, Ask: 2 * time.Millisecond, AssumeRole: 3 * time.Millisecond, SignIn: 4 * time.Millisecond,
		Outcome: 5 * time.Millisecond, Deliver: 6 * time.Millisecond, Total: time.Second,
	})
	j.Audit(broker.Event{ID: "01K", Event: broker.EventDenied, Time: noon}, broker.Metrics{Denials: 1})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, metrics := range []int{11, 1} {
		var fields map[string]any
		var emf struct {
			Kind string `json:"kind"`
			AWS  struct {
				Timestamp         int64
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name, Unit string }
				}
			} `json:"_aws"`
		}
		if json.Unmarshal([]byte(lines[i]), &fields) != nil || json.Unmarshal([]byte(lines[i]), &emf) != nil {
			t.Fatalf("not JSON: %s", lines[i])
		}
		if len(emf.AWS.CloudWatchMetrics) != 1 || emf.AWS.Timestamp != noon.UnixMilli() {
			t.Fatalf("line %s", lines[i])
		}
		d := emf.AWS.CloudWatchMetrics[0]
		if d.Namespace != "Starback" || len(d.Dimensions) != 1 || len(d.Dimensions[0]) != 0 || len(d.Metrics) != metrics {
			t.Errorf("declared %+v", d)
		}
		for _, m := range d.Metrics {
			if n, ok := fields[m.Name].(float64); !ok || n <= 0 || m.Unit != "Count" && m.Unit != "Milliseconds" {
				t.Errorf("%s is %v %s", m.Name, fields[m.Name], m.Unit)
			}
		}
	}
	if !strings.HasPrefix(lines[0], `{"kind":"starback.metrics","request_id":"REQ",`) || !strings.Contains(lines[0], `"TotalLatency":1000`) ||
		!strings.Contains(lines[0], `"failed":"aws"`) || !strings.HasPrefix(lines[1], `{"kind":"starback.audit","id":"01K","event":"request.denied"`) {
		t.Errorf("lines\n%s", out.String())
	}
}

// Delivered measures what the requester waited for.
func TestDelivered(t *testing.T) {
	w := newWorld(t)
	got := w.mustIssue(t, w.ask("1", "plain"))
	w.advance(1500 * time.Millisecond)
	w.Delivered(got, 250*time.Millisecond)
	if line := w.journal.String(); !strings.Contains(line, `"DeliverLatency":250`) || !strings.Contains(line, `"TotalLatency":1500`) {
		t.Errorf("journal\n%s", line)
	}
}
