package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
	"github.com/starback/starback/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, newPath(t)) })
}

func TestSQLiteDurable(t *testing.T) {
	storetest.Durable(t, func(t *testing.T) (storetest.Store, func(*testing.T) storetest.Store) {
		path := newPath(t)
		s := open(t, path)
		return s, func(t *testing.T) storetest.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, path)
			return s
		}
	})
}

// newPath returns a path at which there is no file yet.
func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "store.db") }

// open opens the store at path for the length of the test.
func open(t testing.TB, path string) *store.SQLite {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), path, store.SQLiteOptions{MaxJobs: storetest.MaxJobs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// raw opens the file at path as any other program would.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// rawExec runs statements against the file at path, without waiting for the
// disk.
func rawExec(t testing.TB, path string, statements ...string) {
	t.Helper()
	db := raw(t, path+"?_pragma=synchronous(off)")
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenSQLiteRefuses(t *testing.T) {
	for name, path := range map[string]string{"nothing": "", "memory": ":memory:"} {
		t.Run(name, func(t *testing.T) {
			_, err := store.OpenSQLite(t.Context(), path, store.SQLiteOptions{})
			if !errors.Is(err, broker.ErrInvalid) {
				t.Errorf("error: %v, want ErrInvalid", err)
			}
		})
	}
	t.Run("a negative limit", func(t *testing.T) {
		_, err := store.OpenSQLite(t.Context(), newPath(t), store.SQLiteOptions{MaxJobs: -1})
		if !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("error: %v, want ErrInvalid", err)
		}
	})
	t.Run("a folder", func(t *testing.T) {
		_, err := store.OpenSQLite(t.Context(), t.TempDir(), store.SQLiteOptions{})
		if !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("error: %v, want ErrUnavailable", err)
		}
	})
}

// Files of something else are refused and stay as they were.
func TestOpenSQLiteForeignFile(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string)
		says string
	}{
		{"text", func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("shopping list\n"), 100), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a SQLite database"},
		{"another program's tables", func(t *testing.T, path string) {
			rawExec(t, path, `CREATE TABLE users (name TEXT)`)
		}, "not a Starback store"},
		{"another program's mark", func(t *testing.T, path string) {
			rawExec(t, path, `PRAGMA application_id = 252006673`)
		}, "not a Starback store"},
		{"another program's version", func(t *testing.T, path string) {
			rawExec(t, path, `PRAGMA user_version = 1`)
		}, "not a Starback store"},
		{"a newer Starback's store", func(t *testing.T, path string) {
			rawExec(t, path, `PRAGMA application_id = 0x5374626b`, `PRAGMA user_version = 1000000`)
		}, "schema 1000000 of a newer Starback"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := newPath(t)
			c.make(t, path)
			before := read(t, path)
			_, err := store.OpenSQLite(t.Context(), path, store.SQLiteOptions{})
			if !errors.Is(err, broker.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error: %v, want ErrInvalid that says %q", err, c.says)
			}
			if !bytes.Equal(read(t, path), before) {
				t.Error("the file was changed")
			}
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Many may create one file at once: one of them makes the schema, and all can
// use it.
func TestOpenSQLiteTogether(t *testing.T) {
	for range 3 {
		path := newPath(t)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s, err := store.OpenSQLite(t.Context(), path, store.SQLiteOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.PutUser(t.Context(), broker.User{Name: policy.UserName(fmt.Sprint("user-", i))}); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// Opening waits for another program that writes to the new file, until the
// context ends.
func TestOpenSQLiteBusy(t *testing.T) {
	path := newPath(t)
	tx, err := raw(t, path+"?_txlock=immediate").Begin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = store.OpenSQLite(ctx, path, store.SQLiteOptions{})
	if !errors.Is(err, broker.ErrUnavailable) || ctx.Err() == nil {
		t.Errorf("error: %v, want ErrUnavailable after the wait", err)
	}
	released := time.AfterFunc(50*time.Millisecond, func() { tx.Rollback() })
	defer released.Stop()
	open(t, path)
}

func TestOpenSQLiteModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	path := filepath.Join(dir, "store.db")
	s := open(t, path)
	if _, err := s.PutUser(t.Context(), broker.User{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{
		filepath.Dir(dir): fs.ModeDir | 0o700,
		dir:               fs.ModeDir | 0o700,
		path:              0o600,
		path + "-wal":     0o600,
		path + "-shm":     0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(path), got, want)
		}
	}
}

func TestOpenSQLiteOddPaths(t *testing.T) {
	for _, name := range []string{
		"it's 100% ours?.db", "a#b&c=d;e.db", "%41.db", "Übung.db", "file:x.db", "mode=ro?mode=memory", `back\slash.db`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			s := open(t, path)
			if _, err := s.PutUser(t.Context(), broker.User{Name: "alice"}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != 1 || entries[0].Name() != name {
				t.Errorf("the folder holds %v, want %q alone", entries, name)
			}
			if _, err := open(t, path).User(t.Context(), "alice"); err != nil {
				t.Error(err)
			}
		})
	}
}

// While another process holds the lock, writes wait until their context ends,
// and reads do not wait.
func TestSQLiteBusy(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	if _, err := s.PutUser(t.Context(), broker.User{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	other := raw(t, path+"?_txlock=immediate")
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.PutUser(ctx, broker.User{Name: "bob"})
	if !errors.Is(err, broker.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v, want ErrUnavailable and DeadlineExceeded", err)
	}
	if _, err := s.User(t.Context(), "alice"); err != nil {
		t.Errorf("reading: %v", err)
	}

	// One that has the time gets its turn.
	written := make(chan error)
	go func() {
		_, err := s.PutUser(context.Background(), broker.User{Name: "bob"})
		written <- err
	}()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Errorf("writing after the wait: %v", err)
	}
}

func TestSQLitePing(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("open: %v", err)
	}
	rawExec(t, path, `PRAGMA user_version = 1000000`)
	if err := s.Ping(t.Context()); !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("a newer schema: %v, want ErrInvalid", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("closed: %v, want ErrUnavailable", err)
	}
}

// The file itself refuses what no code path does.
func TestSQLiteAppendOnly(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	if err := s.Append(t.Context(), []broker.Event{{ID: "01A", Event: broker.EventAsked}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutUser(t.Context(), broker.User{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	if err := s.NameToken(t.Context(), "token0000001", "alice"); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	for _, statement := range []string{
		`DELETE FROM events`, `UPDATE events SET actor = 'mallory'`, `DELETE FROM users`,
		`DELETE FROM tokens`, `UPDATE tokens SET user = 'mallory'`, `UPDATE tokens SET id = 'mallory'`,
	} {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("%s: done, want it refused", statement)
		}
	}
}

// What a Job held is gone from the disk once it is done and the store closed.
func TestSQLiteOverwritesJobs(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	body := []byte(strings.Repeat("capability ", 2000)) // several pages
	for _, id := range []string{"a", "b"} {
		if err := s.Enqueue(t.Context(), broker.Job{ID: id, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b"} {
		if err := s.Done(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(read(t, path), []byte("capability")); n > 0 {
		t.Errorf("the file still has %d pieces of the body", n)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the -wal file is still there: %v", err)
	}
}
