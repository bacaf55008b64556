package store_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/store"
)

func TestCreateTable(t *testing.T) {
	w := newWire(t)
	ctx := t.Context()
	create := func(opts store.TableOptions) store.TableState {
		t.Helper()
		state, err := store.CreateTable(ctx, w.cfg, w.table, opts)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	calls := w.during(func() error {
		if state := create(store.TableOptions{KMSKey: "alias/starback"}); !state.Created || !state.Protected || state.Recoverable {
			t.Errorf("%+v, want it created and protected; the engine knows no recovery", state)
		}
		return nil
	})
	for _, want := range []string{
		`"BillingMode":"PAY_PER_REQUEST"`, `"DeletionProtectionEnabled":true`,
		`"SSESpecification":{"Enabled":true,"KMSMasterKeyId":"alias/starback","SSEType":"KMS"}`,
	} {
		if !strings.Contains(calls[0].body, want) {
			t.Errorf("a table is asked for without %s: %s", want, calls[0].body)
		}
	}
	s := w.open()
	if number, err := s.Schema(ctx); err != nil || number != 1 {
		t.Errorf("schema %d (%v), want 1", number, err)
	}
	fillDynamoDB(t, s)
	if state := create(store.TableOptions{}); state.Created {
		t.Error("it is created again")
	}
	if _, err := s.User(ctx, "bob"); err != nil {
		t.Errorf("after repeating it: %v", err)
	}

	// AWS itself can restore, if not at once.
	asked := 0
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op != "UpdateContinuousBackups" || !strings.Contains(c.body, `"PointInTimeRecoveryEnabled":true`) {
			return send()
		}
		if asked++; asked == 1 {
			return failure(400, "ContinuousBackupsUnavailableException"), nil
		}
		return answer(200, `{}`), nil
	})
	if state := create(store.TableOptions{}); !state.Recoverable {
		t.Errorf("%+v, want it recoverable", state)
	}
}

// A table that is being made is waited for.
func TestCreateTableWaits(t *testing.T) {
	w := newWire(t)
	var looked atomic.Int32
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op == "DescribeTable" && looked.Add(1) == 1 {
			return failure(400, "ResourceNotFoundException"), nil
		}
		return send()
	})
	if _, err := store.CreateTable(t.Context(), w.cfg, w.table, store.TableOptions{}); err != nil {
		t.Error(err)
	}
	if n := looked.Load(); n != 2 {
		t.Errorf("looked %d times, want 2", n)
	}
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op == "DescribeTable" {
			return failure(400, "ResourceNotFoundException"), nil
		}
		return send()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := store.CreateTable(ctx, w.cfg, w.table, store.TableOptions{})
	wantErr(t, err, broker.ErrUnavailable, "waiting for table "+w.table)
}

// Tables of something else are refused.
func TestCreateTableForeign(t *testing.T) {
	text := func(names ...string) (defined []types.AttributeDefinition) {
		for _, name := range names {
			defined = append(defined, types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS})
		}
		return defined
	}
	keys := func(partition, order string) []types.KeySchemaElement {
		return []types.KeySchemaElement{
			{AttributeName: &partition, KeyType: types.KeyTypeHash}, {AttributeName: &order, KeyType: types.KeyTypeRange},
		}
	}
	index := func(name string, schema []types.KeySchemaElement) []types.GlobalSecondaryIndex {
		return []types.GlobalSecondaryIndex{{IndexName: &name, KeySchema: schema, Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll}}}
	}
	for name, c := range map[string]struct {
		table dynamodb.CreateTableInput
		says  string
	}{
		"another key": {dynamodb.CreateTableInput{
			AttributeDefinitions: text("id"), KeySchema: keys("id", "")[:1],
		}, "its key has HASH id S, not HASH pk S, RANGE sk S"},
		"no index": {dynamodb.CreateTableInput{
			AttributeDefinitions: text("pk", "sk"), KeySchema: keys("pk", "sk"),
		}, "its index due has nothing"},
		"another index": {dynamodb.CreateTableInput{
			AttributeDefinitions: text("pk", "sk", "outbox"), KeySchema: keys("pk", "sk"), GlobalSecondaryIndexes: index("due", keys("outbox", "sk")),
		}, "its index due has HASH outbox S, RANGE sk S, not HASH outbox S, RANGE due N"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			c.table.TableName, c.table.BillingMode = &w.table, types.BillingModePayPerRequest
			if _, err := w.client().CreateTable(t.Context(), &c.table); err != nil {
				t.Fatal(err)
			}
			_, err := store.CreateTable(t.Context(), w.cfg, w.table, store.TableOptions{})
			wantErr(t, err, broker.ErrInvalid, c.says)
		})
	}
}

// A table of before Requests were found by their Users is refused, and can be
// copied from.
func TestCreateTableOlder(t *testing.T) {
	ctx := t.Context()
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	const newest = "requests-user"
	_, err := w.client().UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName:                   &w.table,
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: aws.String(newest)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	waiting, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	for there := true; there; time.Sleep(20 * time.Millisecond) {
		out, err := w.client().DescribeTable(waiting, &dynamodb.DescribeTableInput{TableName: &w.table})
		if err != nil {
			t.Fatal(err)
		}
		there = slices.ContainsFunc(out.Table.GlobalSecondaryIndexes, func(i types.GlobalSecondaryIndexDescription) bool {
			return aws.ToString(i.IndexName) == newest
		})
	}
	const says = "an older store's, without the index requests-user; make another with: starback store init"
	_, err = store.CreateTable(ctx, w.cfg, w.table, store.TableOptions{})
	wantErr(t, err, broker.ErrInvalid, says)
	_, err = s.Schema(ctx)
	wantErr(t, err, broker.ErrInvalid, says)
	target := open(t, newPath(t))
	if counts, err := store.Copy(ctx, s, target, store.CopyOptions{}); err != nil || counts.Requests != 1 {
		t.Errorf("copied %+v (%v), want 1 request", counts, err)
	}
}

// A table that a newer Starback writes to is left alone.
func TestDynamoDBNewerSchema(t *testing.T) {
	s, w := newDynamoDB(t)
	defer w.change(t, "schema", "schema", map[string]types.AttributeValue{"number": &types.AttributeValueMemberN{Value: "2"}})()
	wantErr(t, s.Ping(t.Context()), broker.ErrInvalid, "schema 2 of a newer Starback")
	_, err := s.Schema(t.Context())
	wantErr(t, err, broker.ErrInvalid, "schema 2 of a newer Starback")
}

func TestOpenDynamoDBRefuses(t *testing.T) {
	good := store.DynamoDBOptions{Now: time.Now, Entropy: strings.NewReader("0123456789abcdef")}
	for name, c := range map[string]struct {
		table  string
		change func(*store.DynamoDBOptions)
		want   error
	}{
		"no name":          {"", func(*store.DynamoDBOptions) {}, broker.ErrInvalid},
		"a short name":     {"ab", func(*store.DynamoDBOptions) {}, broker.ErrInvalid},
		"a bad name":       {"star back", func(*store.DynamoDBOptions) {}, broker.ErrInvalid},
		"no clock":         {"starback", func(o *store.DynamoDBOptions) { o.Now = nil }, broker.ErrInvalid},
		"no entropy":       {"starback", func(o *store.DynamoDBOptions) { o.Entropy = nil }, broker.ErrInvalid},
		"a negative limit": {"starback", func(o *store.DynamoDBOptions) { o.MaxJobs = -1 }, broker.ErrInvalid},
		"too little":       {"starback", func(o *store.DynamoDBOptions) { o.Entropy = strings.NewReader("") }, broker.ErrUnavailable},
	} {
		opts := good
		c.change(&opts)
		if _, err := store.OpenDynamoDB(aws.Config{}, c.table, opts); err == nil {
			t.Errorf("%s: opened", name)
		} else {
			wantErr(t, err, c.want, "store: ")
		}
	}
}

// A hundred writers of one item, in two processes, lose nothing.
func TestDynamoDBManyWriters(t *testing.T) {
	const writers = 100
	s, w := newDynamoDB(t)
	stores := []*store.DynamoDB{s, w.open()}
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			s, r := stores[i%2], broker.Request{ID: "REQ1"}
			for {
				var err error
				r.Sessions = append(r.Sessions, broker.Session{ID: "session"})
				if r, err = s.PutRequest(t.Context(), r); err == nil {
					return
				}
				if !errors.Is(err, broker.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	r, err := s.Request(t.Context(), "REQ1")
	if err != nil || len(r.Sessions) != writers || r.Version != writers {
		t.Errorf("%d changes and version %d (%v), want %d", len(r.Sessions), r.Version, err, writers)
	}
}
