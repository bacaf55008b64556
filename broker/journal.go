package broker

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// A Journal is the log sink of the audit trail: one JSON object a line. Lines
// that count something are also CloudWatch Embedded Metric Format, so that the
// log is the only thing metrics need.
type Journal struct {
	mu sync.Mutex
	w  io.Writer
}

// NewJournal returns a Journal that writes to w, one Write a line.
func NewJournal(w io.Writer) *Journal { return &Journal{w: w} }

// Metrics are what one line counts and measures. Zero fields are left out.
type Metrics struct {
	Requests, Denials, Mints, Failures int
	Failed                             string // what failed, beside a Failure; not a metric

	Identify, Ask, AssumeRole, SignIn, Outcome, Deliver, Total time.Duration
}

// fields returns the metrics by name, and their EMF description.
func (m Metrics) fields(now time.Time) map[string]any {
	out := map[string]any{}
	var defs []map[string]string
	count := func(name string, n int) {
		if n > 0 {
			out[name] = n
			defs = append(defs, map[string]string{"Name": name, "Unit": "Count"})
		}
	}
	measure := func(name string, d time.Duration) {
		if d > 0 {
			out[name] = d.Milliseconds()
			defs = append(defs, map[string]string{"Name": name, "Unit": "Milliseconds"})
		}
	}
	count("Requests", m.Requests)
	count("Denials", m.Denials)
	count("Mints", m.Mints)
	count("Failures", m.Failures)
	measure("IdentifyLatency", m.Identify)
	measure("AskLatency", m.Ask)
	measure("AssumeRoleLatency", m.AssumeRole)
	measure("SignInLatency", m.SignIn)
	measure("OutcomeLatency", m.Outcome)
	measure("DeliverLatency", m.Deliver)
	measure("TotalLatency", m.Total)
	if len(defs) == 0 {
		return nil
	}
	out["_aws"] = map[string]any{
		"Timestamp": now.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": metricsNamespace, "Dimensions": [][]string{{}}, "Metrics": defs,
		}},
	}
	if m.Failed != "" {
		out["failed"] = m.Failed
	}
	return out
}

// Audit writes an Event, once it is committed.
func (j *Journal) Audit(e Event, m Metrics) {
	j.write(struct {
		Kind string `json:"kind"`
		Event
	}{auditKind, e}, m.fields(e.Time))
}

// Metrics writes measurements that belong to a Request.
func (j *Journal) Metrics(now time.Time, requestID string, m Metrics) {
	fields := m.fields(now)
	if fields == nil {
		return
	}
	j.write(struct {
		Kind      string `json:"kind"`
		RequestID string `json:"request_id,omitempty"`
	}{metricsKind, requestID}, fields)
}

// write puts one object, with more fields, on one line.
func (j *Journal) write(head any, fields map[string]any) {
	line, err := json.Marshal(head)
	if err != nil {
		panic(err) // plain structs of strings, numbers and times always encode
	}
	if len(fields) > 0 {
		more, err := json.Marshal(fields)
		if err != nil {
			panic(err)
		}
		line = append(append(line[:len(line)-1], ','), more[1:]...)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.w.Write(append(line, '\n'))
}
