package store

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/starback/starback/broker"
)

// Walk implements Store. It reads the whole table once, each page as it then
// is.
func (s *DynamoDB) Walk(ctx context.Context, v Visitor) error {
	in := &dynamodb.ScanInput{TableName: &s.table, ConsistentRead: aws.Bool(true)}
	for {
		out, err := s.client.Scan(ctx, in)
		if err != nil {
			return s.failed("reading everything", err)
		}
		for _, attrs := range out.Items {
			if err := v.show(attrs); err != nil {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// show shows v an item, if it is of a kind that v looks at.
func (v Visitor) show(attrs attributes) error {
	k := keyOf(attrs)
	switch {
	case k.pk == userPartition:
		return show(strings.TrimPrefix(k.sk, userPrefix), attrs, userShape.read, v.User)
	case k.pk == proposalPartition:
		return show(strings.TrimPrefix(k.sk, proposalPrefix), attrs, proposalShape.read, v.Proposal)
	case strings.HasPrefix(k.pk, identityPrefix):
		return show(strings.TrimPrefix(k.pk, identityPrefix), attrs, identityShape.read, v.Identity)
	case strings.HasPrefix(k.pk, requestPrefix):
		return show(strings.TrimPrefix(k.pk, requestPrefix), attrs, requestShape.read, v.Request)
	case strings.HasPrefix(k.pk, fencePrefix):
		return show(strings.TrimPrefix(k.pk, fencePrefix), attrs, fenceShape.read, v.Fence)
	case strings.HasPrefix(k.pk, pacePrefix):
		return show(strings.TrimPrefix(k.pk, pacePrefix), attrs, paceShape.read, v.Pace)
	case strings.HasPrefix(k.pk, eventPrefix):
		return show(strings.TrimPrefix(k.pk, eventPrefix), attrs, readEvent, v.Event)
	default:
		return nil
	}
}

// show reads an item and calls visit for it, unless that is nil.
func show[T any](name string, attrs attributes, read func(string, attributes) (T, error), visit func(T) error) error {
	if visit == nil {
		return nil
	}
	item, err := read(name, attrs)
	if err != nil {
		return err
	}
	return visit(item)
}

// readEvent puts together what an Event's item holds.
func readEvent(id string, attrs attributes) (broker.Event, error) {
	var e, none broker.Event
	if err := decode("event", id, []byte(textOf(attrs["body"])), &e); err != nil {
		return none, err
	}
	return e, nil
}
