package store

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// tokenUser is the attribute of a Token's look-up that names its User.
const tokenUser = "user"

// IdentifyToken implements broker.TokenBook. Where the ID leads to whom it led
// the last time, it is one BatchGetItem; otherwise two more follow, for the
// User and for whom the User names. Each part is as it is now; they need not be
// of one instant.
func (s *DynamoDB) IdentifyToken(ctx context.Context, id string) (broker.Facts, error) {
	doing := "identifying token " + id
	hint, _ := s.tokenHints.Get(id)
	found := map[key]attributes{}
	if err := s.addItems(ctx, doing, found, slices.Concat([]key{tokenKey(id), headKey}, hint)...); err != nil {
		return broker.Facts{}, err
	}
	user, err := s.tokenHolder(ctx, doing, id, found)
	if err != nil {
		return broker.Facts{}, err
	}
	facts := broker.Facts{User: user}
	if user.Name == "" {
		s.tokenHints.Remove(id)
		return s.withPolicy(ctx, facts, found[headKey])
	}
	keys := []key{userKey(user.Name)}
	if name := owner(user); name != "" {
		keys = append(keys, userKey(name))
	}
	if !user.Slack.IsZero() {
		keys = append(keys, identityKey(user.Slack))
	}
	s.tokenHints.Add(id, keys)
	if err := s.addItems(ctx, doing, found, keys...); err != nil {
		return broker.Facts{}, err
	}
	if facts.Owner, err = userShape.joined(string(owner(user)), found[userKey(owner(user))]); err != nil {
		return broker.Facts{}, err
	}
	if facts.Identity, err = identityShape.joined(user.Slack.String(), found[identityKey(user.Slack)]); err != nil {
		return broker.Facts{}, err
	}
	return s.withPolicy(ctx, facts, found[headKey])
}

// tokenHolder returns the User that the look-up in found leads to, from found
// or, if it is not there, by reading it now. It is zero if there is none, or
// one who has no such Token.
func (s *DynamoDB) tokenHolder(ctx context.Context, doing, id string, found map[key]attributes) (broker.User, error) {
	lookup := found[tokenKey(id)]
	if lookup == nil {
		return broker.User{}, nil
	}
	name := textOf(lookup[tokenUser])
	if name == "" {
		return broker.User{}, damaged("token", id)
	}
	k := userKey(policy.UserName(name))
	if err := s.addItems(ctx, doing, found, k); err != nil {
		return broker.User{}, err
	}
	u, err := userShape.joined(name, found[k])
	if err != nil || !hasToken(u, id) {
		return broker.User{}, err
	}
	return u, nil
}

// NameToken implements broker.TokenBook. An ID or a User without a name is
// broker.ErrInvalid.
func (s *DynamoDB) NameToken(ctx context.Context, id string, user policy.UserName) error {
	if id == "" || user == "" {
		return invalid("token", id, "it needs an ID and a User")
	}
	attrs := tokenKey(id).item()
	attrs[tokenUser] = text(string(user))
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.table, Item: attrs, ConditionExpression: aws.String("attribute_not_exists(pk) OR #user = :user"),
		ExpressionAttributeNames:  map[string]string{"#user": tokenUser},
		ExpressionAttributeValues: attributes{":user": text(string(user))},
	})
	if _, refused := conditionFailed(err); refused {
		return conflict("token", id)
	}
	if err != nil {
		return s.failed("naming token "+id, err)
	}
	return nil
}
