// Package motolocal runs moto, a stand-in for AWS made by others, for tests.
// Where it is missing, and with -short, tests that need it are skipped and say
// why; with STARBACK_REQUIRE_ENGINES=1 they fail instead.
package motolocal

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/starback/starback/internal/freeport"
)

// requireEnv fails tests where an engine is missing.
const requireEnv = "STARBACK_REQUIRE_ENGINES"

// How long moto may take to answer, and how often it is asked meanwhile.
const (
	startPatience = time.Minute
	startPoll     = 100 * time.Millisecond
)

// Start runs moto until the test ends, and returns its URL.
func Start(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("moto is not started with -short")
	}
	program, err := exec.LookPath("moto_server")
	if err != nil {
		if os.Getenv(requireEnv) == "1" {
			t.Fatal("moto_server is not on this machine")
		}
		t.Skip("moto_server is not on this machine")
	}
	for range 3 { // somebody else may take the free port first
		if url := startOn(t, program); url != "" {
			return url
		}
	}
	t.Fatal("moto does not answer")
	return ""
}

// startOn runs moto on a free port, and returns its URL; empty if it ends, or
// does not answer in time.
func startOn(t testing.TB, program string) string {
	t.Helper()
	addr, err := freeport.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "-H", host, "-p", port) //nolint:noctx // it is killed when the test ends
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = server.Wait(); close(ended) }()
	t.Cleanup(func() { _ = server.Process.Kill(); <-ended })
	url := "http://" + addr
	for deadline := time.Now().Add(startPatience); time.Now().Before(deadline); {
		select {
		case <-ended:
			return ""
		case <-time.After(startPoll):
		}
		answer, err := http.Get(url + "/moto-api/data.json")
		if err != nil {
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK { // nobody else has that page
			return url
		}
	}
	return ""
}
