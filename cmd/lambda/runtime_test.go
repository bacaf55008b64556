package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A function is the real bootstrap, driven by a Runtime API server as Lambda
// drives it: one event at a time, each with a deadline.
type function struct {
	t       *testing.T
	timeout time.Duration
	cmd     *exec.Cmd
	exited  chan struct{}
	ready   chan struct{} // closed at the first /next
	events  chan *invocation
	printed *os.File // not a pipe, so that nothing lags behind what the function does next

	mu      sync.Mutex
	pending map[string]*invocation
	started time.Time
	init    time.Duration // from exec to the first /next
}

// An invocation is one event on its way.
type invocation struct {
	id     string
	event  []byte
	answer chan []byte
	failed chan []byte
}

// startFunction runs the bootstrap with an environment of its own.
func startFunction(t *testing.T, bootstrap string, timeout time.Duration, env ...string) *function {
	t.Helper()
	f := &function{
		t: t, timeout: timeout, exited: make(chan struct{}), ready: make(chan struct{}),
		events: make(chan *invocation), pending: map[string]*invocation{},
	}
	var err error
	if f.printed, err = os.CreateTemp(t.TempDir(), "printed-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.printed.Close() })
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.cmd = exec.Command(bootstrap)
	f.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(server.URL, "http://"),
		"AWS_LAMBDA_FUNCTION_NAME=starback-test", "AWS_LAMBDA_FUNCTION_VERSION=1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512",
		"AWS_EC2_METADATA_DISABLED=true", "HOME=/nonexistent",
	}, env...)
	f.cmd.Stdout, f.cmd.Stderr = f.printed, f.printed
	f.mu.Lock() // which next takes too
	f.started = time.Now()
	f.mu.Unlock()
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = f.cmd.Wait(); close(f.exited) }()
	t.Cleanup(f.kill)
	return f
}

// kill ends the function at once.
func (f *function) kill() {
	_ = f.cmd.Process.Kill()
	<-f.exited
}

// output is all that the function has printed.
func (f *function) output() string {
	all, err := os.ReadFile(f.printed.Name())
	if err != nil {
		return err.Error() // the test is over, and its folder gone
	}
	return string(all)
}

// ServeHTTP is the Runtime API, version 2018-06-01.
func (f *function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/2018-06-01/runtime/")
	switch {
	case ok && path == "invocation/next" && r.Method == http.MethodGet:
		f.next(w, r)
	case ok && path == "init/error" && r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		_, _ = f.printed.Write(append(body, '\n'))
		w.WriteHeader(http.StatusAccepted)
	case ok && r.Method == http.MethodPost:
		id, what, _ := strings.Cut(strings.TrimPrefix(path, "invocation/"), "/")
		body, err := io.ReadAll(r.Body)
		f.mu.Lock()
		i := f.pending[id]
		delete(f.pending, id)
		f.mu.Unlock()
		if i == nil || err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if what == "response" {
			i.answer <- body
		} else {
			i.failed <- body
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// next hands over an event when there is one.
func (f *function) next(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.init == 0 {
		f.init = time.Since(f.started)
		close(f.ready)
	}
	f.mu.Unlock()
	select {
	case <-r.Context().Done():
	case i := <-f.events:
		f.mu.Lock()
		f.pending[i.id] = i
		f.mu.Unlock()
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", i.id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(f.timeout).UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:123456789012:function:starback-test")
		_, _ = w.Write(i.event)
	}
}

var serial struct {
	sync.Mutex
	n int
}

// invoke sends an event and waits for what the function makes of it. An error
// is the function's own, or its end.
func (f *function) invoke(ctx context.Context, event any) ([]byte, error) {
	body, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	serial.Lock()
	serial.n++
	i := &invocation{id: fmt.Sprintf("request-%d", serial.n), event: body, answer: make(chan []byte, 1), failed: make(chan []byte, 1)}
	serial.Unlock()
	select {
	case f.events <- i:
	case <-f.exited:
		return nil, fmt.Errorf("the function has ended: %s", f.output())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case answer := <-i.answer:
		return answer, nil
	case failed := <-i.failed:
		return nil, fmt.Errorf("the function failed: %s", failed)
	case <-f.exited:
		return nil, fmt.Errorf("the function ended: %s", f.output())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// freePort is a port on this machine that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
