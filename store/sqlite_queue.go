//go:build !nosqlite

package store

import (
	"context"
	"fmt"
	"time"

	"github.com/starback/starback/broker"
)

// Enqueue implements broker.Queue. A Job that is queued already is left as it
// is, even when the queue is full. Once it is done, its ID is forgotten.
func (s *SQLite) Enqueue(ctx context.Context, j broker.Job) error {
	if j.ID == "" {
		return invalid("job", j.ID, "it has no key")
	}
	body := j.Body
	if body == nil {
		body = []byte{} // the column is never NULL
	}
	// The update that changes nothing counts as a changed row, which tells a
	// Job that is there from one that found no room.
	accepted, err := s.exec(ctx, "enqueueing job "+j.ID, `
		INSERT INTO jobs (id, visible, claims, deadline, body)
		SELECT ?1, 0, 0, ?2, ?3
		WHERE (SELECT count(*) FROM jobs) < ?4 OR EXISTS (SELECT 1 FROM jobs WHERE id = ?1)
		ON CONFLICT (id) DO UPDATE SET id = excluded.id`,
		j.ID, j.Deadline.UnixMilli(), body, s.maxJobs)
	if err != nil {
		return err
	}
	if accepted == 0 {
		return fmt.Errorf("store: job %q: %d jobs are waiting already: %w", j.ID, s.maxJobs, broker.ErrUnavailable)
	}
	return nil
}

// Claim takes the oldest Job that may be seen at now and hides it until
// now+lease; ok is false if there is none. A worker that is not done by then
// shares the Job with the next one that claims it. A Job past its Deadline is
// claimed like any other: it is for the worker to refuse it.
func (s *SQLite) Claim(ctx context.Context, now time.Time, lease time.Duration) (job broker.Job, ok bool, err error) {
	const doing = "claiming a job"
	rows, err := s.writer.QueryContext(ctx, `
		UPDATE jobs SET visible = ?, claims = claims + 1
		WHERE seq = (SELECT seq FROM jobs WHERE visible <= ? ORDER BY seq LIMIT 1)
		RETURNING id, deadline, claims - 1, body`, now.Add(lease).UnixMilli(), now.UnixMilli())
	if err != nil {
		return broker.Job{}, false, unavailable(doing, err)
	}
	defer rows.Close()
	// The statement commits when its rows are read to the end.
	for rows.Next() {
		var deadline int64
		if err := rows.Scan(&job.ID, &deadline, &job.Tries, &job.Body); err != nil {
			return broker.Job{}, false, unavailable(doing, err)
		}
		job.Deadline, ok = time.UnixMilli(deadline).UTC(), true
	}
	if err := rows.Err(); err != nil {
		return broker.Job{}, false, unavailable(doing, err)
	}
	return job, ok, nil
}

// Retry lets the Job with the ID be claimed again at the given time. A Job that
// is done meanwhile stays done.
func (s *SQLite) Retry(ctx context.Context, id string, at time.Time) error {
	_, err := s.exec(ctx, "retrying job "+id, `UPDATE jobs SET visible = ? WHERE id = ?`, at.UnixMilli(), id)
	return err
}

// Done removes the Job with the ID, if it is there, and overwrites its Body in
// the file. A copy may stay in the -wal file until that is written over, or the
// store is closed.
func (s *SQLite) Done(ctx context.Context, id string) error {
	_, err := s.exec(ctx, "removing job "+id, `DELETE FROM jobs WHERE id = ?`, id)
	return err
}

// Waiting returns how many Jobs there are, those being worked on included.
func (s *SQLite) Waiting(ctx context.Context) (int, error) {
	var n int
	if err := s.reader.QueryRowContext(ctx, `SELECT count(*) FROM jobs`).Scan(&n); err != nil {
		return 0, unavailable("counting jobs", err)
	}
	return n, nil
}
