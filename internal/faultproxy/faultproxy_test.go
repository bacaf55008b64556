package faultproxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/internal/faultproxy"
)

// patience bounds what a test waits for.
const patience = 10 * time.Second

// whole is what the neighbour answers.
const whole = `{"work":"done"}`

// A neighbour counts what it did.
type neighbour struct{ done atomic.Int64 }

func (n *neighbour) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n.done.Add(1)
	w.Header().Set("X-Neighbour", "yes")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, whole)
}

// newProxy returns a proxy in front of a neighbour.
func newProxy(t *testing.T) (*faultproxy.Proxy, *neighbour) {
	t.Helper()
	n := &neighbour{}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	return faultproxy.New(t, server.URL, faultproxy.Action), n
}

// call makes the call that is named A and returns its whole answer.
func call(ctx context.Context, p *faultproxy.Proxy) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/", strings.NewReader("Action=A"))
	if err != nil {
		return 0, "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  faultproxy.Fault
		status int // 0: the caller has no answer
		body   string
		cut    bool  // the body ends too soon
		done   int64 // by the neighbour
	}{
		"none":    {nil, 202, whole, false, 1},
		"pass":    {faultproxy.Pass, 202, whole, false, 1},
		"drop":    {faultproxy.Drop, 0, "", false, 0},
		"lose":    {faultproxy.Lose, 0, "", false, 1},
		"half":    {faultproxy.Half, 202, whole[:len(whole)/2], true, 1},
		"garbage": {faultproxy.Garbage, 200, "<html><body>Accept our terms to go online.</body></html>\n", false, 0},
		"answer":  {faultproxy.Answer(503, "text/plain", "away"), 503, "away", false, 0},
		"refuse":  {faultproxy.Refuse(400, "Throttled"), 400, `{"__type":"Throttled","message":"a fault"}`, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, n := newProxy(t)
			p.SetRule(faultproxy.On(tt.fault, "A"))
			status, body, err := call(t.Context(), p)
			if wantErr := tt.status == 0 || tt.cut; (err != nil) != wantErr {
				t.Errorf("error %v, want one: %v", err, wantErr)
			}
			if tt.cut && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v, want %v", err, io.ErrUnexpectedEOF)
			}
			if status != tt.status || body != tt.body || n.done.Load() != tt.done {
				t.Errorf("answered %d %q, done %d times; want %d %q and %d", status, body, n.done.Load(), tt.status, tt.body, tt.done)
			}
		})
	}
}

// A held call ends when its gate opens or its caller gives up. Whether the
// neighbour has done the work by then is what tells Stall and Late apart.
func TestGates(t *testing.T) {
	for name, tt := range map[string]struct {
		fault               func(*faultproxy.Gate) faultproxy.Fault
		held, opened, given int64 // how often the work is done: while held, once opened, once given up
	}{
		"stall": {faultproxy.Stall, 0, 1, 0},
		"late":  {faultproxy.Late, 1, 1, 1},
	} {
		for _, open := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p, n := newProxy(t)
				gate := faultproxy.NewGate()
				p.SetRule(faultproxy.On(tt.fault(gate), "A"))
				ctx, giveUp := context.WithTimeout(t.Context(), patience)
				defer giveUp()
				ended := make(chan error, 1)
				go func() {
					_, _, err := call(ctx, p)
					ended <- err
				}()
				select {
				case <-gate.Reached():
				case err := <-ended:
					t.Fatalf("the call is not held: %v", err)
				}
				if got := n.done.Load(); got != tt.held {
					t.Errorf("while the call is held, the work is done %d times, want %d", got, tt.held)
				}
				want := tt.opened
				if open {
					gate.Open()
					gate.Open()
				} else {
					giveUp()
					want = tt.given
				}
				if err := <-ended; (err == nil) != open {
					t.Errorf("the call ends with %v; opened: %v", err, open)
				}
				if got := n.done.Load(); got != want {
					t.Errorf("the work was done %d times, want %d", got, want)
				}
			})
		}
	}
}

// A proxy whose test ends drops the calls that it holds.
func TestEndOfTest(t *testing.T) {
	ended := make(chan error, 1)
	t.Run("held", func(t *testing.T) {
		p, _ := newProxy(t)
		gate := faultproxy.NewGate()
		p.SetRule(faultproxy.On(faultproxy.Stall(gate), "A"))
		go func() {
			_, _, err := call(context.Background(), p)
			ended <- err
		}()
		<-gate.Reached()
	})
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the call was answered")
		}
	case <-time.After(patience):
		t.Error("the call is held still")
	}
}

// What passes is the same on both sides, and counted by its name.
func TestPass(t *testing.T) {
	type seen struct{ Method, Host, Path, Query, Header, Body string }
	var got seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{r.Method, r.Host, r.URL.Path, r.URL.RawQuery, r.Header.Get("Authorization"), string(body)}
		w.Header().Set("X-Neighbour", "yes")
	}))
	t.Cleanup(server.Close)
	p := faultproxy.New(t, server.URL, faultproxy.Action)
	for _, tt := range []struct{ method, path, query, target, body, name string }{
		{"POST", "/", "", "DynamoDB_20120810.PutItem", `{"a":1}`, "PutItem"},
		{"POST", "/", "", "", "Action=AssumeRole&Version=1", "AssumeRole"},
		{"GET", "/federation", "Action=getSigninToken&Session=%7B", "", "", "getSigninToken"},
		{"POST", "/api/users.info", "", "", `{"Action":1}`, "/api/users.info"},
		{"POST", "/api/a%20b", "", "", "%zz", "/api/a b"},
	} {
		p.Reset()
		req, err := http.NewRequestWithContext(t.Context(), tt.method, p.URL+tt.path+"?"+tt.query, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "neighbour.example"
		req.Header.Set("Authorization", "signed")
		req.Header.Set("X-Amz-Target", tt.target)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		want := seen{tt.method, "neighbour.example", req.URL.Path, tt.query, "signed", tt.body}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: what arrives (-want +got)\n%s", tt.name, diff)
		}
		if res.StatusCode != http.StatusOK || res.Header.Get("X-Neighbour") != "yes" {
			t.Errorf("%s: answered %v", tt.name, res.Header)
		}
		if diff := cmp.Diff([]faultproxy.Call{{Name: tt.name, Path: req.URL.Path, Body: tt.body}}, p.Calls()); diff != "" {
			t.Errorf("%s: what is noted (-want +got)\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(map[string]int{tt.name: 1}, p.Counts()); diff != "" {
			t.Errorf("%s: what is counted (-want +got)\n%s", tt.name, diff)
		}
	}
}

// A neighbour that hangs up, before its answer or within it, does so to the
// caller.
func TestNeighbourHangsUp(t *testing.T) {
	for _, sent := range []string{"", "half"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8")
			if sent != "" {
				_, _ = io.WriteString(w, sent)
				w.(http.Flusher).Flush()
			}
			panic(http.ErrAbortHandler)
		}))
		t.Cleanup(server.Close)
		p := faultproxy.New(t, server.URL, faultproxy.Action)
		gate := faultproxy.NewGate()
		gate.Open()
		for _, rule := range []faultproxy.Rule{
			nil, faultproxy.On(faultproxy.Late(gate), "A"), faultproxy.On(faultproxy.Half, "A"), faultproxy.On(faultproxy.Drop, "B"),
		} {
			p.SetRule(rule)
			if status, body, err := call(t.Context(), p); err == nil {
				t.Errorf("after %q: answered %d %q", sent, status, body)
			}
		}
	}
}
