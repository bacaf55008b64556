//go:build !nosqlite

package store

import (
	"context"
	"database/sql"

	"github.com/starback/starback/broker"
)

// listPage is how many items are read at a time: 1 MB or so of what most Users
// are.
const listPage = 1000

// The statements by which Users, Proposals and Requests are chosen.
const (
	usersAfter       = `SELECT name, version, body FROM users WHERE name > ? ORDER BY name LIMIT ?`
	usersByEmail     = `SELECT name, version, body FROM users WHERE email = ? ORDER BY name`
	proposalsAfter   = `SELECT id, version, body FROM proposals WHERE id > ? ORDER BY id LIMIT ?`
	requestsByHolder = `SELECT id, version, body FROM requests WHERE holder = ?`
)

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
	return list(ctx, s, &users, usersAfter, yield)
}

// Proposals implements broker.ProposalBook. Like Users, it leaves the store to
// yield.
func (s *SQLite) Proposals(ctx context.Context, yield func(broker.Proposal) bool) error {
	return list(ctx, s, &proposals, proposalsAfter, yield)
}

// UsersByEmail implements broker.IdentityBook. The Users are in order of name.
func (s *SQLite) UsersByEmail(ctx context.Context, email string) ([]broker.User, error) {
	return choose(ctx, s, &users, usersByEmail, orNull(email))
}

// list calls yield for each item, until it returns false. The parameters of
// statement are the key of the last item of the page before, and how many items
// a page has.
func list[T any](ctx context.Context, s *SQLite, t *table[T], statement string, yield func(T) bool) error {
	for after := ""; ; {
		page, err := choose(ctx, s, t, statement, after, listPage)
		if err != nil {
			return err
		}
		for _, item := range page {
			if !yield(item) {
				return nil
			}
		}
		if len(page) < listPage {
			return nil
		}
		after = name(t.key(page[len(page)-1]))
	}
}

// choose returns the items whose key, version and body statement reads.
func choose[T any](ctx context.Context, s *SQLite, t *table[T], statement string, args ...any) ([]T, error) {
	doing := "reading " + t.kind + "s"
	rows, err := s.reader.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, unavailable(doing, err)
	}
	defer rows.Close()
	var found []T
	for rows.Next() {
		var key string
		var version int64
		var body []byte
		if err := rows.Scan(&key, &version, &body); err != nil {
			return nil, unavailable(doing, err)
		}
		item, err := t.item(key, version, body)
		if err != nil {
			return nil, err
		}
		found = append(found, item)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(doing, err)
	}
	return found, nil
}

// A joined is an item that a statement found beside others. If it found none,
// there is no version.
type joined struct {
	version sql.Null[int64]
	body    []byte
}

// joined puts together what was found under the key, nothing if nothing was.
func (t *table[T]) joined(key string, j joined) (found T, err error) {
	if !j.version.Valid {
		return found, nil
	}
	return t.item(key, j.version.V, j.body)
}

// A joinedHead is the head of the Policy, found beside others.
type joinedHead struct {
	version sql.Null[int64]
	digest  sql.Null[string]
}

// Identify implements broker.Ledger. One statement reads the Identity, the User
// it names and the head of the Policy, so that all three are of one instant.
func (s *SQLite) Identify(ctx context.Context, id broker.SlackID) (broker.Facts, error) {
	var identity, user joined
	var head joinedHead
	err := s.reader.QueryRowContext(ctx, identifyStatement, id.Team, id.User).Scan(
		&identity.version, &identity.body, &user.version, &user.body, &head.version, &head.digest)
	if err != nil {
		return broker.Facts{}, unavailable("identifying "+id.String(), err)
	}
	var facts broker.Facts
	if facts.Identity, err = identities.joined(id.String(), identity); err != nil {
		return broker.Facts{}, err
	}
	if facts.User, err = users.joined(string(facts.Identity.User), user); err != nil {
		return broker.Facts{}, err
	}
	return s.withPolicy(ctx, facts, head)
}

// withPolicy adds the Policy to facts that were read together with its head. A
// document never changes under its digest, so it may be read afterwards.
func (s *SQLite) withPolicy(ctx context.Context, facts broker.Facts, head joinedHead) (broker.Facts, error) {
	if !head.version.Valid {
		return facts, nil
	}
	doc, err := s.headDocument(ctx, head.digest.V)
	if err != nil {
		return broker.Facts{}, err
	}
	facts.Policy, facts.PolicyVersion = doc, head.version.V
	return facts, nil
}
