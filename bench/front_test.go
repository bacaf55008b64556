package bench_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// signingSecret is the one that commands are signed with here.
const signingSecret = "8f742231b10e8888abcd99yyyzzz85a5"

// atOnce is how many commands come at the same moment.
const atOnce = 50

// newFront returns a Front that puts Jobs on q.
func newFront(t testing.TB, q broker.Queue) *bot.Front {
	t.Helper()
	secret := broker.NewSecret(signingSecret)
	sealer, err := bot.NewSealer(secret, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &bot.Front{
		SigningSecret: secret, Teams: []string{team}, Queue: q, Sealer: sealer,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
}

// verifier is the least that any app does: it reads a request, verifies its
// signature and answers.
func verifier(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte(signingSecret))
	_, _ = io.WriteString(mac, "v0:"+r.Header.Get("X-Slack-Request-Timestamp")+":")
	_, _ = mac.Write(body)
	want := "v0=" + hex.EncodeToString(mac.Sum(nil))
	if err != nil || !hmac.Equal([]byte(want), []byte(r.Header.Get("X-Slack-Signature"))) {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// typed returns a signed command that nobody has typed before.
func typed() (http.Header, []byte) {
	body := []byte(url.Values{
		"team_id": {team}, "channel_id": {channel}, "user_id": {person(0)}, "command": {"/starback"},
		"text": {"readonly 1h checking queue depth"}, "trigger_id": {rand.Text()},
		"response_url": {"https://hooks.slack.com/commands/" + team + "/1/x"},
	}.Encode())
	header := sandbox.Sign(signingSecret, time.Now(), body)
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	return header, body
}

// volley posts atOnce commands to a server at the same moment and returns how
// long each waited for the answer, in seconds.
func volley(t testing.TB, client *http.Client, base string) []float64 {
	t.Helper()
	requests := make([]*http.Request, atOnce)
	for i := range requests {
		header, body := typed()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+bot.PathCommands, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		requests[i] = r
	}
	waited := make([]float64, atOnce)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i, r := range requests {
		all.Go(func() {
			<-start
			began := time.Now()
			res, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			answer, err := io.ReadAll(res.Body)
			waited[i] = time.Since(began).Seconds()
			// Words in the answer would say that the command was not taken.
			if err != nil || res.StatusCode != http.StatusOK || len(answer) > 0 {
				t.Errorf("status %d, %d bytes, %v", res.StatusCode, len(answer), err)
			}
		})
	}
	close(start)
	all.Wait()
	return waited
}

// empty takes every Job off the queue.
func empty(t testing.TB, s *store.SQLite) {
	t.Helper()
	for {
		job, ok, err := s.Claim(t.Context(), time.Now(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		if err := s.Done(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// acknowledging compares how long Slack waits for the Front, which has put the
// command on a queue on disk by then, with a handler that only verifies.
func acknowledging(t testing.TB, e effort) []figure {
	volleys := max(1, e.ops/25)
	s := openStore(t)
	front, bare := serve(t, newFront(t, s)).URL, serve(t, http.HandlerFunc(verifier)).URL
	client := newHTTPClient(t, atOnce)
	fire := func(base string) []float64 {
		var waited []float64
		for range volleys {
			waited = append(waited, volley(t, client, base)...)
		}
		empty(t, s)
		return waited
	}
	fire(front) // the connections are open from here on
	fire(bare)
	waits := compare(e.rounds, func() []float64 { return fire(front) }, func() []float64 { return fire(bare) })
	at := func(q float64) func([]float64) float64 {
		return func(waited []float64) float64 { return quantile(waited, q) }
	}
	return []figure{
		newFigure("acknowledging 50 commands at once ÷ verifying them, p50", waits, at(0.5), millis),
		newFigure("acknowledging 50 commands at once ÷ verifying them, p99", waits, at(0.99), millis),
	}
}

// A sink is a broker.Queue that takes every Job and keeps none.
type sink struct{}

func (sink) Enqueue(context.Context, broker.Job) error { return nil }

func BenchmarkFront(b *testing.B) {
	front := newFront(b, sink{})
	header, body := typed()
	in := bot.Incoming{Path: bot.PathCommands, Header: header, Body: body}
	b.ReportAllocs()
	for b.Loop() {
		if got := front.Handle(b.Context(), in); got.Status != http.StatusOK || len(got.Body) > 0 {
			b.Fatalf("status %d, %s", got.Status, got.Body)
		}
	}
}
