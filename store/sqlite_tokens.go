//go:build !nosqlite

package store

import (
	"context"
	"database/sql"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// identifyTokenStatement reads the User that a Token's ID leads to, the User's
// owner and Identity, and the head of the Policy. It always returns one row,
// with NULL for what does not exist.
const identifyTokenStatement = `
	SELECT u.name, u.version, u.body, o.version, o.body, i.version, i.body, p.version, p.digest
	FROM (SELECT 1)
	LEFT JOIN tokens t ON t.id = ?
	LEFT JOIN users u ON u.name = t.user
	LEFT JOIN users o ON o.name = u.owner
	LEFT JOIN identities i ON i.team = u.team AND i.person = u.person
	LEFT JOIN policies p ON p.version = (SELECT max(version) FROM policies)`

// nameTokenStatement changes one row, unless the Token is another User's.
const nameTokenStatement = `
	INSERT INTO tokens (id, user) VALUES (?, ?)
	ON CONFLICT (id) DO UPDATE SET user = excluded.user WHERE user = excluded.user`

// IdentifyToken implements broker.TokenBook. One statement reads everything, so
// that all of it is of one instant.
func (s *SQLite) IdentifyToken(ctx context.Context, id string) (broker.Facts, error) {
	var userName sql.Null[string]
	var user, owner, identity joined
	var head joinedHead
	err := s.reader.QueryRowContext(ctx, identifyTokenStatement, id).Scan(&userName,
		&user.version, &user.body, &owner.version, &owner.body, &identity.version, &identity.body, &head.version, &head.digest)
	if err != nil {
		return broker.Facts{}, unavailable("identifying token "+id, err)
	}
	var facts broker.Facts
	u, err := users.joined(userName.V, user)
	if err != nil {
		return broker.Facts{}, err
	}
	if hasToken(u, id) {
		facts.User = u
		if facts.Owner, err = users.joined(string(u.Owner), owner); err != nil {
			return broker.Facts{}, err
		}
		if facts.Identity, err = identities.joined(u.Slack.String(), identity); err != nil {
			return broker.Facts{}, err
		}
	}
	return s.withPolicy(ctx, facts, head)
}

// NameToken implements broker.TokenBook. An ID or a User without a name is
// broker.ErrInvalid.
func (s *SQLite) NameToken(ctx context.Context, id string, user policy.UserName) error {
	if id == "" || user == "" {
		return invalid("token", id, "it needs an ID and a User")
	}
	named, err := s.exec(ctx, "naming token "+id, nameTokenStatement, id, string(user))
	if err == nil && named == 0 {
		err = conflict("token", id)
	}
	return err
}
