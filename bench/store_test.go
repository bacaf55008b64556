package bench_test

import (
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver of the yardstick
)

// storing compares the store's two calls with the least that SQLite does for
// them: read one row by its key, and commit one row so that it is on disk.
// Both files are in the same folder's file system and hold rows of one size.
func storing(t testing.TB, e effort) []figure {
	s := openStore(t)
	// A Request as issuing leaves it: with its Session, and two Events.
	request := newIssuer(s, instant{}).issue(t).Request
	request.Version = 0
	row, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	bare := openBare(t)
	if _, err := bare.ExecContext(t.Context(), `INSERT INTO items VALUES ('one', ?)`, row); err != nil {
		t.Fatal(err)
	}

	read := compare(e.rounds, func() cost {
		return measure(t, e.ops, func() {
			if facts, err := s.Identify(t.Context(), request.Slack); err != nil || facts.Policy == nil {
				t.Fatal("not identified", err)
			}
		})
	}, func() cost {
		return measure(t, e.ops, func() {
			var got []byte
			if err := bare.QueryRowContext(t.Context(), `SELECT body FROM items WHERE id = 'one'`).Scan(&got); err != nil {
				t.Fatal(err)
			}
		})
	})
	written := compare(e.rounds, func() cost {
		return measure(t, e.ops, func() {
			request.ID = rand.Text()
			if _, err := s.PutRequest(t.Context(), request); err != nil {
				t.Fatal(err)
			}
		})
	}, func() cost {
		return measure(t, e.ops, func() {
			if _, err := bare.ExecContext(t.Context(), `INSERT INTO items VALUES (?, ?)`, rand.Text(), row); err != nil {
				t.Fatal(err)
			}
		})
	})
	return []figure{
		newFigure("store: Identify ÷ reading one row", read, wall, rate),
		newFigure("store: PutRequest ÷ committing one row", written, wall, rate),
	}
}

// openBare returns a plain SQLite file, as careful as the store's.
func openBare(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "bare.db")+
		"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=secure_delete(on)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE items (id TEXT PRIMARY KEY, body BLOB NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	return db
}
