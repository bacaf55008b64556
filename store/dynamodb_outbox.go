package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// outboxes is over how many partitions of the index "due" the aggregates that
// need attention are spread. Each takes 1,000 writes a second.
const outboxes = 4

// errChanging says that an item was never at rest.
var errChanging = fmt.Errorf("it changed %d times meanwhile", settleTries)

// outbox names the partition of the index "due" for an item.
func outbox(k key) string {
	h := fnv.New32a()
	h.Write([]byte(k.pk + "/" + k.sk))
	return outboxName(int(h.Sum32() % outboxes))
}

func outboxName(n int) string { return "outbox." + strconv.Itoa(n) }

// A candidate is an item that an index named: what it is now, the item says.
type candidate struct {
	key
	at int64 // what the index orders by
}

// Pending implements broker.Outbox. The index tells where to look, and may lag;
// what is returned is as it is now.
func (s *DynamoDB) Pending(ctx context.Context, now time.Time, limit int) ([]broker.Pending, error) {
	const doing = "reading what is pending"
	if limit <= 0 {
		return nil, nil
	}
	// Some more than asked for: a few that are damaged are not in the way.
	candidates, err := s.dueCandidates(ctx, doing, now, limit+damagedSpare)
	if err != nil {
		return nil, err
	}
	keys := make([]key, len(candidates))
	for i, c := range candidates {
		keys[i] = c.key
	}
	found, err := s.getItems(ctx, doing, keys...)
	if err != nil {
		return nil, err
	}
	var pending []broker.Pending
	var damaged []error
	for _, k := range keys {
		if found[k] == nil {
			continue
		}
		more, err := appendPending(pending, k, found[k])
		if err != nil {
			damaged = append(damaged, err)
			continue
		}
		pending = more
	}
	dueAt := func(p broker.Pending) int64 {
		at, _ := p.Trail.Due()
		return at.UnixMilli()
	}
	pending = slices.DeleteFunc(pending, func(p broker.Pending) bool {
		_, ok := p.Trail.Due()
		return !ok || dueAt(p) > now.UnixMilli()
	})
	slices.SortStableFunc(pending, func(a, b broker.Pending) int { return cmp.Compare(dueAt(a), dueAt(b)) })
	return pending[:min(len(pending), limit)], errors.Join(damaged...)
}

// damagedSpare is how many damaged items may be due without being in the way.
const damagedSpare = 50

// Hold implements broker.Outbox. The versions of the Policy that have a Trail
// are one item: who holds one, until the same moment, holds them all.
func (s *DynamoDB) Hold(ctx context.Context, ref broker.Ref, now, until time.Time) (bool, error) {
	var k key
	switch ref.Kind {
	case broker.RefRequest:
		k = requestKey(ref.Key)
	case broker.RefUser:
		k = userKey(policy.UserName(ref.Key))
	case broker.RefProposal:
		k = proposalKey(ref.Key)
	case broker.RefPolicy:
		k = headKey
	default:
		return false, invalid(string(ref.Kind), ref.Key, "nothing of that kind has a trail")
	}
	values := attributes{":now": integer(now.UnixMilli()), ":until": integer(until.UnixMilli())}
	condition := "due <= :now"
	if ref.Kind == broker.RefPolicy {
		condition += " OR due = :until"
	}
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.table, Key: k.item(),
		UpdateExpression: aws.String("SET due = :until"), ConditionExpression: aws.String(condition), ExpressionAttributeValues: values,
	})
	if _, refused := conditionFailed(err); refused {
		return false, nil
	}
	if err != nil {
		return false, s.failed("holding "+string(ref.Kind)+" "+ref.Key, err)
	}
	return true, nil
}

// dueCandidates asks the index for what is due by now, the longest due first.
func (s *DynamoDB) dueCandidates(ctx context.Context, doing string, now time.Time, limit int) ([]candidate, error) {
	var lists [outboxes][]candidate
	group, ctx := errgroup.WithContext(ctx)
	for i := range outboxes {
		group.Go(func() error {
			in := &dynamodb.QueryInput{
				IndexName:                 aws.String(dueIndex),
				KeyConditionExpression:    aws.String("outbox = :outbox AND due <= :now"),
				ExpressionAttributeValues: attributes{":outbox": text(outboxName(i)), ":now": integer(now.UnixMilli())},
				Limit:                     aws.Int32(int32(min(limit, 1000))),
			}
			return s.query(ctx, doing, in, func(attrs attributes) (bool, error) {
				at, _ := integerOf(attrs["due"])
				lists[i] = append(lists[i], candidate{keyOf(attrs), at})
				return len(lists[i]) < limit, nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	candidates := slices.Concat(lists[:]...)
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.at, b.at) })
	return candidates[:min(len(candidates), limit)], nil
}

// appendPending adds the Trails that an item carries.
func appendPending(pending []broker.Pending, k key, attrs attributes) ([]broker.Pending, error) {
	add := func(kind broker.RefKind, name string, t broker.Trail) {
		pending = append(pending, broker.Pending{Ref: broker.Ref{Kind: kind, Key: name}, Trail: t})
	}
	switch k.pk {
	case policyPartition:
		h, err := headShape.read(headName, attrs)
		if err != nil {
			return nil, err
		}
		for _, version := range slices.Sorted(maps.Keys(h.Earlier)) {
			add(broker.RefPolicy, strconv.FormatInt(version, 10), h.Earlier[version])
		}
		add(broker.RefPolicy, strconv.FormatInt(h.Version, 10), h.Trail)
	case userPartition:
		u, err := userShape.read(strings.TrimPrefix(k.sk, userPrefix), attrs)
		if err != nil {
			return nil, err
		}
		add(broker.RefUser, string(u.Name), u.Trail)
	case proposalPartition:
		p, err := proposalShape.read(strings.TrimPrefix(k.sk, proposalPrefix), attrs)
		if err != nil {
			return nil, err
		}
		add(broker.RefProposal, p.ID, p.Trail)
	default:
		r, err := requestShape.read(strings.TrimPrefix(k.pk, requestPrefix), attrs)
		if err != nil {
			return nil, err
		}
		add(broker.RefRequest, r.ID, r.Trail)
	}
	return pending, nil
}

// Settle implements broker.Outbox. An aggregate that does not exist is
// broker.ErrNotFound. One that changes again and again, 100 times in a row, is
// broker.ErrUnavailable: nothing was settled.
func (s *DynamoDB) Settle(ctx context.Context, ref broker.Ref, settlement broker.Settlement) error {
	switch ref.Kind {
	case broker.RefRequest:
		return requestShape.settle(ctx, s, ref, requestKey(ref.Key), func(r *broker.Request) error {
			r.Trail = settlement.Apply(r.Trail)
			return nil
		})
	case broker.RefUser:
		return userShape.settle(ctx, s, ref, userKey(policy.UserName(ref.Key)), func(u *broker.User) error {
			u.Trail = settlement.Apply(u.Trail)
			return nil
		})
	case broker.RefProposal:
		return proposalShape.settle(ctx, s, ref, proposalKey(ref.Key), func(p *broker.Proposal) error {
			p.Trail = settlement.Apply(p.Trail)
			return nil
		})
	case broker.RefPolicy:
		version, err := strconv.ParseInt(ref.Key, 10, 64)
		if err != nil {
			return invalid("policy", ref.Key, "its key is not a version")
		}
		return headShape.settle(ctx, s, ref, headKey, func(h *policyHead) error { return h.settle(version, settlement) })
	default:
		return invalid(string(ref.Kind), ref.Key, "nothing of that kind has a trail")
	}
}

// settle applies change to the item with the key, however often it changes
// meanwhile. The mark of the last Put stays on the item.
func (sh *shape[T]) settle(ctx context.Context, s *DynamoDB, ref broker.Ref, k key, change func(*T) error) error {
	attrs, err := s.getItem(ctx, sh.kind, ref.Key, k)
	if err != nil {
		return err
	}
	item, err := sh.read(ref.Key, attrs)
	if err != nil {
		return err
	}
	mark := textOf(attrs["mark"])
	for range settleTries {
		if err := change(&item); err != nil {
			return err
		}
		item, mark, err = sh.write(ctx, s, item, mark)
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return unavailable("settling "+sh.kind+" "+ref.Key, errChanging)
}

// settle applies a settlement to the Trail of a version. One that h no longer
// carries was settled before.
func (h *policyHead) settle(version int64, settlement broker.Settlement) error {
	if version < 1 || version > h.Version {
		return notFound("policy", strconv.FormatInt(version, 10))
	}
	if version == h.Version {
		h.Trail = settlement.Apply(h.Trail)
	} else if t, ok := h.Earlier[version]; ok {
		h.Earlier[version] = settlement.Apply(t)
	}
	return nil
}
