package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// childEnv makes the test binary a child process: it holds what to do.
const childEnv = "STARBACK_STORE_TEST_CHILD"

// children are what a child process can do with the store at path.
var children = map[string]func(path string) error{
	"write":    childWrite,
	"increase": childIncrease,
}

func TestMain(m *testing.M) {
	if do, path, ok := strings.Cut(os.Getenv(childEnv), " "); ok {
		if err := children[do](path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child returns a child process that is to do something with the store at path.
func child(t *testing.T, do, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+do+" "+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// childWrite writes items of every kind for ever, and prints the number of each
// round once all of it is acknowledged.
func childWrite(path string) error {
	ctx := context.Background()
	s, err := store.OpenSQLite(ctx, path, store.SQLiteOptions{MaxJobs: 1_000_000})
	if err != nil {
		return err
	}
	head, _, err := s.Head(ctx)
	if err != nil {
		return err
	}
	for n := head.Version + 1; ; n++ {
		word := strconv.FormatInt(n, 10)
		doc := numbered(n)
		_, userErr := s.PutUser(ctx, broker.User{Name: policy.UserName("user-" + word)})
		_, requestErr := s.PutRequest(ctx, broker.Request{ID: word, Words: strings.Repeat(word, 1000)})
		if err := errors.Join(userErr, requestErr,
			s.Append(ctx, []broker.Event{{ID: "a" + word}, {ID: "b" + word}}),
			s.Enqueue(ctx, broker.Job{ID: word, Body: []byte(word)}),
			s.PutPolicy(ctx, broker.Head{Version: n, Digest: doc.Digest()}, doc)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// numbered is a Policy that differs with n.
func numbered(n int64) *policy.Document {
	doc := document()
	doc.Settings.UserLifetime += time.Duration(n) * time.Second
	return doc
}

// A process that is killed while it writes loses nothing it acknowledged, and
// leaves a store that opens.
func TestSQLiteKilled(t *testing.T) {
	path := newPath(t)
	var acknowledged int64
	for round := range 3 {
		cmd := child(t, "write", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for last := acknowledged + int64(5+3*round); acknowledged < last && lines.Scan(); {
			acknowledged = number(t, lines.Text())
		}
		if err := cmd.Process.Kill(); err != nil { // SIGKILL, in the middle of a round
			t.Fatal(err)
		}
		for lines.Scan() { // what it had still acknowledged
			acknowledged = number(t, lines.Text())
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		wantWritten(t, path, acknowledged)
	}
}

// wantWritten checks that the store at path is sound and holds the rounds up to
// last, whole.
func wantWritten(t *testing.T, path string, last int64) {
	t.Helper()
	ctx := t.Context()
	s := open(t, path)
	defer s.Close()
	for n := int64(1); n <= last; n++ {
		word := strconv.FormatInt(n, 10)
		_, err := s.User(ctx, policy.UserName("user-"+word))
		r, requestErr := s.Request(ctx, word)
		_, doc, policyErr := s.Policy(ctx, n)
		if err := errors.Join(err, requestErr, policyErr); err != nil {
			t.Fatalf("round %d of %d: %v", n, last, err)
		}
		if r.Words != strings.Repeat(word, 1000) || doc.Digest() != numbered(n).Digest() {
			t.Errorf("round %d of %d: not as it was written", n, last)
		}
	}
	events, err := s.Events(ctx, broker.EventQuery{Limit: 1 << 20})
	if err != nil || int64(len(events)) < 2*last {
		t.Errorf("%d events (%v), want %d or more", len(events), err, 2*last)
	}
	jobs, err := s.Waiting(ctx)
	if err != nil || int64(jobs) < last {
		t.Errorf("%d jobs (%v), want %d or more", jobs, err, last)
	}
	var check string
	if err := raw(t, path).QueryRow(`PRAGMA integrity_check`).Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity: %s (%v)", check, err)
	}
}

func number(t *testing.T, line string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// increases is how often childIncrease changes the User.
const increases = 15

// childIncrease creates the store and the User if nobody did, and changes the
// User again and again, each time on top of what others did.
func childIncrease(path string) error {
	ctx := context.Background()
	s, err := store.OpenSQLite(ctx, path, store.SQLiteOptions{})
	if err != nil {
		return err
	}
	u, err := s.PutUser(ctx, broker.User{Name: "alice"})
	if err != nil && !errors.Is(err, broker.ErrConflict) {
		return err
	}
	for n := 0; n < increases; {
		u.Groups = append(u.Groups, "group")
		if u, err = s.PutUser(ctx, u); err == nil {
			n++
		} else if !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return s.Close()
}

// Processes that create one file at once and write to it side by side lose
// nothing.
func TestSQLiteProcesses(t *testing.T) {
	const processes = 5
	path := filepath.Join(t.TempDir(), "new", "store.db")
	var cmds []*exec.Cmd
	for range processes {
		cmd := child(t, "increase", path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process failed: %v", err)
		}
	}
	u, err := open(t, path).User(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if want := processes * increases; len(u.Groups) != want || u.Version != int64(want+1) {
		t.Errorf("%d changes and version %d, want %d and %d", len(u.Groups), u.Version, want, want+1)
	}
}
