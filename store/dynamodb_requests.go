package store

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// Request implements broker.Ledger.
func (s *DynamoDB) Request(ctx context.Context, id string) (broker.Request, error) {
	return requestShape.get(ctx, s, id, requestKey(id))
}

// PutRequest implements broker.Ledger.
func (s *DynamoDB) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	return requestShape.put(ctx, s, r)
}

// OpenRequests implements broker.RequestBook. The index tells where to look,
// and may lag; each Request that it names is as it is now.
func (s *DynamoDB) OpenRequests(ctx context.Context, user policy.UserName, now time.Time) ([]broker.Request, error) {
	doing := "reading the open requests of " + string(user)
	if user == "" {
		return nil, nil
	}
	var keys []key
	in := &dynamodb.QueryInput{
		IndexName:                 aws.String(requestsIndex),
		KeyConditionExpression:    aws.String("holder = :user"),
		ExpressionAttributeValues: attributes{":user": text(string(user))},
	}
	err := s.query(ctx, doing, in, func(attrs attributes) (bool, error) {
		keys = append(keys, keyOf(attrs))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	items, err := s.getItems(ctx, doing, keys...)
	if err != nil {
		return nil, err
	}
	var found []broker.Request
	for k, attrs := range items {
		r, err := requestShape.read(strings.TrimPrefix(k.pk, requestPrefix), attrs)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return openOf(found, user, now), nil
}

// requestLookup puts a Request into the index of open Requests, as long as it
// has a holder.
func requestLookup(r broker.Request) attributes {
	user := holder(r)
	if user == "" {
		return nil
	}
	return attributes{"holder": text(string(user)), "asked": integer(r.AskedAt.UnixMilli())}
}
