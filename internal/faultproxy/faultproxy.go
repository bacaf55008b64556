// Package faultproxy is an HTTP proxy for tests. It stands in front of one
// neighbour, counts the calls that go there, and makes those that a rule
// chooses go wrong, as services and networks do.
//
// It promises that a call which no rule chooses reaches the neighbour byte for
// byte, its Host header included, so that signatures stay good, and that its
// answer comes back the same way. What the neighbour does to a connection is
// done to the caller's: if the one hangs up, so does the other.
package faultproxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Call is one request to the neighbour.
type Call struct {
	Name string // what the proxy's Namer calls it
	Path string // of the URL
	Body string
}

// A Namer says what to call a call.
type Namer func(r *http.Request, body []byte) string

// Action names a call as AWS does: by the operation in X-Amz-Target, or the
// parameter Action of the query or the form. Any other call is its path.
func Action(r *http.Request, body []byte) string {
	if _, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		return operation
	}
	if action := r.URL.Query().Get("Action"); action != "" {
		return action
	}
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") != "" {
		return form.Get("Action")
	}
	return r.URL.Path
}

// A Rule says how a call goes wrong; nil lets it pass. It is asked once for
// each call, as the call arrives, and by several goroutines at once.
type Rule func(Call) Fault

// On is the Rule that has every call of these names go wrong in one way.
func On(f Fault, names ...string) Rule {
	return func(c Call) Fault {
		if slices.Contains(names, c.Name) {
			return f
		}
		return nil
	}
}

// A Proxy is in front of one neighbour. It is safe for concurrent use.
type Proxy struct {
	// URL is where the proxy listens: scheme, host and port, on loopback.
	URL string

	target *url.URL
	name   Namer

	mu    sync.Mutex
	rule  Rule
	calls []Call
}

// transport makes a connection for each call, so that it never repeats a call
// by itself, and leaves bodies encoded as they are.
var transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

// New starts a proxy in front of the neighbour at target, given as scheme, host
// and port, for as long as the test runs. When it ends, calls that are still
// held are dropped.
func New(t testing.TB, target string, name Namer) *Proxy {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: to, name: name}
	ctx, stop := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(p)
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	t.Cleanup(func() { stop(); server.Close() })
	p.URL = server.URL
	return p
}

// SetRule makes calls go wrong that arrive from now on. Nil lets all pass.
func (p *Proxy) SetRule(rule Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// Calls returns the calls since the last Reset, those that went wrong included,
// in the order in which they arrived.
func (p *Proxy) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Counts returns how many calls of each name there were since the last Reset.
func (p *Proxy) Counts() map[string]int {
	counts := map[string]int{}
	for _, c := range p.Calls() {
		counts[c.Name]++
	}
	return counts
}

// Reset forgets the calls made so far.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = nil
}

// ServeHTTP takes one call. New has it served already.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		hangUp()
	}
	call := Call{Name: p.name(r, body), Path: r.URL.Path, Body: string(body)}
	p.mu.Lock()
	p.calls = append(p.calls, call)
	rule := p.rule
	p.mu.Unlock()
	fault := Fault(Pass)
	if rule != nil {
		if f := rule(call); f != nil {
			fault = f
		}
	}
	fault(w, r, func(ctx context.Context) (*Reply, error) { return p.ask(ctx, r, body) })
}

// A Reply is a neighbour's whole answer.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// ask makes the call to the neighbour.
func (p *Proxy) ask(ctx context.Context, r *http.Request, body []byte) (*Reply, error) {
	to := *r.URL
	to.Scheme, to.Host = p.target.Scheme, p.target.Host
	out, err := http.NewRequestWithContext(ctx, r.Method, to.String(), bytes.NewReader(body)) //nolint:gosec // to the neighbour that the test names
	if err != nil {
		return nil, err
	}
	out.Host, out.Header = r.Host, maps.Clone(r.Header)
	in, err := transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer in.Body.Close()
	reply := &Reply{Status: in.StatusCode, Header: in.Header}
	if reply.Body, err = io.ReadAll(in.Body); err != nil {
		return nil, fmt.Errorf("the answer was cut short: %w", err)
	}
	return reply, nil
}
