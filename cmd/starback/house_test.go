package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// A keeper is where a house keeps everything: a store of its own.
type keeper struct {
	env  []string                     // points the program at it
	wire *faultproxy.Proxy            // in front of it; nil for a file
	open func(*testing.T) store.Store // as another process would
	fill func(*testing.T)             // as applying the test policy does

	folder string // holds the file, or after dump what is in the table
	dump   func(*testing.T)
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
	k := &keeper{folder: t.TempDir(), dump: func(*testing.T) {}}
	file := filepath.Join(k.folder, "starback.db")
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
	k := &keeper{folder: t.TempDir(), wire: faultproxy.New(t, aws.ToString(cfg.BaseEndpoint), dynamoCall)}
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
	k.dump = func(t *testing.T) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(k.folder, "table"), scan(t, cfg, table), 0o600); err != nil {
			t.Fatal(err)
		}
	}
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

// scan returns all that stands in a table, one value after the other.
func scan(t *testing.T, cfg aws.Config, table string) []byte {
	t.Helper()
	var all bytes.Buffer
	pages := dynamodb.NewScanPaginator(dynamodb.NewFromConfig(cfg), &dynamodb.ScanInput{TableName: &table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			for name, value := range item {
				all.WriteString(name + "=")
				switch v := value.(type) {
				case *types.AttributeValueMemberS:
					all.WriteString(v.Value)
				case *types.AttributeValueMemberN:
					all.WriteString(v.Value)
				case *types.AttributeValueMemberB:
					all.Write(v.Value)
				default:
					t.Fatalf("the attribute %s is a %T, which no store writes", name, v)
				}
				all.WriteByte('\n')
			}
		}
	}
	return all.Bytes()
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

// slackCall names a call to Slack by its method; a response URL is
// "response_url".
func slackCall(r *http.Request, _ []byte) string {
	if method, ok := strings.CutPrefix(r.URL.Path, "/api/"); ok {
		return method
	}
	return "response_url"
}

// A house is the built binary among its neighbours: a sandbox's Slack and AWS
// and a keeper, each behind a wire that can fail.
type house struct {
	*process
	keeper             *keeper
	slack              *sandbox.Slack
	aws                *sandbox.AWS
	slackWire, awsWire *faultproxy.Proxy
	gate               *faultproxy.Gate // for calls that are held; heal opens it
	env                []string
}

// building has no more houses built at once than there are processors. Built
// all together, they keep each other from answering in time.
var building = make(chan struct{}, runtime.GOMAXPROCS(0))

// newHouse starts one, with the test policy. More goes into its environment.
func newHouse(t *testing.T, k *keeper, more ...string) *house {
	t.Helper()
	h := &house{keeper: k, gate: faultproxy.NewGate()}
	var slackURL string
	h.slack, slackURL = newSlack(t)
	h.slackWire = faultproxy.New(t, slackURL, slackCall)
	h.slack.SetURL(h.slackWire.URL)
	h.aws = sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now})
	server := httptest.NewServer(h.aws)
	t.Cleanup(server.Close)
	h.awsWire = faultproxy.New(t, server.URL, faultproxy.Action)
	h.env = append(slackEnvironment(h.slack, h.slackWire.URL), useSandbox(t, h.aws, h.awsWire.URL)...)
	h.env = append(append(h.env, k.env...), more...)
	building <- struct{}{}
	defer func() { <-building }()
	k.fill(t)
	h.process = start(t, h.env)
	h.slack.SetApp("http://" + h.addr)
	return h
}

// assumed counts the Sessions that AWS was asked for so far. A call whose answer
// was lost on the way is made again by the SDK, for the same Session.
func (h *house) assumed() int {
	sessions := map[string]bool{}
	for _, call := range h.aws.Calls() {
		if call.Action == "AssumeRole" {
			sessions[call.RoleARN+" "+call.SessionName] = true
		}
	}
	return len(sessions)
}

// sessionsAsked counts the Sessions that AWS was asked for through a proxy.
func sessionsAsked(wire *faultproxy.Proxy) int {
	sessions := map[string]bool{}
	for _, call := range wire.Calls() {
		form, err := url.ParseQuery(call.Body)
		if call.Name == "AssumeRole" && err == nil {
			sessions[form.Get("RoleArn")+" "+form.Get("RoleSessionName")] = true
		}
	}
	return len(sessions)
}

// heal ends whatever is wrong with the neighbours.
func (h *house) heal() {
	h.aws.SetFault(nil)
	h.slack.SetFault(nil)
	for _, wire := range []*faultproxy.Proxy{h.awsWire, h.slackWire, h.keeper.wire} {
		if wire != nil {
			wire.SetRule(nil)
		}
	}
	h.gate.Open()
}

// command types a command of Alice's.
func (h *house) command(text string) {
	h.t.Helper()
	if _, err := h.slack.Command(h.t.Context(), "U0ALICE", general, text); err != nil {
		h.t.Fatal(err)
	}
}

// gets types a command of Alice's, and fails the test unless she is given
// credentials that can be pasted, which it returns. Where the machine is so busy that the command
// is not queued in the time that Slack allows, Alice does as she is told, and
// tries again.
func (h *house) gets(text string) map[string]string {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		before := len(h.told())
		h.command(text)
		m := answerWithin(h.t, h.slack, "U0ALICE", before+1, time.Minute)
		if !strings.Contains(m.Text, saysNotTaken) || time.Now().After(deadline) {
			return pasted(h.t, m)
		}
	}
}

// told returns what Alice has been told, a text a message.
func (h *house) told() []string {
	var texts []string
	for _, m := range ephemerals(h.slack.Seen("U0ALICE")) {
		texts = append(texts, sandbox.Text(m, sandbox.RenderOptions{Width: 100000}))
	}
	return texts
}

// hears waits until n messages to Alice hold the words, and returns the newest
// of them.
func (h *house) hears(words string, n int) string {
	h.t.Helper()
	ctx, stop := context.WithTimeout(h.t.Context(), time.Minute)
	defer stop()
	var with []string
	_, err := h.slack.WaitFor(ctx, "U0ALICE", func([]sandbox.Message) bool {
		with = slices.DeleteFunc(h.told(), func(said string) bool { return !strings.Contains(said, words) })
		return len(with) >= n
	})
	if err != nil {
		h.t.Fatalf("Alice is not told %d times of %q, but\n%s\n%s", n, words, brief(h.told()...), h.output())
	}
	return with[n-1]
}

// brief is the beginning of each text: of credentials, nothing that matters.
func brief(texts ...string) string {
	var all strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&all, "%.100q\n", text)
	}
	return all.String()
}

// calls waits until a call of this name, whose body holds the words, has gone
// over a wire.
func (h *house) calls(wire *faultproxy.Proxy, name, words string) {
	h.t.Helper()
	is := func(c faultproxy.Call) bool { return c.Name == name && strings.Contains(c.Body, words) }
	for deadline := time.Now().Add(20 * time.Second); !slices.ContainsFunc(wire.Calls(), is); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s about %q is not called\n%s", name, words, h.output())
		}
	}
}

// post sends bytes to the process as they are.
func (h *house) post(path string, header http.Header, body []byte) int {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, "http://"+h.addr+path, bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}
