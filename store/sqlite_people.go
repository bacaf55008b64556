package store

import (
	"context"
	"database/sql"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// usersPage is how many Users are read at a time.
const usersPage = 100

// The conditions by which Users are chosen.
const (
	afterName = `name > ? ORDER BY name LIMIT ?`
	byEmail   = `email = ? ORDER BY name`
)

// usersStatement reads the Users that condition chooses.
func usersStatement(condition string) string {
	return `SELECT name, version, body FROM users WHERE ` + condition
}

// identifyStatement reads an Identity, the User it names and the head of the
// Policy. It always returns one row, with NULL for what does not exist.
const identifyStatement = `
	SELECT i.version, i.body, u.version, u.body, p.version, p.digest
	FROM (SELECT 1)
	LEFT JOIN identities i ON i.team = ? AND i.person = ?
	LEFT JOIN users u ON u.name = i.user
	LEFT JOIN policies p ON p.version = (SELECT max(version) FROM policies)`

// Users implements broker.Registry. It holds no connection while yield runs, so
// yield may use the store.
func (s *SQLite) Users(ctx context.Context, yield func(broker.User) bool) error {
	for after := policy.UserName(""); ; {
		page, err := s.usersWhere(ctx, afterName, string(after), usersPage)
		if err != nil {
			return err
		}
		for _, u := range page {
			if !yield(u) {
				return nil
			}
		}
		if len(page) < usersPage {
			return nil
		}
		after = page[len(page)-1].Name
	}
}

// UsersByEmail implements broker.IdentityBook. The Users are in order of name.
func (s *SQLite) UsersByEmail(ctx context.Context, email string) ([]broker.User, error) {
	return s.usersWhere(ctx, byEmail, orNull(email))
}

// usersWhere returns the Users that condition chooses.
func (s *SQLite) usersWhere(ctx context.Context, condition string, args ...any) ([]broker.User, error) {
	const doing = "reading users"
	rows, err := s.reader.QueryContext(ctx, usersStatement(condition), args...)
	if err != nil {
		return nil, unavailable(doing, err)
	}
	defer rows.Close()
	var found []broker.User
	for rows.Next() {
		var name string
		var version int64
		var body []byte
		if err := rows.Scan(&name, &version, &body); err != nil {
			return nil, unavailable(doing, err)
		}
		u, err := users.item(name, version, body)
		if err != nil {
			return nil, err
		}
		found = append(found, u)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(doing, err)
	}
	return found, nil
}

// Identify implements broker.Ledger. One statement reads the Identity, the User
// it names and the head of the Policy, so that all three are of one instant. A
// document never changes under its digest, so it may be read afterwards.
func (s *SQLite) Identify(ctx context.Context, id broker.SlackID) (broker.Facts, error) {
	var identityVersion, userVersion, policyVersion sql.Null[int64]
	var identityBody, userBody []byte
	var digest sql.Null[string]
	row := s.reader.QueryRowContext(ctx, identifyStatement, id.Team, id.User)
	err := row.Scan(&identityVersion, &identityBody, &userVersion, &userBody, &policyVersion, &digest)
	if err != nil {
		return broker.Facts{}, unavailable("identifying "+id.String(), err)
	}
	var facts broker.Facts
	if identityVersion.Valid {
		if facts.Identity, err = identities.item(id.String(), identityVersion.V, identityBody); err != nil {
			return broker.Facts{}, err
		}
	}
	if userVersion.Valid {
		if facts.User, err = users.item(string(facts.Identity.User), userVersion.V, userBody); err != nil {
			return broker.Facts{}, err
		}
	}
	if policyVersion.Valid {
		facts.PolicyVersion = policyVersion.V
		if facts.Policy, err = s.headDocument(ctx, digest.V); err != nil {
			return broker.Facts{}, err
		}
	}
	return facts, nil
}
