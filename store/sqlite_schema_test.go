package store

import (
	"database/sql"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// openTest opens a new store for the length of the test.
func openTest(t *testing.T) *SQLite {
	t.Helper()
	s, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "store.db"), SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// writerAt makes the file at path and returns a pool that writes to it.
func writerAt(t *testing.T, path string) *sql.DB {
	t.Helper()
	if err := createFile(path); err != nil {
		t.Fatal(err)
	}
	db, err := openPool(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// From the empty file and from each older schema, opening leads to today's.
func TestMigrateFromEverySchema(t *testing.T) {
	for taken := range len(migrations) + 1 {
		path := filepath.Join(t.TempDir(), "store.db")
		db := writerAt(t, path)
		if err := prepare(t.Context(), db, path, migrations[:taken]); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSQLite(t.Context(), path, SQLiteOptions{})
		if err != nil {
			t.Fatalf("from schema %d: %v", taken, err)
		}
		if got, err := schema(t.Context(), s.reader, migrations); err != nil || got != len(migrations) {
			t.Errorf("from schema %d to %d (%v), want %d", taken, got, err, len(migrations))
		}
		if _, err := s.PutUser(t.Context(), broker.User{Name: "alice"}); err != nil {
			t.Errorf("from schema %d: %v", taken, err)
		}
		if _, err := s.PutPace(t.Context(), broker.Pace{Role: "prod-admin"}); err != nil {
			t.Errorf("from schema %d: %v", taken, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What schema 1 holds of a User is found by the User's Token afterwards. A body
// that cannot be read is no reason not to open the file.
func TestMigrateUsers(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "store.db")
	db := writerAt(t, path)
	if err := prepare(ctx, db, path, migrations[:1]); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"alice": `{"name":"alice","id":"01A","owner":"bob","tokens":[{"id":"a"}]}`,
		"bob":   `{"name":"bob","id":"01B"}`,
		"ci":    `{"name":"ci","id":"01C","is_app":true,"owner":"bob","slack":{"team":"T1","user":"U1"},"tokens":[{"id":"c"}]}`,
		"eve":   `hunter2`,
	} {
		if _, err := db.Exec(`INSERT INTO users (name, version, body) VALUES (?, 7, ?)`, name, body); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenSQLite(ctx, path, SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, id := range []broker.SlackID{{Team: "T1", User: "U1"}, {Team: "T1"}, {User: "U1"}} {
		if _, err := s.exec(ctx, "", `INSERT INTO identities VALUES (?, ?, 1, 'ci', '{"user":"ci"}')`, id.Team, id.User); err != nil {
			t.Fatal(err)
		}
	}
	type found struct{ user, owner, identity policy.UserName }
	for id, want := range map[string]found{"a": {"alice", "", ""}, "c": {"ci", "bob", "ci"}} {
		if err := s.NameToken(ctx, id, want.user); err != nil {
			t.Fatal(err)
		}
		facts, err := s.IdentifyToken(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if got := (found{facts.User.Name, facts.Owner.Name, facts.Identity.User}); got != want || facts.User.Version != 7 {
			t.Errorf("%s: found %+v at version %d, want %+v at 7", id, got, facts.User.Version, want)
		}
	}
	if _, err := s.User(ctx, "eve"); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("the damaged user: %v, want ErrUnavailable", err)
	}
}

// What schema 2 holds of a Request is found by its User afterwards. A body that
// cannot be read is no reason not to open the file.
func TestMigrateRequests(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "store.db")
	db := writerAt(t, path)
	if err := prepare(ctx, db, path, migrations[:2]); err != nil {
		t.Fatal(err)
	}
	for id, body := range map[string]string{
		"1": `{"id":"1","user":"alice","state":"asked"}`,
		"2": `{"id":"2","user":"alice","state":"pending"}`,
		"3": `{"id":"3","user":"alice","state":"approved"}`,
		"4": `{"id":"4","user":"alice","state":"open","window_end":"2026-11-05T10:30:00Z"}`,
		"5": `{"id":"5","user":"alice","state":"closed"}`,
		"6": `{"id":"6","state":"pending"}`,
		"7": `{"id":"7","user":"","state":"pending"}`,
		"8": `hunter2`,
	} {
		if _, err := db.Exec(`INSERT INTO requests (id, version, body) VALUES (?, 7, ?)`, id, body); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenSQLite(ctx, path, SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	open, err := s.OpenRequests(ctx, "alice", time.Date(2026, time.November, 5, 9, 30, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range open {
		ids = append(ids, r.ID)
	}
	if want := []string{"2", "3", "4"}; !slices.Equal(ids, want) {
		t.Errorf("alice has %v, want %v", ids, want)
	}
	var held int
	if err := s.reader.QueryRow(`SELECT count(*) FROM requests WHERE holder IS NOT NULL`).Scan(&held); err != nil || held != len(ids) {
		t.Errorf("%d have a holder (%v), want %d", held, err, len(ids))
	}
	if _, err := s.Request(ctx, "8"); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("the damaged request: %v, want ErrUnavailable", err)
	}
}

// A further step keeps what is stored, and an older Starback then stays away.
func TestMigrateFurther(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "store.db")
	s, err := OpenSQLite(ctx, path, SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.PutUser(ctx, broker.User{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	further := append(slices.Clone(migrations), `ALTER TABLE users ADD COLUMN shoes TEXT`, `UPDATE users SET shoes = 'red'`)
	newer := writerAt(t, path)
	if err := prepare(ctx, newer, path, further); err != nil {
		t.Fatal(err)
	}
	var shoes string
	if err := newer.QueryRow(`SELECT shoes FROM users WHERE name = 'alice'`).Scan(&shoes); err != nil || shoes != "red" {
		t.Errorf("shoes: %q (%v)", shoes, err)
	}
	if _, err := OpenSQLite(ctx, path, SQLiteOptions{}); !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("opening with an older Starback: %v, want ErrInvalid", err)
	}
}

// A step that fails undoes those before it.
func TestMigrateAllOrNothing(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "store.db")
	db := writerAt(t, path)
	broken := append(slices.Clone(migrations), `ALTER TABLE nowhere ADD COLUMN shoes TEXT`)
	if err := prepare(ctx, db, path, broken); !errors.Is(err, broker.ErrUnavailable) {
		t.Fatalf("error: %v, want ErrUnavailable", err)
	}
	if taken, err := schema(ctx, db, migrations); err != nil || taken != 0 {
		t.Errorf("%d steps were taken (%v), want none", taken, err)
	}
	if err := prepare(ctx, db, path, migrations); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Every connection of a pool has the pragmas, not only the first.
func TestPragmas(t *testing.T) {
	s := openTest(t)
	for _, c := range []struct {
		pool   *sql.DB
		size   int
		pragma string
		want   string
	}{
		{s.writer, 1, "journal_mode", "wal"},
		{s.writer, 1, "synchronous", "2"}, // FULL
		{s.writer, 1, "foreign_keys", "1"},
		{s.writer, 1, "secure_delete", "1"},
		{s.writer, 1, "busy_timeout", "5000"},
		{s.writer, 1, "temp_store", "2"}, // MEMORY
		{s.reader, readers, "busy_timeout", "5000"},
		{s.reader, readers, "query_only", "1"},
		{s.reader, readers, "temp_store", "2"},
	} {
		var held []*sql.Conn
		for range c.size {
			conn, err := c.pool.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, conn)
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+c.pragma).Scan(&got); err != nil || got != c.want {
				t.Errorf("%s is %q (%v), want %q", c.pragma, got, err, c.want)
			}
		}
		for _, conn := range held {
			conn.Close()
		}
	}
}

// A full disk refuses the write, keeps what was there, and is no lasting harm.
func TestDiskFull(t *testing.T) {
	ctx := t.Context()
	s := openTest(t)
	stored, err := s.PutRequest(ctx, broker.Request{ID: "REQ1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.writer.Exec(`PRAGMA max_page_count = 1`); err != nil { // SQLite makes it the present size
		t.Fatal(err)
	}
	stored.Words = strings.Repeat("w", 1<<20)
	_, err = s.PutRequest(ctx, stored)
	if !errors.Is(err, broker.ErrUnavailable) || strings.Contains(err.Error(), "www") {
		t.Errorf("error: %v, want ErrUnavailable without what was to be written", err)
	}
	if r, err := s.Request(ctx, "REQ1"); err != nil || r.Words != "" || r.Version != 1 {
		t.Errorf("%d bytes in version %d (%v), want what was there", len(r.Words), r.Version, err)
	}
	if _, err := s.writer.Exec(`PRAGMA max_page_count = 1000000`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutRequest(ctx, stored); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// Settle gives up on an aggregate that never holds still, and says so.
func TestSettleGivesUp(t *testing.T) {
	ctx := t.Context()
	s := openTest(t)
	if _, err := s.PutRequest(ctx, broker.Request{ID: "REQ1"}); err != nil {
		t.Fatal(err)
	}
	restless := func(r *broker.Request) *broker.Trail {
		if _, err := s.exec(ctx, "disturbing", `UPDATE requests SET version = version + 1`); err != nil {
			t.Fatal(err)
		}
		return &r.Trail
	}
	err := settle(ctx, s, &requests, broker.Settlement{Thread: "x"}, restless, "REQ1")
	if !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("error: %v, want ErrUnavailable", err)
	}
	if r, err := s.Request(ctx, "REQ1"); err != nil || r.Version != 1+settleTries || r.Trail.Thread != "" {
		t.Errorf("version %d with thread %q (%v), want %d and none", r.Version, r.Trail.Thread, err, 1+settleTries)
	}
}

// No look-up walks a whole table.
func TestQueryPlans(t *testing.T) {
	s := openTest(t)
	for name, q := range map[string]broker.EventQuery{
		"all":           {},
		"by request":    {RequestID: "REQ1"},
		"by access key": {AccessKeyID: "ASIA"},
		"by actor":      {Actor: "alice"},
		"by role":       {Role: "prod"},
		"next page":     {After: "01A"},
	} {
		statement, args := eventsStatement(q)
		wantNoScan(t, s, "events "+name, statement, args...)
	}
	wantNoScan(t, s, "request", requests.read, "REQ1")
	wantNoScan(t, s, "open requests", requestsByHolder, "alice")
	wantNoScan(t, s, "fence", fences.read, "arn")
	wantNoScan(t, s, "pace", paces.read, "prod-admin")
	wantNoScan(t, s, "user", users.read, "alice")
	wantNoScan(t, s, "identity", identities.read, "T", "U")
	wantNoScan(t, s, "policy", policies.read, 1)
	wantNoScan(t, s, "email", usersByEmail, "alice@example.com")
	wantNoScan(t, s, "page of users", usersAfter, "alice", 100)
	wantNoScan(t, s, "proposal", proposals.read, "01P")
	wantNoScan(t, s, "page of proposals", proposalsAfter, "01P", 100)
	wantNoScan(t, s, "identify", identifyStatement, "T", "U")
	wantNoScan(t, s, "identify token", identifyTokenStatement, "token")
	wantNoScan(t, s, "pending", pendingStatement, 1, 10)
}

func wantNoScan(t *testing.T, s *SQLite, name, statement string, args ...any) {
	t.Helper()
	rows, err := s.reader.Query("EXPLAIN QUERY PLAN "+statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "CONSTANT ROW") && !strings.Contains(step, "subquery") ||
			strings.Contains(step, "TEMP B-TREE") {
			t.Errorf("%s: %s", name, step)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// Nothing that is stored has room for a Secret.
func TestNoSecretIsStored(t *testing.T) {
	for _, item := range []any{
		broker.Request{}, broker.User{}, broker.Identity{}, broker.Proposal{}, broker.Fence{}, broker.Pace{}, broker.Head{}, broker.Event{}, broker.Job{}, policy.Document{},
	} {
		if holds(reflect.TypeOf(item), reflect.TypeFor[broker.Secret](), map[reflect.Type]bool{}) {
			t.Errorf("%T holds a Secret", item)
		}
	}
	if !holds(reflect.TypeFor[broker.Credentials](), reflect.TypeFor[broker.Secret](), map[reflect.Type]bool{}) {
		t.Error("no Secret was found in Credentials, which holds two")
	}
}

// holds says whether a value of type in can hold one of type what.
func holds(in, what reflect.Type, seen map[reflect.Type]bool) bool {
	if in == what {
		return true
	}
	if seen[in] {
		return false
	}
	seen[in] = true
	switch in.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holds(in.Elem(), what, seen)
	case reflect.Map:
		return holds(in.Key(), what, seen) || holds(in.Elem(), what, seen)
	case reflect.Struct:
		for i := range in.NumField() {
			if holds(in.Field(i).Type, what, seen) {
				return true
			}
		}
	}
	return false
}
