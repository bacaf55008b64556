package store_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/store"
)

// An item that cannot be read is an error that names it and tells nothing of
// what is in it.
func TestDynamoDBDamagedItem(t *testing.T) {
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	ctx := t.Context()
	if err := s.Append(ctx, []broker.Event{{ID: "01A", Actor: "bob"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutRequest(ctx, broker.Request{ID: "REQ2", User: "bob", State: broker.StatePending}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutFence(ctx, broker.Fence{RoleARN: fenceARN}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutPace(ctx, broker.Pace{Role: "prod-admin"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Enqueue(ctx, broker.Job{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	head, _, err := s.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	identify := func() error { _, err := w.open().Identify(ctx, bobID); return err }
	identifyToken := func() error { _, err := w.open().IdentifyToken(ctx, bobToken); return err }
	body := func(v types.AttributeValue) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"body": v}
	}
	damage := map[string]map[string]types.AttributeValue{
		"garbage":       body(&types.AttributeValueMemberS{Value: "hunter2"}),
		"another type":  body(&types.AttributeValueMemberN{Value: "7"}),
		"a newer field": body(&types.AttributeValueMemberS{Value: `{"hunter2":1}`}),
		"more after it": body(&types.AttributeValueMemberS{Value: `{} "hunter2"`}),
		"no body":       body(&types.AttributeValueMemberNULL{Value: true}),
		"no version":    {"version": &types.AttributeValueMemberS{Value: "hunter2"}},
	}
	for _, c := range []struct {
		pk, sk, says string
		versioned    bool
		read         map[string]func() error
	}{
		{"request#REQ1", "request", `request "REQ1"`, true, map[string]func() error{
			"Request":    func() error { _, err := s.Request(ctx, "REQ1"); return err },
			"PutRequest": func() error { _, err := s.PutRequest(ctx, broker.Request{ID: "REQ1"}); return err },
			"Pending":    func() error { _, err := s.Pending(ctx, time.Unix(1, 0), 1); return err },
			"Walk": func() error {
				return s.Walk(ctx, store.Visitor{Request: func(broker.Request) error { return nil }})
			},
		}},
		{"request#REQ2", "request", `request "REQ2"`, true, map[string]func() error{
			"OpenRequests": func() error { _, err := s.OpenRequests(ctx, "bob", time.Unix(1, 0)); return err },
		}},
		{"fence#" + fenceARN, "fence", `fence "` + fenceARN + `"`, true, map[string]func() error{
			"Fence":    func() error { _, err := s.Fence(ctx, fenceARN); return err },
			"PutFence": func() error { _, err := s.PutFence(ctx, broker.Fence{RoleARN: fenceARN}); return err },
			"Walk": func() error {
				return s.Walk(ctx, store.Visitor{Fence: func(broker.Fence) error { return nil }})
			},
		}},
		{"pace#prod-admin", "pace", `pace "prod-admin"`, true, map[string]func() error{
			"Pace":    func() error { _, err := s.Pace(ctx, "prod-admin"); return err },
			"PutPace": func() error { _, err := s.PutPace(ctx, broker.Pace{Role: "prod-admin"}); return err },
			"Walk": func() error {
				return s.Walk(ctx, store.Visitor{Pace: func(broker.Pace) error { return nil }})
			},
		}},
		{"user", "name#bob", `user "bob"`, true, map[string]func() error{
			"Users":         func() error { return s.Users(ctx, func(broker.User) bool { return true }) },
			"UsersByEmail":  func() error { _, err := s.UsersByEmail(ctx, "bob@example.com"); return err },
			"Identify":      identify,
			"IdentifyToken": identifyToken,
		}},
		{"identity#" + bobID.String(), "user#" + bobID.User, `identity "T012AB/U0789"`, true, map[string]func() error{
			"Identify": identify, "IdentifyToken": identifyToken,
		}},
		{"policy", "head", `policy "head"`, true, map[string]func() error{"Identify": identify, "IdentifyToken": identifyToken}},
		{"proposal", "id#01P", `proposal "01P"`, true, map[string]func() error{
			"Proposal":  func() error { _, err := s.Proposal(ctx, "01P"); return err },
			"Proposals": func() error { return s.Proposals(ctx, func(broker.Proposal) bool { return true }) },
			"Settle": func() error {
				return s.Settle(ctx, broker.Ref{Kind: broker.RefProposal, Key: "01P"}, broker.Settlement{})
			},
			"Walk": func() error {
				return s.Walk(ctx, store.Visitor{Proposal: func(broker.Proposal) error { return nil }})
			},
		}},
		{"event#01A", "event", `event "01A"`, false, map[string]func() error{
			"Events": func() error { _, err := s.Events(ctx, broker.EventQuery{Actor: "bob"}); return err },
		}},
	} {
		for name, attrs := range damage {
			if !c.versioned && name == "no version" {
				continue
			}
			t.Run(c.says+"/"+name, func(t *testing.T) {
				restore := w.change(t, c.pk, c.sk, attrs)
				defer restore()
				for name, read := range c.read {
					err := read()
					wantErr(t, err, broker.ErrUnavailable, c.says)
					if strings.Contains(err.Error(), "hunter2") {
						t.Errorf("%s: the error tells what is stored: %v", name, err)
					}
				}
			})
		}
	}
	t.Run("token", func(t *testing.T) {
		defer w.change(t, "token#"+bobToken, "token", map[string]types.AttributeValue{"user": &types.AttributeValueMemberN{Value: "7"}})()
		wantErr(t, identifyToken(), broker.ErrUnavailable, `token "`+bobToken)
	})
	t.Run("job", func(t *testing.T) {
		defer w.change(t, "job#a", "job", damage["garbage"])()
		_, _, err := s.Claim(ctx, time.Unix(1, 0), time.Minute)
		wantErr(t, err, broker.ErrUnavailable, `job "a"`)
	})
	t.Run("document", func(t *testing.T) {
		chunk := w.chunks(t)[0]
		defer w.change(t, chunk, "chunk", map[string]types.AttributeValue{"data": &types.AttributeValueMemberB{Value: []byte("hunter2")}})()
		_, _, err := w.open().Head(ctx)
		wantErr(t, err, broker.ErrUnavailable, `document "`+head.Digest)
	})
	if _, _, err := w.open().Head(ctx); err != nil {
		t.Errorf("after all was restored: %v", err)
	}
}

// client returns a client that the wire does not watch.
func (w *wire) client() *dynamodb.Client {
	return dynamodb.NewFromConfig(w.cfg, func(o *dynamodb.Options) { o.HTTPClient = w.next })
}

// change changes attributes of an item, and returns what undoes it.
func (w *wire) change(t *testing.T, pk, sk string, attrs map[string]types.AttributeValue) (restore func()) {
	t.Helper()
	client := w.client()
	k := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberS{Value: sk}}
	was, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &w.table, Key: k})
	if err != nil || was.Item == nil {
		t.Fatalf("there is no item %s %s to damage (%v)", pk, sk, err)
	}
	put := func(item map[string]types.AttributeValue) {
		t.Helper()
		if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &w.table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	changed := maps.Clone(was.Item)
	maps.Copy(changed, attrs)
	put(changed)
	return func() { put(was.Item) }
}

// chunks returns the first parts of the keys of all chunks.
func (w *wire) chunks(t *testing.T) (keys []string) {
	t.Helper()
	client := w.client()
	pages := dynamodb.NewScanPaginator(client, &dynamodb.ScanInput{TableName: &w.table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			if pk := item["pk"].(*types.AttributeValueMemberS).Value; strings.HasPrefix(pk, "chunk#") {
				keys = append(keys, pk)
			}
		}
	}
	return keys
}
