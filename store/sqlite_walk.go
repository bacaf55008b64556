//go:build !nosqlite

package store

import (
	"context"

	"github.com/starback/starback/broker"
)

// Walk implements Store. The items of a kind come in order of key. It reads
// while v works, and so keeps the -wal file from shrinking.
func (s *SQLite) Walk(ctx context.Context, v Visitor) error {
	if err := walk(ctx, s, `SELECT name, version, body FROM users ORDER BY name`, users.item, v.User); err != nil {
		return err
	}
	err := walk(ctx, s, `SELECT team || '/' || person, version, body FROM identities ORDER BY team, person`,
		identities.item, v.Identity)
	if err != nil {
		return err
	}
	if err := walk(ctx, s, `SELECT id, version, body FROM requests ORDER BY id`, requests.item, v.Request); err != nil {
		return err
	}
	if err := walk(ctx, s, `SELECT id, version, body FROM proposals ORDER BY id`, proposals.item, v.Proposal); err != nil {
		return err
	}
	if err := walk(ctx, s, `SELECT role_arn, version, body FROM fences ORDER BY role_arn`, fences.item, v.Fence); err != nil {
		return err
	}
	if err := walk(ctx, s, `SELECT role, version, body FROM paces ORDER BY role`, paces.item, v.Pace); err != nil {
		return err
	}
	event := func(id string, _ int64, body []byte) (e broker.Event, err error) {
		return e, decode("event", id, body, &e)
	}
	return walk(ctx, s, `SELECT id, 0, body FROM events ORDER BY id`, event, v.Event)
}

// walk calls visit, unless it is nil, for the item of each row that statement
// reads.
func walk[T any](ctx context.Context, s *SQLite, statement string,
	item func(key string, version int64, body []byte) (T, error), visit func(T) error) error {
	const doing = "reading everything"
	if visit == nil {
		return nil
	}
	rows, err := s.reader.QueryContext(ctx, statement)
	if err != nil {
		return unavailable(doing, err)
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var version int64
		var body []byte
		if err := rows.Scan(&key, &version, &body); err != nil {
			return unavailable(doing, err)
		}
		found, err := item(key, version, body)
		if err != nil {
			return err
		}
		if err := visit(found); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return unavailable(doing, err)
	}
	return nil
}

// Schema implements Store.
func (s *SQLite) Schema(ctx context.Context) (int, error) { return schema(ctx, s.reader, migrations) }
