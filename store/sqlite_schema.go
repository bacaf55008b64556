//go:build !nosqlite

package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/starback/starback/broker"
)

// applicationID marks a SQLite file as a Starback store: "Stbk" in ASCII.
const applicationID = 0x5374626b

// walRetry is how long opening waits before it tries again to turn on
// write-ahead logging.
const walRetry = 20 * time.Millisecond

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations are the steps that lead from an empty file to the schema, in
// order. The schema's number, SQLite's user_version, is how many were taken. A
// step that was released is never changed; new ones are added.
var migrations = mustReadMigrations(migrationFiles)

func mustReadMigrations(files fs.FS) []string {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		panic(err)
	}
	steps := make([]string, 0, len(names))
	for _, name := range names {
		step, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err)
		}
		steps = append(steps, string(step))
	}
	return steps
}

// A querier reads one row: a pool, or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// schema returns how many of steps the file has taken. It refuses a file that
// is not a Starback store and one that has taken steps that are not known here.
func schema(ctx context.Context, q querier, steps []string) (int, error) {
	var application, version, objects int
	err := q.QueryRowContext(ctx, `SELECT
		(SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM sqlite_schema)`).Scan(&application, &version, &objects)
	switch {
	case notADatabase(err):
		return 0, fmt.Errorf("store: the file is not a SQLite database: %w", broker.ErrInvalid)
	case err != nil:
		return 0, unavailable("reading the schema", err)
	case application == 0 && version == 0 && objects == 0:
		return 0, nil
	case application != applicationID:
		return 0, fmt.Errorf("store: the file is a SQLite database, but not a Starback store: %w", broker.ErrInvalid)
	case version > len(steps):
		return 0, fmt.Errorf("store: the file has schema %d of a newer Starback, and this one knows up to %d: %w",
			version, len(steps), broker.ErrInvalid)
	}
	return version, nil
}

// prepare checks the file behind writer and brings it to the schema of steps.
// Several processes may prepare one file at once: the first does the work.
func prepare(ctx context.Context, writer *sql.DB, path string, steps []string) error {
	taken, err := schema(ctx, writer, steps)
	if err == nil {
		err = useWAL(ctx, writer)
	}
	if err == nil && taken < len(steps) {
		err = migrate(ctx, writer, steps)
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	return nil
}

// useWAL turns on write-ahead logging, which the file then remembers. SQLite
// does not wait for other connections here, so that useWAL does.
func useWAL(ctx context.Context, writer *sql.DB) error {
	const doing = "turning on write-ahead logging"
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		var mode string
		err := writer.QueryRowContext(ctx, `PRAGMA journal_mode = wal`).Scan(&mode)
		switch {
		case err == nil && mode == "wal":
			return nil
		case err == nil:
			return unavailable(doing, fmt.Errorf("the file system allows %q only", mode))
		case !busy(err):
			return unavailable(doing, err)
		}
		select {
		case <-ctx.Done():
			return unavailable(doing, err)
		case <-time.After(walRetry):
		}
	}
}

// migrate takes the steps that the file lacks, all of them or none.
func migrate(ctx context.Context, writer *sql.DB, steps []string) error {
	const doing = "bringing the schema up to date"
	tx, err := writer.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(doing, err)
	}
	defer tx.Rollback() // after Commit it does nothing
	taken, err := schema(ctx, tx, steps)
	if err != nil || taken == len(steps) {
		return err
	}
	for i, step := range steps[taken:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return unavailable(fmt.Sprintf("%s: step %d", doing, taken+i+1), err)
		}
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(steps)))
	if err != nil {
		return unavailable(doing, err)
	}
	if err := tx.Commit(); err != nil {
		return unavailable(doing, err)
	}
	return nil
}
