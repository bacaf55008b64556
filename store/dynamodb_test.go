package store_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/store"
	"github.com/starback/starback/store/storetest"
)

func TestDynamoDB(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store {
		s, _ := newDynamoDB(t)
		return s
	})
}

func TestDynamoDBDurable(t *testing.T) {
	storetest.Durable(t, func(t *testing.T) (storetest.Store, func(*testing.T) storetest.Store) {
		s, w := newDynamoDB(t)
		return s, func(t *testing.T) storetest.Store { return w.open() }
	})
}

// A wire is what goes between a store and DynamoDB. It fails the test where a
// call breaks a rule that holds for every call, and can come between.
type wire struct {
	t     testing.TB
	cfg   aws.Config // of an AWS that is reached through the wire
	table string
	next  aws.HTTPClient

	mu    sync.Mutex
	calls []call
	// between, if not nil, answers a call, or lets it through by calling send.
	between func(c call, send func() (*http.Response, error)) (*http.Response, error)
}

// A call is one request to DynamoDB.
type call struct{ op, body string }

// newWire returns a wire to a table that does not exist yet. Calls that fail
// are tried three times, without a pause.
func newWire(t testing.TB) *wire {
	t.Helper()
	w := &wire{t: t, cfg: dynamolocal.Config(t), table: dynamolocal.TableName()}
	w.next, w.cfg.HTTPClient = w.cfg.HTTPClient, w
	w.cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	return w
}

// newDynamoDB opens a store in a table of its own.
func newDynamoDB(t testing.TB) (*store.DynamoDB, *wire) {
	t.Helper()
	w := newWire(t)
	if _, err := store.CreateTable(t.Context(), w.cfg, w.table, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	return w.open(), w
}

// open opens the store in the wire's table.
func (w *wire) open() *store.DynamoDB {
	w.t.Helper()
	opts := store.DynamoDBOptions{MaxJobs: storetest.MaxJobs, Now: time.Now, Entropy: rand.Reader}
	s, err := store.OpenDynamoDB(w.cfg, w.table, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// Do implements aws.HTTPClient.
func (w *wire) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c := call{op, string(body)}
	if err := c.check(); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	w.calls = append(w.calls, c)
	between := w.between
	w.mu.Unlock()
	send := func() (*http.Response, error) {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		return w.next.Do(again)
	}
	if between == nil {
		return send()
	}
	return between(c, send)
}

// check refuses calls that a store must not make.
func (c call) check() error {
	consistent := strings.Contains(c.body, `"ConsistentRead":true`)
	switch {
	case strings.Contains(c.op, "Transact") || strings.Contains(c.op, "Execute"):
		return fmt.Errorf("%s: a table with strong consistency in several Regions knows no transactions", c.op)
	case strings.Contains(c.op, "TimeToLive"):
		return fmt.Errorf("%s: expiry is for readers to judge", c.op)
	case c.op == "GetItem" || c.op == "BatchGetItem" || c.op == "Scan" || c.op == "Query" && !strings.Contains(c.body, `"IndexName"`):
		if !consistent {
			return fmt.Errorf("%s: not strongly consistent: %s", c.op, c.body)
		}
	case (c.op == "PutItem" || c.op == "UpdateItem") && !strings.Contains(c.body, `"ConditionExpression"`):
		if !strings.Contains(c.body, `"email#`) {
			return fmt.Errorf("%s: without a condition: %s", c.op, c.body)
		}
	case c.op == "BatchWriteItem":
		return errors.New("BatchWriteItem: it knows no conditions")
	}
	return nil
}

// What the wire refuses, it refuses.
func TestWireRules(t *testing.T) {
	for _, c := range []struct {
		call    call
		refused bool
	}{
		{call{"GetItem", `{"ConsistentRead":true}`}, false},
		{call{"GetItem", `{}`}, true},
		{call{"BatchGetItem", `{}`}, true},
		{call{"Scan", `{"ConsistentRead":false}`}, true},
		{call{"Query", `{}`}, true},
		{call{"Query", `{"IndexName":"due"}`}, false},
		{call{"PutItem", `{}`}, true},
		{call{"PutItem", `{"ConditionExpression":"version = :before"}`}, false},
		{call{"UpdateItem", `{}`}, true},
		{call{"BatchWriteItem", `{}`}, true},
		{call{"TransactWriteItems", `{}`}, true},
		{call{"TransactGetItems", `{}`}, true},
		{call{"ExecuteTransaction", `{}`}, true},
		{call{"ExecuteStatement", `{}`}, true},
		{call{"UpdateTimeToLive", `{}`}, true},
	} {
		if err := c.call.check(); (err != nil) != c.refused {
			t.Errorf("%v: %v, want it refused: %v", c.call, err, c.refused)
		}
	}
}

// during returns the calls that do makes, in order.
func (w *wire) during(do func() error) []call {
	w.t.Helper()
	w.mu.Lock()
	w.calls = nil
	w.mu.Unlock()
	if err := do(); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
}

// meet has between come between from now on.
func (w *wire) meet(between func(c call, send func() (*http.Response, error)) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.between = between
}

// answer is an answer of DynamoDB's.
func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// failure is DynamoDB's answer that something failed.
func failure(status int, code string) *http.Response {
	return answer(status, `{"__type":"com.amazonaws.dynamodb.v20120810#`+code+`","message":"no"}`)
}

// wantErr fails the test unless err is want and says says.
func wantErr(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Fatalf("error: %v, want one that is %q and says %q", err, want, says)
	}
}
