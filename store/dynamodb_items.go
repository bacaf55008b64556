package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

const (
	// batchKeys is how many keys a BatchGetItem takes.
	batchKeys = 100
	// batchTries is how often the keys that DynamoDB left unprocessed are asked
	// for again, the first time after batchPause and then after twice as long.
	batchTries = 6
	batchPause = 20 * time.Millisecond
)

// A shape says how aggregates of type T are kept as items: as JSON in the
// attribute "body", guarded by "version", with the "mark" of the last Put.
type shape[T any] struct {
	kind    string
	key     func(T) key
	name    func(T) string // for people; empty if a part of the key is missing
	version func(*T) *int64
	due     func(T) (time.Time, bool) // when the aggregate needs attention; nil: never
	lookup  func(T) attributes        // what else an index finds it by; nil: none does
}

var requestShape = shape[broker.Request]{
	kind:    "request",
	key:     func(r broker.Request) key { return requestKey(r.ID) },
	name:    func(r broker.Request) string { return r.ID },
	version: func(r *broker.Request) *int64 { return &r.Version },
	due:     func(r broker.Request) (time.Time, bool) { return r.Trail.Due() },
	lookup:  requestLookup,
}

var userShape = shape[broker.User]{
	kind:    "user",
	key:     func(u broker.User) key { return userKey(u.Name) },
	name:    func(u broker.User) string { return string(u.Name) },
	version: func(u *broker.User) *int64 { return &u.Version },
	due:     func(u broker.User) (time.Time, bool) { return u.Trail.Due() },
}

var identityShape = shape[broker.Identity]{
	kind: "identity",
	key:  func(i broker.Identity) key { return identityKey(i.Slack) },
	name: func(i broker.Identity) string {
		if i.Slack.Team == "" || i.Slack.User == "" {
			return ""
		}
		return i.Slack.String()
	},
	version: func(i *broker.Identity) *int64 { return &i.Version },
}

var fenceShape = shape[broker.Fence]{
	kind:    "fence",
	key:     func(f broker.Fence) key { return fenceKey(f.RoleARN) },
	name:    func(f broker.Fence) string { return f.RoleARN },
	version: func(f *broker.Fence) *int64 { return &f.Version },
}

var paceShape = shape[broker.Pace]{
	kind:    "pace",
	key:     func(p broker.Pace) key { return paceKey(p.Role) },
	name:    func(p broker.Pace) string { return string(p.Role) },
	version: func(p *broker.Pace) *int64 { return &p.Version },
}

var proposalShape = shape[broker.Proposal]{
	kind:    "proposal",
	key:     func(p broker.Proposal) key { return proposalKey(p.ID) },
	name:    func(p broker.Proposal) string { return p.ID },
	version: func(p *broker.Proposal) *int64 { return &p.Version },
	due:     func(p broker.Proposal) (time.Time, bool) { return p.Trail.Due() },
}

// put writes item if what is stored has item's version, and returns it with
// its new version. Otherwise it returns what is stored, with
// broker.ErrConflict. A write that the SDK repeats because the answer was lost
// finds its own mark, and has succeeded.
func (sh *shape[T]) put(ctx context.Context, s *DynamoDB, item T) (T, error) {
	mark := s.mark()
	stored, by, err := sh.write(ctx, s, item, mark)
	if errors.Is(err, broker.ErrConflict) && by == mark {
		err = nil
	}
	return stored, err
}

// write writes item with a mark if what is stored has item's version. It
// returns what is then stored, and the mark of that.
func (sh *shape[T]) write(ctx context.Context, s *DynamoDB, item T, mark string) (stored T, by string, err error) {
	name, version := sh.name(item), sh.version(&item)
	if name == "" {
		return stored, "", invalid(sh.kind, name, "it has no key")
	}
	body, err := encode(sh.kind, name, item)
	if err != nil {
		return stored, "", err
	}
	k := sh.key(item)
	attrs := k.item()
	attrs["version"], attrs["mark"], attrs["body"] = integer(*version+1), text(mark), text(body)
	if sh.due != nil {
		if at, ok := sh.due(item); ok {
			attrs["outbox"], attrs["due"] = text(outbox(k)), integer(at.UnixMilli())
		}
	}
	if sh.lookup != nil {
		maps.Copy(attrs, sh.lookup(item))
	}
	in := &dynamodb.PutItemInput{
		TableName: &s.table, Item: attrs, ConditionExpression: aws.String("attribute_not_exists(pk)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if *version != 0 {
		in.ConditionExpression = aws.String("version = :before")
		in.ExpressionAttributeValues = attributes{":before": integer(*version)}
	}
	_, err = s.client.PutItem(ctx, in)
	found, refused := conditionFailed(err)
	switch {
	case err == nil:
		*version++
		return item, mark, nil
	case !refused:
		return stored, "", s.failed("writing "+sh.kind+" "+name, err)
	case found != nil:
		if stored, err = sh.read(name, found); err != nil {
			return stored, "", err
		}
	}
	return stored, textOf(found["mark"]), conflict(sh.kind, name)
}

// get reads the item with the key.
func (sh *shape[T]) get(ctx context.Context, s *DynamoDB, name string, k key) (T, error) {
	var none T
	found, err := s.getItem(ctx, sh.kind, name, k)
	if err != nil {
		return none, err
	}
	return sh.read(name, found)
}

// read puts together what an item holds.
func (sh *shape[T]) read(name string, attrs attributes) (T, error) {
	var item, none T
	version, ok := integerOf(attrs["version"])
	if !ok {
		return none, damaged(sh.kind, name)
	}
	if err := decode(sh.kind, name, []byte(textOf(attrs["body"])), &item); err != nil {
		return none, err
	}
	*sh.version(&item) = version
	return item, nil
}

// joined puts together what was found beside others, nothing if nothing was.
func (sh *shape[T]) joined(name string, attrs attributes) (found T, err error) {
	if attrs == nil {
		return found, nil
	}
	return sh.read(name, attrs)
}

// list calls yield for each item of a partition, until it returns false. What
// follows prefix in the second part of the key is the item's name. Each page,
// of 1 MB at most, is as it is when it is read.
func (sh *shape[T]) list(ctx context.Context, s *DynamoDB, partition, prefix string, yield func(T) bool) error {
	in := &dynamodb.QueryInput{
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: attributes{":pk": text(partition)},
		ConsistentRead:            aws.Bool(true),
	}
	return s.query(ctx, "reading "+sh.kind+"s", in, func(attrs attributes) (bool, error) {
		item, err := sh.read(strings.TrimPrefix(keyOf(attrs).sk, prefix), attrs)
		if err != nil {
			return false, err
		}
		return yield(item), nil
	})
}

// create writes an item unless there is one with its key already, and says
// whether it did. A write that the SDK repeats because the answer was lost may
// say that it did not.
func (s *DynamoDB) create(ctx context.Context, kind, name string, attrs attributes) (created bool, err error) {
	_, err = s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.table, Item: attrs, ConditionExpression: aws.String("attribute_not_exists(pk)"),
	})
	if err == nil {
		return true, nil
	}
	if _, there := conditionFailed(err); there {
		return false, nil
	}
	return false, s.failed("writing "+kind+" "+name, err)
}

// getItem reads the item with the key as it is now. What is not there is
// broker.ErrNotFound.
func (s *DynamoDB) getItem(ctx context.Context, kind, name string, k key) (attributes, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &s.table, Key: k.item(), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, s.failed("reading "+kind+" "+name, err)
	}
	if out.Item == nil {
		return nil, notFound(kind, name)
	}
	return out.Item, nil
}

// getItems reads the items with the keys, which must differ, each as it is now.
// They need not be of one instant. What is not there is left out.
func (s *DynamoDB) getItems(ctx context.Context, doing string, keys ...key) (map[key]attributes, error) {
	found := make(map[key]attributes, len(keys))
	for len(keys) > 0 {
		page := keys[:min(len(keys), batchKeys)]
		keys = keys[len(page):]
		if err := s.getPage(ctx, doing, page, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// addItems reads the items with the keys that found does not have yet, and adds
// them. For what is not there it has nil.
func (s *DynamoDB) addItems(ctx context.Context, doing string, found map[key]attributes, keys ...key) error {
	var unread []key
	for _, k := range keys {
		if _, read := found[k]; !read {
			found[k] = nil
			unread = append(unread, k)
		}
	}
	more, err := s.getItems(ctx, doing, unread...)
	maps.Copy(found, more)
	return err
}

// getPage adds the items with the keys, at most 100, to found.
func (s *DynamoDB) getPage(ctx context.Context, doing string, keys []key, found map[key]attributes) error {
	wanted := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, k := range keys {
		wanted.Keys = append(wanted.Keys, k.item())
	}
	for try := range batchTries {
		if try > 0 {
			if err := wait(ctx, batchPause<<(try-1)); err != nil {
				return unavailable(doing, err)
			}
		}
		out, err := s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{s.table: wanted},
		})
		if err != nil {
			return s.failed(doing, err)
		}
		for _, item := range out.Responses[s.table] {
			found[keyOf(item)] = item
		}
		if wanted.Keys = out.UnprocessedKeys[s.table].Keys; len(wanted.Keys) == 0 {
			return nil
		}
	}
	return unavailable(doing, fmt.Errorf("DynamoDB left %d items unread, %d times in a row", len(wanted.Keys), batchTries))
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// query calls yield for every item that the input chooses, a page at a time,
// until yield returns false.
func (s *DynamoDB) query(ctx context.Context, doing string, in *dynamodb.QueryInput, yield func(attributes) (bool, error)) error {
	in.TableName = &s.table
	for {
		out, err := s.client.Query(ctx, in)
		if err != nil {
			return s.failed(doing, err)
		}
		for _, item := range out.Items {
			if more, err := yield(item); err != nil || !more {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// Proposal implements broker.ProposalBook.
func (s *DynamoDB) Proposal(ctx context.Context, id string) (broker.Proposal, error) {
	return proposalShape.get(ctx, s, id, proposalKey(id))
}

// PutProposal implements broker.ProposalBook.
func (s *DynamoDB) PutProposal(ctx context.Context, p broker.Proposal) (broker.Proposal, error) {
	return proposalShape.put(ctx, s, p)
}

// Proposals implements broker.ProposalBook.
func (s *DynamoDB) Proposals(ctx context.Context, yield func(broker.Proposal) bool) error {
	return proposalShape.list(ctx, s, proposalPartition, proposalPrefix, yield)
}

// Fence implements broker.FenceBook.
func (s *DynamoDB) Fence(ctx context.Context, roleARN string) (broker.Fence, error) {
	f, err := fenceShape.get(ctx, s, roleARN, fenceKey(roleARN))
	if errors.Is(err, broker.ErrNotFound) {
		return broker.Fence{}, nil
	}
	return f, err
}

// PutFence implements broker.FenceBook.
func (s *DynamoDB) PutFence(ctx context.Context, f broker.Fence) (broker.Fence, error) {
	return fenceShape.put(ctx, s, f)
}

// Pace implements broker.PaceBook.
func (s *DynamoDB) Pace(ctx context.Context, role policy.RoleName) (broker.Pace, error) {
	p, err := paceShape.get(ctx, s, string(role), paceKey(role))
	if errors.Is(err, broker.ErrNotFound) {
		return broker.Pace{}, nil
	}
	return p, err
}

// PutPace implements broker.PaceBook.
func (s *DynamoDB) PutPace(ctx context.Context, p broker.Pace) (broker.Pace, error) {
	return paceShape.put(ctx, s, p)
}
