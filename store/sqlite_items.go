//go:build !nosqlite

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A table keeps aggregates of type T as versioned documents, one a row. The
// parameters of create and replace are the key, the columns, the body and the
// version that the item had before; read takes the key and returns the version
// and the body.
type table[T any] struct {
	kind    string
	create  string
	replace string
	read    string
	key     func(T) []any
	columns func(T) []any // what is looked up by, beside the body
	version func(*T) *int64
}

var requests = table[broker.Request]{
	kind: "request",
	create: `INSERT INTO requests (id, due, holder, body, version) VALUES (?1, ?2, ?3, ?4, ?5 + 1)
		ON CONFLICT (id) DO NOTHING`,
	replace: `UPDATE requests SET due = ?2, holder = ?3, body = ?4, version = ?5 + 1
		WHERE id = ?1 AND version = ?5`,
	read:    `SELECT version, body FROM requests WHERE id = ?`,
	key:     func(r broker.Request) []any { return []any{r.ID} },
	columns: func(r broker.Request) []any { return []any{due(r.Trail), orNull(string(holder(r)))} },
	version: func(r *broker.Request) *int64 { return &r.Version },
}

var users = table[broker.User]{
	kind: "user",
	create: `INSERT INTO users (name, email, owner, team, person, due, body, version)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 + 1) ON CONFLICT (name) DO NOTHING`,
	replace: `UPDATE users SET email = ?2, owner = ?3, team = ?4, person = ?5, due = ?6, body = ?7, version = ?8 + 1
		WHERE name = ?1 AND version = ?8`,
	read: `SELECT version, body FROM users WHERE name = ?`,
	key:  func(u broker.User) []any { return []any{string(u.Name)} },
	columns: func(u broker.User) []any {
		return []any{email(u), orNull(string(owner(u))), orNull(u.Slack.Team), orNull(u.Slack.User), due(u.Trail)}
	},
	version: func(u *broker.User) *int64 { return &u.Version },
}

var identities = table[broker.Identity]{
	kind: "identity",
	create: `INSERT INTO identities (team, person, user, body, version) VALUES (?1, ?2, ?3, ?4, ?5 + 1)
		ON CONFLICT (team, person) DO NOTHING`,
	replace: `UPDATE identities SET user = ?3, body = ?4, version = ?5 + 1
		WHERE team = ?1 AND person = ?2 AND version = ?5`,
	read:    `SELECT version, body FROM identities WHERE team = ? AND person = ?`,
	key:     func(i broker.Identity) []any { return []any{i.Slack.Team, i.Slack.User} },
	columns: func(i broker.Identity) []any { return []any{string(i.User)} },
	version: func(i *broker.Identity) *int64 { return &i.Version },
}

var proposals = table[broker.Proposal]{
	kind: "proposal",
	create: `INSERT INTO proposals (id, due, body, version) VALUES (?1, ?2, ?3, ?4 + 1)
		ON CONFLICT (id) DO NOTHING`,
	replace: `UPDATE proposals SET due = ?2, body = ?3, version = ?4 + 1
		WHERE id = ?1 AND version = ?4`,
	read:    `SELECT version, body FROM proposals WHERE id = ?`,
	key:     func(p broker.Proposal) []any { return []any{p.ID} },
	columns: func(p broker.Proposal) []any { return []any{due(p.Trail)} },
	version: func(p *broker.Proposal) *int64 { return &p.Version },
}

var fences = table[broker.Fence]{
	kind: "fence",
	create: `INSERT INTO fences (role_arn, body, version) VALUES (?1, ?2, ?3 + 1)
		ON CONFLICT (role_arn) DO NOTHING`,
	replace: `UPDATE fences SET body = ?2, version = ?3 + 1
		WHERE role_arn = ?1 AND version = ?3`,
	read:    `SELECT version, body FROM fences WHERE role_arn = ?`,
	key:     func(f broker.Fence) []any { return []any{f.RoleARN} },
	columns: func(broker.Fence) []any { return nil },
	version: func(f *broker.Fence) *int64 { return &f.Version },
}

var paces = table[broker.Pace]{
	kind: "pace",
	create: `INSERT INTO paces (role, body, version) VALUES (?1, ?2, ?3 + 1)
		ON CONFLICT (role) DO NOTHING`,
	replace: `UPDATE paces SET body = ?2, version = ?3 + 1
		WHERE role = ?1 AND version = ?3`,
	read:    `SELECT version, body FROM paces WHERE role = ?`,
	key:     func(p broker.Pace) []any { return []any{string(p.Role)} },
	columns: func(broker.Pace) []any { return nil },
	version: func(p *broker.Pace) *int64 { return &p.Version },
}

// email returns the address that u is found by, or nil: a User without one and
// a tombstone are not found.
func email(u broker.User) any {
	if u.Removed {
		return nil
	}
	return orNull(u.Email)
}

// orNull returns s, or nil for the empty string.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// name writes a key for people, as in T012AB/U0456.
func name(key []any) string {
	parts := make([]string, len(key))
	for i, k := range key {
		parts[i] = fmt.Sprint(k)
	}
	return strings.Join(parts, "/")
}

// put writes item if what is stored has item's version, and returns it with
// its new version. Otherwise it returns what is stored, with
// broker.ErrConflict.
func put[T any](ctx context.Context, s *SQLite, t *table[T], item T) (T, error) {
	var none T
	key := t.key(item)
	for _, part := range key {
		if part == "" {
			return none, invalid(t.kind, name(key), "it has no key")
		}
	}
	body, err := encode(t.kind, name(key), item)
	if err != nil {
		return none, err
	}
	version := t.version(&item)
	statement := t.replace
	if *version == 0 {
		statement = t.create
	}
	args := slices.Concat(key, t.columns(item), []any{body, *version})
	changed, err := s.exec(ctx, "writing "+t.kind+" "+name(key), statement, args...)
	if err != nil {
		return none, err
	}
	if changed == 1 {
		*version++
		return item, nil
	}
	stored, err := get(ctx, s, t, key...)
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		return none, err
	}
	return stored, conflict(t.kind, name(key))
}

// exec does one write and returns how many rows it changed.
func (s *SQLite) exec(ctx context.Context, doing, statement string, args ...any) (int64, error) {
	result, err := s.writer.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, unavailable(doing, err)
	}
	changed, err := result.RowsAffected()
	if err != nil {
		return 0, unavailable(doing, err)
	}
	return changed, nil
}

// get reads the item with the key.
func get[T any](ctx context.Context, s *SQLite, t *table[T], key ...any) (T, error) {
	var item T
	var version int64
	var body []byte
	err := s.reader.QueryRowContext(ctx, t.read, key...).Scan(&version, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return item, notFound(t.kind, name(key))
	}
	if err != nil {
		return item, unavailable("reading "+t.kind+" "+name(key), err)
	}
	return t.item(name(key), version, body)
}

// item puts together what a row holds.
func (t *table[T]) item(key string, version int64, body []byte) (T, error) {
	var item, none T
	if err := decode(t.kind, key, body, &item); err != nil {
		return none, err
	}
	*t.version(&item) = version
	return item, nil
}

// Request implements broker.Ledger.
func (s *SQLite) Request(ctx context.Context, id string) (broker.Request, error) {
	return get(ctx, s, &requests, id)
}

// PutRequest implements broker.Ledger.
func (s *SQLite) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	return put(ctx, s, &requests, r)
}

// OpenRequests implements broker.RequestBook. It lags behind nothing.
func (s *SQLite) OpenRequests(ctx context.Context, user policy.UserName, now time.Time) ([]broker.Request, error) {
	found, err := choose(ctx, s, &requests, requestsByHolder, orNull(string(user)))
	if err != nil {
		return nil, err
	}
	return openOf(found, user, now), nil
}

// User implements broker.Registry.
func (s *SQLite) User(ctx context.Context, name policy.UserName) (broker.User, error) {
	return get(ctx, s, &users, string(name))
}

// PutUser implements broker.Registry.
func (s *SQLite) PutUser(ctx context.Context, u broker.User) (broker.User, error) {
	return put(ctx, s, &users, u)
}

// Identity implements broker.IdentityBook.
func (s *SQLite) Identity(ctx context.Context, id broker.SlackID) (broker.Identity, error) {
	return get(ctx, s, &identities, id.Team, id.User)
}

// PutIdentity implements broker.IdentityBook.
func (s *SQLite) PutIdentity(ctx context.Context, i broker.Identity) (broker.Identity, error) {
	return put(ctx, s, &identities, i)
}

// Proposal implements broker.ProposalBook.
func (s *SQLite) Proposal(ctx context.Context, id string) (broker.Proposal, error) {
	return get(ctx, s, &proposals, id)
}

// PutProposal implements broker.ProposalBook.
func (s *SQLite) PutProposal(ctx context.Context, p broker.Proposal) (broker.Proposal, error) {
	return put(ctx, s, &proposals, p)
}

// Fence implements broker.FenceBook.
func (s *SQLite) Fence(ctx context.Context, roleARN string) (broker.Fence, error) {
	f, err := get(ctx, s, &fences, roleARN)
	if errors.Is(err, broker.ErrNotFound) {
		return broker.Fence{}, nil
	}
	return f, err
}

// PutFence implements broker.FenceBook.
func (s *SQLite) PutFence(ctx context.Context, f broker.Fence) (broker.Fence, error) {
	return put(ctx, s, &fences, f)
}

// Pace implements broker.PaceBook.
func (s *SQLite) Pace(ctx context.Context, role policy.RoleName) (broker.Pace, error) {
	p, err := get(ctx, s, &paces, string(role))
	if errors.Is(err, broker.ErrNotFound) {
		return broker.Pace{}, nil
	}
	return p, err
}

// PutPace implements broker.PaceBook.
func (s *SQLite) PutPace(ctx context.Context, p broker.Pace) (broker.Pace, error) {
	return put(ctx, s, &paces, p)
}
