package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// A keeper is where a house keeps everything: a store of its own.
type keeper struct {
	env  []string                     // points the program at it
	wire *faultproxy.Proxy            // in front of it; nil for a file
	open func(*testing.T) store.Store // as another process would
	fill func(*testing.T)             // as applying the test policy does

	kept func(*testing.T) string // all that stands in it
	file string                  // where it is one
}

// keepers make a keeper of each engine.
var keepers = map[string]func(*testing.T) *keeper{"SQLite": onSQLite, "DynamoDB": onDynamoDB}

// onEachStore runs a test on each engine, side by side.
func onEachStore(t *testing.T, test func(*testing.T, *keeper)) {
	for name, keep := range keepers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, keep(t))
		})
	}
}

// onSQLite keeps everything in a file.
func onSQLite(t *testing.T) *keeper {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "starback.db")
	k := &keeper{file: file, kept: func(t *testing.T) string { return contents(t, folder) }}
	k.env = []string{"STARBACK_STORE=file:" + file}
	k.open = func(t *testing.T) store.Store { return open(t, "file:"+file, store.Options{}) }
	k.fill = func(t *testing.T) {
		t.Helper()
		db, err := applied()
		if err == nil {
			err = os.WriteFile(file, db, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// onDynamoDB keeps everything in a table, behind a wire.
func onDynamoDB(t *testing.T) *keeper {
	t.Helper()
	cfg, table := dynamolocal.Config(t), dynamolocal.TableName()
	if _, err := store.CreateTable(t.Context(), cfg, table, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	k := &keeper{wire: faultproxy.New(t, aws.ToString(cfg.BaseEndpoint), dynamoCall)}
	k.env = []string{"STARBACK_STORE=dynamodb:" + table, "AWS_ENDPOINT_URL_DYNAMODB=" + k.wire.URL}
	k.open = func(t *testing.T) store.Store {
		return open(t, "dynamodb:"+table, store.Options{
			AWS: func(context.Context) (aws.Config, error) { return cfg, nil }, Now: time.Now, Entropy: rand.Reader,
		})
	}
	k.fill = func(t *testing.T) {
		t.Helper()
		file := onSQLite(t)
		file.fill(t)
		if _, err := store.Copy(t.Context(), file.open(t), k.open(t), store.CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	k.kept = func(t *testing.T) string { return dynamolocal.Contents(t, table) }
	return k
}

// open opens a store until the test ends.
func open(t *testing.T, spec string, opts store.Options) store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), spec, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// contents returns what the files in a folder hold.
func contents(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(content)
	}
	return all.String()
}

// dynamoCall names a call to DynamoDB by what it is for, which its keys tell,
// and its operation.
func dynamoCall(r *http.Request, body []byte) string {
	type value struct{ S, N string }
	var in struct {
		IndexName, Select, UpdateExpression string
		Key, Item                           map[string]value
		RequestItems                        map[string]struct{ Keys []map[string]value }
	}
	if json.Unmarshal(body, &in) != nil {
		return "unreadable"
	}
	item := in.Item
	if item == nil {
		item = in.Key
	}
	for _, batch := range in.RequestItems {
		item = batch.Keys[0]
	}
	operation := faultproxy.Action(r, body)
	kind, _, _ := strings.Cut(item["pk"].S, "#")
	for _, c := range []struct {
		is   bool
		what string
	}{
		{in.IndexName == "due", "sweep"},
		{in.IndexName == "jobs" && in.Select == "COUNT", "enqueue"},
		{in.IndexName == "jobs", "claim"},
		{kind == "job" && operation == "PutItem", "enqueue"},
		{kind == "job" && strings.Contains(in.UpdateExpression, "claims"), "claim"},
		{kind == "job" && operation == "UpdateItem", "renew"},
		{kind == "job" && operation == "DeleteItem", "done"},
		{kind == "identity" && operation == "BatchGetItem", "identify"},
		{kind == "request" && item["version"].N == "1", "ask"},
		{kind == "request" && strings.Contains(string(body), `\"events\":[`), "outcome"},
		{kind == "request" && operation == "PutItem", "settle"},
		{kind == "request", "sweep"},
		{kind == "event" || kind == "day", "sweep"},
	} {
		if c.is {
			return c.what + " " + operation
		}
	}
	return kind + " " + operation
}

// A house is the built binary among its neighbours.
type house struct {
	*story.House
	*process
	keeper *keeper
	env    []string
	before string // what processes printed that have ended
}

// building has no more houses built at once than there are processors. Built
// all together, they keep each other from answering in time.
var building = make(chan struct{}, runtime.GOMAXPROCS(0))

// newHouse starts one, with the stories' policy. More goes into its environment.
func newHouse(t *testing.T, k *keeper, more ...string) *house {
	t.Helper()
	h := &house{keeper: k, House: &story.House{
		T: t, Slack: story.NewSlack(time.Now), AWS: sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now, TokenSize: 4096}),
		StoreWire: k.wire, Gate: faultproxy.NewGate(), Store: k.open, Kept: func() string { return k.kept(t) },
	}}
	h.SlackWire = faultproxy.New(t, story.Serve(t, h.Slack), story.SlackCall)
	h.Slack.SetURL(h.SlackWire.URL)
	h.AWSWire = faultproxy.New(t, story.Serve(t, h.AWS), faultproxy.Action)
	h.env = append(slackEnvironment(h.Slack, h.SlackWire.URL), awsEnvironment(h.AWSWire.URL, story.Furnish(h.AWS, baseParameter))...)
	h.env = append(append(h.env, k.env...), more...)
	h.Printed = func() string { return h.before + h.output() }
	h.Stop = func() { h.stop() }
	building <- struct{}{}
	defer func() { <-building }()
	k.fill(t)
	h.restart()
	return h
}

// restart starts a process, in place of one that has ended.
func (h *house) restart() {
	h.T.Helper()
	if h.process != nil {
		h.before += h.output()
	}
	h.process = start(h.T, h.env)
	h.URL = "http://" + h.addr
	h.Slack.SetApp(h.URL)
}
