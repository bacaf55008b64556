package store_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// manyRoles is a Policy of n Roles that does not compress well.
func manyRoles(n int) *policy.Document {
	doc := document()
	doc.Accounts = map[policy.AccountName]policy.Account{"prod": {Name: "prod", ID: "111122223333", Partition: "aws"}}
	doc.Roles = map[policy.RoleName]*policy.Role{}
	for i := range n {
		name := policy.RoleName(fmt.Sprintf("role-%05d", i))
		doc.Roles[name] = &policy.Role{
			Name: name, Description: fmt.Sprintf("%x", sha256.Sum256([]byte(name))), Account: "prod", AccountID: "111122223333",
			Partition: "aws", ARN: "arn:aws:iam::111122223333:role/" + string(name), MaxDuration: 8 * time.Hour, DefaultDuration: time.Hour,
		}
	}
	return doc
}

// A Policy larger than an item is kept in several, and kept once.
func TestDynamoDBLargePolicy(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx := t.Context()
	large, small := manyRoles(10_000), document()
	put := func(version int64, doc *policy.Document) {
		t.Helper()
		if err := s.PutPolicy(ctx, broker.Head{Version: version, Digest: doc.Digest()}, doc); err != nil {
			t.Fatal(err)
		}
	}
	put(1, large)
	chunks := len(w.chunks(t))
	if chunks < 2 {
		t.Fatalf("%d chunks: the document is not large", chunks)
	}
	put(2, small)
	put(3, large)
	if got := len(w.chunks(t)); got != chunks+1 {
		t.Errorf("%d chunks, want %d: the same document is kept once", got, chunks+1)
	}
	other := w.open() // which has read nothing yet
	head, doc, err := other.Head(ctx)
	if err != nil || head.Version != 3 || doc.Digest() != large.Digest() {
		t.Errorf("version %d (%v), want 3 with the large document", head.Version, err)
	}
	for version, want := range map[int64]*policy.Document{1: large, 2: small} {
		if _, doc, err := other.Policy(ctx, version); err != nil || doc.Digest() != want.Digest() {
			t.Errorf("version %d is another document (%v)", version, err)
		}
	}

	// A document that lacks a chunk is damaged, not smaller.
	key := map[string]types.AttributeValue{"sk": &types.AttributeValueMemberS{Value: "chunk"}}
	for _, pk := range w.chunks(t) {
		key["pk"] = &types.AttributeValueMemberS{Value: pk}
		if _, err := w.client().DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &w.table, Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	_, doc, err = w.open().Head(ctx)
	wantErr(t, err, broker.ErrUnavailable, "document")
	if doc != nil {
		t.Error("part of the document was returned")
	}
}

// The Trail of a version that is superseded before it was settled is pending
// under its own version, and is settled there; nothing of it is lost, whatever
// comes between.
func TestDynamoDBSupersededTrails(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx := t.Context()
	put := func(version int64) {
		t.Helper()
		doc := numbered(version)
		trail := broker.Trail{Events: []broker.Event{{ID: "01A" + strconv.FormatInt(version, 10)}}}
		head := broker.Head{Version: version, Digest: doc.Digest(), Author: "ops", Trail: trail}
		if err := s.PutPolicy(ctx, head, doc); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(version string, settlement broker.Settlement) {
		t.Helper()
		if err := s.Settle(ctx, broker.Ref{Kind: broker.RefPolicy, Key: version}, settlement); err != nil {
			t.Fatal(err)
		}
	}
	pending := func(want ...string) {
		t.Helper()
		var got []string
		all, err := s.Pending(ctx, time.Unix(1, 0), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			got = append(got, p.Ref.Key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pending (-want +got)\n%s", diff)
		}
	}
	trail := func(version int64, want broker.Trail) {
		t.Helper()
		head, _, err := w.open().Policy(ctx, version)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, head.Trail); diff != "" {
			t.Errorf("version %d (-want +got)\n%s", version, diff)
		}
	}
	for version := range int64(3) {
		put(version + 1)
	}
	pending("1", "2", "3")
	settle("2", broker.Settlement{Indexed: []string{"01A2"}, Thread: "1.5"})
	pending("1", "3")
	settle("3", broker.Settlement{Indexed: []string{"01A3"}, Thread: "1.6"}) // while it is the head
	put(4)
	pending("1", "4")
	settle("1", broker.Settlement{Indexed: []string{"01A1"}})
	settle("1", broker.Settlement{Indexed: []string{"01A1"}})
	settle("4", broker.Settlement{Indexed: []string{"01A4"}})
	pending()
	trail(1, broker.Trail{})
	trail(2, broker.Trail{Thread: "1.5"})
	trail(3, broker.Trail{Thread: "1.6"})
	trail(4, broker.Trail{})
	err := s.Settle(ctx, broker.Ref{Kind: broker.RefPolicy, Key: "5"}, broker.Settlement{})
	wantErr(t, err, broker.ErrNotFound, `policy "5"`)
}

// A version that is superseded while it is read is found in the history.
func TestDynamoDBSupersededWhileRead(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx := t.Context()
	put := func(s *store.DynamoDB, version int64) error {
		doc := numbered(version)
		return s.PutPolicy(ctx, broker.Head{Version: version, Digest: doc.Digest()}, doc)
	}
	if err := errors.Join(put(s, 1), put(s, 2)); err != nil {
		t.Fatal(err)
	}
	other := w.open()
	for version := range int64(2) {
		w.first("GetItem", func(send func() (*http.Response, error)) (*http.Response, error) {
			response, err := send()
			return response, errors.Join(err, put(other, version+3))
		})
		if head, doc, err := s.Policy(ctx, version+1); err != nil || head.Version != version+1 || doc.Digest() != numbered(version+1).Digest() {
			t.Errorf("version %d is %d (%v)", version+1, head.Version, err)
		}
	}
}

// A version that was written into the history by an attempt that then failed
// keeps what became of its Trail in between.
func TestDynamoDBTrailOfFailedAttempt(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx := t.Context()
	put := func(version int64) error {
		doc := numbered(version)
		return s.PutPolicy(ctx, broker.Head{Version: version, Digest: doc.Digest(), Trail: oneEvent}, doc)
	}
	if err := put(1); err != nil {
		t.Fatal(err)
	}
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op == "PutItem" && strings.Contains(c.body, `"head"`) {
			return failure(400, "AccessDeniedException"), nil
		}
		return send()
	})
	wantErr(t, put(2), broker.ErrUnavailable, "AccessDenied")
	w.meet(nil)
	ref := broker.Ref{Kind: broker.RefPolicy, Key: "1"}
	if err := s.Settle(ctx, ref, broker.Settlement{Indexed: []string{"01A"}, Thread: "1.5"}); err != nil {
		t.Fatal(err)
	}
	if err := put(2); err != nil {
		t.Fatal(err)
	}
	head, _, err := s.Policy(ctx, 1)
	if want := (broker.Trail{Thread: "1.5"}); err != nil || !cmp.Equal(head.Trail, want) {
		t.Errorf("version 1 has the trail %+v (%v), want %+v", head.Trail, err, want)
	}
	pending, err := s.Pending(ctx, time.Unix(1, 0), 10)
	if err != nil || len(pending) != 1 || pending[0].Ref.Key != "2" {
		t.Errorf("%+v is pending (%v), want version 2 alone", pending, err)
	}
}

// While versions are settled, new ones come: neither undoes the other.
func TestDynamoDBPolicySettledMeanwhile(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx := t.Context()
	const versions = 10
	done := make(chan error, 1)
	go func() {
		for version := int64(1); version <= versions; version++ {
			doc := numbered(version)
			if err := s.PutPolicy(ctx, broker.Head{Version: version, Digest: doc.Digest(), Trail: oneEvent}, doc); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	sweeper, settled := w.open(), map[string]bool{}
	for writing := true; writing || len(settled) < versions; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			writing = false
		default:
		}
		pending, err := sweeper.Pending(ctx, time.Unix(1, 0), versions)
		if err != nil {
			t.Fatal(err)
		}
		if !writing && len(pending) == 0 {
			break
		}
		for _, p := range pending {
			if settled[p.Ref.Key] {
				t.Errorf("version %s came back", p.Ref.Key)
			}
			err := sweeper.Settle(ctx, p.Ref, broker.Settlement{Indexed: []string{"01A"}})
			if err != nil && !errors.Is(err, broker.ErrNotFound) {
				t.Fatal(err)
			}
			settled[p.Ref.Key] = true
		}
	}
	if len(settled) != versions {
		t.Errorf("%d versions were pending, want %d", len(settled), versions)
	}
}
