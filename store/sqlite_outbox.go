//go:build !nosqlite

package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/starback/starback/broker"
)

// pendingStatement reads what is due by ?1, at most ?2, the longest due first.
const pendingStatement = `
	SELECT 'request' AS kind, id AS key, due, body FROM requests WHERE due <= ?1
	UNION ALL SELECT 'user', name, due, body FROM users WHERE due <= ?1
	UNION ALL SELECT 'proposal', id, due, body FROM proposals WHERE due <= ?1
	UNION ALL SELECT 'policy', CAST(version AS TEXT), due, body FROM policies WHERE due <= ?1
	ORDER BY due LIMIT ?2 + 1000` // so many may be damaged without being in the way

// Pending implements broker.Outbox. It lags behind nothing.
func (s *SQLite) Pending(ctx context.Context, now time.Time, limit int) ([]broker.Pending, error) {
	const doing = "reading what is pending"
	rows, err := s.reader.QueryContext(ctx, pendingStatement, now.UnixMilli(), max(limit, 0))
	if err != nil {
		return nil, unavailable(doing, err)
	}
	defer rows.Close()
	var pending []broker.Pending
	var damaged []error
	for len(pending) < limit && rows.Next() {
		var p broker.Pending
		var due int64
		var body []byte
		if err := rows.Scan(&p.Ref.Kind, &p.Ref.Key, &due, &body); err != nil {
			return nil, unavailable(doing, err)
		}
		if p.Trail, err = trail(p.Ref, body); err != nil {
			damaged = append(damaged, err)
			continue
		}
		pending = append(pending, p)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(doing, err)
	}
	return pending, errors.Join(damaged...)
}

// Hold implements broker.Outbox.
func (s *SQLite) Hold(ctx context.Context, ref broker.Ref, now, until time.Time) (bool, error) {
	statement, ok := map[broker.RefKind]string{
		broker.RefRequest:  `UPDATE requests SET due = ?3 WHERE id = ?1 AND due <= ?2`,
		broker.RefUser:     `UPDATE users SET due = ?3 WHERE name = ?1 AND due <= ?2`,
		broker.RefProposal: `UPDATE proposals SET due = ?3 WHERE id = ?1 AND due <= ?2`,
		broker.RefPolicy:   `UPDATE policies SET due = ?3 WHERE version = CAST(?1 AS INTEGER) AND due <= ?2`,
	}[ref.Kind]
	if !ok {
		return false, invalid(string(ref.Kind), ref.Key, "nothing of that kind has a trail")
	}
	held, err := s.exec(ctx, "holding "+string(ref.Kind)+" "+ref.Key, statement, ref.Key, now.UnixMilli(), until.UnixMilli())
	return held == 1, err
}

// trail reads the Trail of the stored aggregate that ref names.
func trail(ref broker.Ref, body []byte) (broker.Trail, error) {
	switch ref.Kind {
	case broker.RefRequest:
		r, err := requests.item(ref.Key, 0, body)
		return r.Trail, err
	case broker.RefUser:
		u, err := users.item(ref.Key, 0, body)
		return u.Trail, err
	case broker.RefProposal:
		p, err := proposals.item(ref.Key, 0, body)
		return p.Trail, err
	default:
		p, err := policies.item(ref.Key, 0, body)
		return p.Trail, err
	}
}

// Settle implements broker.Outbox. An aggregate that does not exist is
// broker.ErrNotFound. One that changes again and again, 100 times in a row, is
// broker.ErrUnavailable: nothing was settled.
func (s *SQLite) Settle(ctx context.Context, ref broker.Ref, settlement broker.Settlement) error {
	switch ref.Kind {
	case broker.RefRequest:
		return settle(ctx, s, &requests, settlement, func(r *broker.Request) *broker.Trail { return &r.Trail }, ref.Key)
	case broker.RefUser:
		return settle(ctx, s, &users, settlement, func(u *broker.User) *broker.Trail { return &u.Trail }, ref.Key)
	case broker.RefProposal:
		return settle(ctx, s, &proposals, settlement, func(p *broker.Proposal) *broker.Trail { return &p.Trail }, ref.Key)
	case broker.RefPolicy:
		version, err := strconv.ParseInt(ref.Key, 10, 64)
		if err != nil {
			return invalid("policy", ref.Key, "its key is not a version")
		}
		return settle(ctx, s, &policies, settlement, func(p *policyRow) *broker.Trail { return &p.Trail }, version)
	default:
		return invalid(string(ref.Kind), ref.Key, "nothing of that kind has a trail")
	}
}

// settle applies settlement to the Trail of the item with the key.
func settle[T any](ctx context.Context, s *SQLite, t *table[T], settlement broker.Settlement,
	trail func(*T) *broker.Trail, key any) error {
	item, err := get(ctx, s, t, key)
	if err != nil {
		return err
	}
	for range settleTries {
		tr := trail(&item)
		*tr = settlement.Apply(*tr)
		// On a conflict, put returns the item as it has become.
		item, err = put(ctx, s, t, item)
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("store: settling %s %q: it changed %d times meanwhile: %w",
		t.kind, fmt.Sprint(key), settleTries, broker.ErrUnavailable)
}
