// Package motolocal runs moto, a stand-in for AWS made by others, for tests.
// Where it is missing, and with -short, tests that need it are skipped and say
// why; with STARBACK_REQUIRE_ENGINES=1, as in CI, it is started with -short too,
// and what is missing fails them instead.
package motolocal

import (
	"context"
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
	required := os.Getenv(requireEnv) == "1"
	if testing.Short() && !required {
		t.Skip("moto is not started with -short")
	}
	program, err := exec.LookPath("moto_server")
	switch {
	case err != nil && required:
		t.Fatal("moto_server is not on this machine")
	case err != nil:
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
	server := exec.CommandContext(context.Background(), program, "-H", host, "-p", port) //nolint:gosec // it was found on this machine
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = server.Wait(); close(ended) }()
	t.Cleanup(func() { _ = server.Process.Kill(); <-ended })
	url := "http://" + addr
	ctx, stop := context.WithTimeout(t.Context(), startPatience)
	defer stop()
	for {
		select {
		case <-ended:
			return ""
		case <-ctx.Done():
			return ""
		case <-time.After(startPoll):
		}
		if answers(ctx, url) {
			return url
		}
	}
}

// answers says whether moto answers at a URL: nobody else has that page.
func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/moto-api/data.json", nil)
	if err != nil {
		return false
	}
	response, err := new(http.Client).Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
