package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// Identify implements broker.Ledger. Where the User is the one that the SlackID
// had the last time, it is one BatchGetItem; otherwise a GetItem follows. Each
// part is as it is now; they need not be of one instant.
func (s *DynamoDB) Identify(ctx context.Context, id broker.SlackID) (broker.Facts, error) {
	keys := []key{identityKey(id), headKey}
	hint, hinted := s.hints.Get(id)
	if hinted {
		keys = append(keys, userKey(hint))
	}
	found, err := s.getItems(ctx, "identifying "+id.String(), keys...)
	if err != nil {
		return broker.Facts{}, err
	}
	var facts broker.Facts
	if facts.Identity, err = identityShape.joined(id.String(), found[identityKey(id)]); err != nil {
		return broker.Facts{}, err
	}
	if facts.User, err = s.identified(ctx, id, facts.Identity.User, found); err != nil {
		return broker.Facts{}, err
	}
	return s.withPolicy(ctx, facts, found[headKey])
}

// withPolicy adds the Policy to facts that were read together with its head.
func (s *DynamoDB) withPolicy(ctx context.Context, facts broker.Facts, attrs attributes) (broker.Facts, error) {
	if attrs == nil {
		return facts, nil
	}
	head, err := headShape.read(headName, attrs)
	if err != nil {
		return broker.Facts{}, err
	}
	doc, err := s.document(ctx, head.policyVersion)
	if err != nil {
		return broker.Facts{}, err
	}
	facts.Policy, facts.PolicyVersion = doc, head.Version
	return facts, nil
}

// identified returns the User of the name that the Identity of id gives, from
// what was read with it or, if that was another one, by reading it now. It is
// zero if there is none.
func (s *DynamoDB) identified(ctx context.Context, id broker.SlackID, name policy.UserName, found map[key]attributes) (broker.User, error) {
	if name == "" {
		s.hints.Remove(id)
		return broker.User{}, nil
	}
	if attrs := found[userKey(name)]; attrs != nil {
		return userShape.read(string(name), attrs)
	}
	s.hints.Add(id, name)
	u, err := s.User(ctx, name)
	if errors.Is(err, broker.ErrNotFound) {
		return broker.User{}, nil
	}
	return u, err
}

// User implements broker.Registry.
func (s *DynamoDB) User(ctx context.Context, name policy.UserName) (broker.User, error) {
	return userShape.get(ctx, s, string(name), userKey(name))
}

// PutUser implements broker.Registry. The look-up item of the address is
// written first. It stays when the address changes: whoever follows it looks at
// the User.
func (s *DynamoDB) PutUser(ctx context.Context, u broker.User) (broker.User, error) {
	if u.Name != "" && u.Email != "" && !u.Removed {
		_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &s.table, Item: emailKey(u.Email, string(u.Name)).item(),
		})
		if err != nil {
			return broker.User{}, s.failed("writing the look-up of user "+string(u.Name), err)
		}
	}
	return userShape.put(ctx, s, u)
}

// Users implements broker.Registry. Every User is as of when its page was read.
func (s *DynamoDB) Users(ctx context.Context, yield func(broker.User) bool) error {
	return userShape.list(ctx, s, userPartition, userPrefix, yield)
}

// UsersByEmail implements broker.IdentityBook. The Users are in order of name.
// Whoever had the address at some time is looked at as they are now.
func (s *DynamoDB) UsersByEmail(ctx context.Context, email string) ([]broker.User, error) {
	const doing = "reading users by address"
	if email == "" {
		return nil, nil
	}
	var keys []key
	in := &dynamodb.QueryInput{
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: attributes{":pk": text(emailPartition(email))},
		ConsistentRead:            aws.Bool(true),
	}
	err := s.query(ctx, doing, in, func(attrs attributes) (bool, error) {
		keys = append(keys, userKey(policy.UserName(keyOf(attrs).sk)))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	found, err := s.getItems(ctx, doing, keys...)
	if err != nil {
		return nil, err
	}
	var matching []broker.User
	for k, attrs := range found {
		u, err := userShape.read(strings.TrimPrefix(k.sk, userPrefix), attrs)
		if err != nil {
			return nil, err
		}
		if u.Email == email && !u.Removed {
			matching = append(matching, u)
		}
	}
	slices.SortFunc(matching, func(a, b broker.User) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return matching, nil
}

// Identity implements broker.IdentityBook.
func (s *DynamoDB) Identity(ctx context.Context, id broker.SlackID) (broker.Identity, error) {
	return identityShape.get(ctx, s, id.String(), identityKey(id))
}

// PutIdentity implements broker.IdentityBook.
func (s *DynamoDB) PutIdentity(ctx context.Context, i broker.Identity) (broker.Identity, error) {
	return identityShape.put(ctx, s, i)
}
