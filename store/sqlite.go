//go:build !nosqlite

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/starback/starback/broker"
)

// The interfaces of package broker that SQLite implements.
var (
	_ broker.Ledger       = (*SQLite)(nil)
	_ broker.Registry     = (*SQLite)(nil)
	_ broker.IdentityBook = (*SQLite)(nil)
	_ broker.RequestBook  = (*SQLite)(nil)
	_ broker.FenceBook    = (*SQLite)(nil)
	_ broker.PaceBook     = (*SQLite)(nil)
	_ broker.TokenBook    = (*SQLite)(nil)
	_ broker.ProposalBook = (*SQLite)(nil)
	_ broker.PolicyBook   = (*SQLite)(nil)
	_ broker.Archive      = (*SQLite)(nil)
	_ broker.Outbox       = (*SQLite)(nil)
	_ broker.Queue        = (*SQLite)(nil)

	_ Store = (*SQLite)(nil)
)

const (
	// busyTimeout is how long a statement waits for another process's lock.
	// The caller's context may end the wait sooner.
	busyTimeout = 5 * time.Second
	// readers is how many reads one process does at a time.
	readers = 4
	// readCache is how many KiB of the file each of them keeps in memory: the
	// way to any of 100,000 Users. A smaller file takes less.
	readCache = 64 << 10
)

// SQLiteOptions are choices for a SQLite store. The zero value is a good one.
type SQLiteOptions struct {
	// MaxJobs is how many Jobs may wait, those being worked on included,
	// before Enqueue refuses more; 0: 1,000.
	MaxJobs int
}

// A SQLite is a store in one SQLite file on a local disk. It is safe for
// concurrent use, and so is the file: several processes may have it open at
// once. Writes of one process go one at a time through one connection; reads
// have connections of their own and wait for no write.
type SQLite struct {
	writer  *sql.DB
	reader  *sql.DB
	maxJobs int

	// newest is the Policy document last read as the head's. It only saves
	// decoding: which digest is the head's is read every time.
	newest atomic.Pointer[document]
}

// OpenSQLite opens the store in the file at path. A file that is not there is
// created with mode 0600, and its missing folders with mode 0700; the -wal and
// -shm files beside it have the mode of the file. An older schema is brought up
// to date.
//
// A file of something else, and a store that a newer Starback wrote, are left
// alone and refused with broker.ErrInvalid; so is ":memory:".
func OpenSQLite(ctx context.Context, path string, opts SQLiteOptions) (*SQLite, error) {
	if path == "" || path == ":memory:" || opts.MaxJobs < 0 {
		return nil, invalid("file", path, "SQLite needs a path to a file, and MaxJobs of 0 or more")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, unavailable("finding "+path, err)
	}
	if err := createFile(abs); err != nil {
		return nil, unavailable("creating "+path, err)
	}
	s := &SQLite{maxJobs: opts.MaxJobs}
	if s.maxJobs == 0 {
		s.maxJobs = defaultMaxJobs
	}
	if s.writer, err = openPool(abs, 1, "secure_delete(on)"); err != nil {
		return nil, unavailable("opening "+path, err)
	}
	if err := prepare(ctx, s.writer, path, migrations); err != nil {
		return nil, errors.Join(err, s.writer.Close())
	}
	if s.reader, err = openPool(abs, readers, "query_only(on)", fmt.Sprintf("cache_size(-%d)", readCache)); err != nil {
		return nil, errors.Join(unavailable("opening "+path, err), s.writer.Close())
	}
	return s, nil
}

// openFile is Open's for a file.
func openFile(ctx context.Context, path string, opts Options) (Store, error) {
	db, err := OpenSQLite(ctx, path, SQLiteOptions{MaxJobs: opts.MaxJobs})
	if err != nil {
		return nil, err
	}
	return db, nil
}

// createFile makes an empty file at path, and the folders it lacks, unless
// there is one. SQLite takes an empty file for an empty database. A file that
// is there is not even opened: closing it again would drop the locks that
// another SQLite of this process holds on it.
func createFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// openPool returns a pool of at most size connections to the file at path, each
// set up with the pragmas that every connection needs and with more.
func openPool(path string, size int, more ...string) (*sql.DB, error) {
	query := url.Values{
		"mode":    {"rw"}, // createFile has created it
		"_txlock": {"immediate"},
		"_dqs":    {"0"},
		"_pragma": append([]string{
			fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
			"synchronous(full)", // every commit is synced, not only every checkpoint
			"foreign_keys(on)",
			"temp_store(memory)", // nothing of the store in other files
		}, more...),
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: query.Encode()}
	connector, err := sqlitedriver.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// Close waits for what is under way and closes the file. The last to close it
// removes the -wal and -shm files.
func (s *SQLite) Close() error {
	// The reader goes first: it may not write, so it cannot tidy up.
	if err := errors.Join(s.reader.Close(), s.writer.Close()); err != nil {
		return unavailable("closing", err)
	}
	return nil
}

// Ping reads the file. It fails with broker.ErrUnavailable if that is not
// possible, and with broker.ErrInvalid if a newer Starback has changed the
// schema since the store was opened.
func (s *SQLite) Ping(ctx context.Context) error {
	_, err := schema(ctx, s.reader, migrations)
	return err
}

// busy says whether err is SQLite's refusal to wait for another connection.
func busy(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// notADatabase says whether err is SQLite's finding that a file is no SQLite
// file.
func notADatabase(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_NOTADB
}
