//go:build !nosqlite

package store

import (
	"context"
	"strings"

	"github.com/starback/starback/broker"
)

// Append implements broker.Archive. The Events go into one transaction to share
// its sync; each stands for itself.
func (s *SQLite) Append(ctx context.Context, events []broker.Event) error {
	const doing = "appending events"
	if len(events) == 0 {
		return nil
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(doing, err)
	}
	defer tx.Rollback() // after Commit it does nothing
	insert, err := tx.PrepareContext(ctx, `
		INSERT INTO events (id, time, request_id, access_key_id, actor, role, body)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`)
	if err != nil {
		return unavailable(doing, err)
	}
	defer insert.Close()
	for _, e := range events {
		if e.ID == "" {
			return invalid("event", e.ID, "it has no key")
		}
		body, err := encode("event", e.ID, e)
		if err != nil {
			return err
		}
		_, err = insert.ExecContext(ctx, e.ID, e.Time.UnixMilli(), orNull(e.RequestID),
			orNull(e.AccessKeyID), orNull(e.Actor), orNull(string(e.Role)), body)
		if err != nil {
			return unavailable(doing, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return unavailable(doing, err)
	}
	return nil
}

// Events implements broker.Archive. It lags behind nothing.
func (s *SQLite) Events(ctx context.Context, q broker.EventQuery) ([]broker.Event, error) {
	const doing = "reading events"
	statement, args := eventsStatement(q)
	rows, err := s.reader.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, unavailable(doing, err)
	}
	defer rows.Close()
	var events []broker.Event
	for rows.Next() {
		var id string
		var body []byte
		if err := rows.Scan(&id, &body); err != nil {
			return nil, unavailable(doing, err)
		}
		var e broker.Event
		if err := decode("event", id, body, &e); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(doing, err)
	}
	return events, nil
}

// eventsStatement returns the statement that answers q, and its parameters.
// Only what q names becomes a condition, so that an index can serve it.
func eventsStatement(q broker.EventQuery) (string, []any) {
	conditions := []string{"id > ?"}
	args := []any{q.After}
	where := func(condition string, arg any) {
		conditions = append(conditions, condition)
		args = append(args, arg)
	}
	if q.RequestID != "" {
		where("request_id = ?", q.RequestID)
	}
	if q.AccessKeyID != "" {
		where("access_key_id = ?", q.AccessKeyID)
	}
	if q.Actor != "" {
		where("actor = ?", q.Actor)
	}
	if q.Role != "" {
		where("role = ?", string(q.Role))
	}
	if !q.Since.IsZero() {
		where("time >= ?", q.Since.UnixMilli())
	}
	if !q.Until.IsZero() {
		where("time < ?", q.Until.UnixMilli())
	}
	limit := q.Limit
	if limit <= 0 {
		limit = eventsPage
	}
	return `SELECT id, body FROM events WHERE ` + strings.Join(conditions, " AND ") +
		` ORDER BY id LIMIT ?`, append(args, limit)
}
