package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
)

// changing is an apply that takes from people, gives to them, and changes the
// policy, which is the stories'. Ops may ask for another role then: whoever
// leaves never may for that one, and whoever joins never for the one before.
func changing(t *testing.T) (apply []string) {
	t.Helper()
	changed := story.Policy
	for _, edit := range [][2]string{
		{"dev: {grants: [prod-readonly, prod-console]}", "dev: {grants: [prod-readonly]}\n  watch: {grants: [prod-console]}"},
		{"ops: {grants: [prod-guarded, prod-oncall]}", "ops: {grants: [prod-readonly]}"},
		{"alice: {slack: T0TEST/U0ALICE, groups: [dev]", "alice: {slack: T0TEST/U0ALICE, groups: [watch]"},
		{"bob: {slack: T0TEST/U0BOB, groups: [dev]", "bob: {slack: T0TEST/U0BOB, groups: [dev], grants: [prod-console]"},
		{"olga: {slack: T0TEST/U0OLGA, groups: [ops]", "olga: {slack: T0TEST/U0OLGA, groups: [watch]"},
		{"lea: {slack: T0TEST/U0LEA, groups: [leads]", "lea: {slack: T0TEST/U0LEA, groups: [leads, ops]"},
	} {
		if strings.Count(changed, edit[0]) != 1 {
			t.Fatalf("the policy has not one %q", edit[0])
		}
		changed = strings.Replace(changed, edit[0], edit[1], 1)
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"apply", "-f", file, "--yes", "--overwrite", "--allow-shrink"}
}

// completes checks, after an apply was killed, that nobody has more than before
// or after it, and that applying again completes it.
func (k *keeper) completes(t *testing.T, apply []string, before, after map[string]bool) {
	t.Helper()
	for right := range rights(t, k) {
		if !before[right] && !after[right] {
			t.Errorf("killed, %s", right)
		}
	}
	if out, err := k.administer(apply...); err != nil {
		t.Errorf("again: %v\n%s", err, out)
	}
	if got := rights(t, k); fmt.Sprint(got) != fmt.Sprint(after) {
		t.Errorf("completed: %v, want %v", got, after)
	}
}

// TestApplyKilled kills an apply while DynamoDB holds each of its writes in
// turn: nobody ever has more than before or after, and applying again
// completes it.
func TestApplyKilled(t *testing.T) {
	long(t)
	t.Parallel()
	apply := changing(t)

	k := onDynamoDB(t)
	k.fill(t)
	before := rights(t, k)
	k.wire.Reset()
	if out, err := k.administer(apply...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	writes := 0
	for name, n := range k.wire.Counts() {
		if strings.HasSuffix(name, "PutItem") {
			writes += n
		}
	}
	after := rights(t, k)
	if writes < 4 || fmt.Sprint(before) == fmt.Sprint(after) {
		t.Fatalf("%d writes, from %v to %v", writes, before, after)
	}
	for at := 1; at <= writes; at++ {
		t.Run(fmt.Sprint("write ", at), func(t *testing.T) {
			t.Parallel()
			k := onDynamoDB(t)
			k.fill(t)
			gate := faultproxy.NewGate()
			var mu sync.Mutex
			seen := 0
			k.wire.SetRule(func(c faultproxy.Call) faultproxy.Fault {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasSuffix(c.Name, "PutItem") {
					if seen++; seen == at {
						return faultproxy.Late(gate) // done, and nobody is told
					}
				}
				return faultproxy.Pass
			})
			cmd := exec.Command(binary, apply...)
			cmd.Env = k.settings()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-gate.Reached():
			case <-time.After(time.Minute):
				t.Error("the write never came")
			}
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			gate.Open()
			k.wire.SetRule(nil)
			k.completes(t, apply, before, after)
		})
	}
}

// TestApplyKilledOnSQLite kills an apply after each of its writes in turn. No
// wire stands before a file: what holds the apply is the file's own lock. One
// more write may slip through before it is taken. Then the apply is killed
// there, and another one started, until one was killed after each.
func TestApplyKilledOnSQLite(t *testing.T) {
	long(t)
	t.Parallel()
	apply := changing(t)
	begin := func() *keeper {
		k := onSQLite(t)
		k.fill(t)
		return k
	}

	k := begin()
	db := k.raw(t)
	began, before := written(t, db), rights(t, k)
	if out, err := k.administer(apply...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	writes, after := written(t, db)-began, rights(t, k)
	if writes < 4 || fmt.Sprint(before) == fmt.Sprint(after) {
		t.Fatalf("%d writes, from %v to %v", writes, before, after)
	}
	const tries = 50
	died := map[int64]bool{}
	for at := range writes + 1 {
		for try := 0; !died[at]; try++ {
			if try == tries {
				t.Fatalf("of %d applies none was killed after write %d", tries, at)
			}
			k := begin()
			died[killedAfter(t, k, apply, at)] = true
			k.completes(t, apply, before, after)
		}
	}
}

// written counts the writes of users and of the policy in the file of a store.
func written(t *testing.T, db *sql.DB) (n int64) {
	t.Helper()
	err := db.QueryRowContext(t.Context(), `SELECT (SELECT sum(version) FROM users) + (SELECT max(version) FROM policies)`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// raw opens the file of a store beside it, by one connection that waits for no
// lock.
func (k *keeper) raw(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+k.file)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// lock takes the write lock of a file as soon as it is free.
func lock(t *testing.T, db *sql.DB) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := db.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// unlock gives it back.
func unlock(t *testing.T, db *sql.DB) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
}

// killedAfter starts an apply and kills it once it has written so often, or
// more often by mistake, and can write no more. It returns how often. After the
// last write nothing holds it: whether it ends before it is killed is all one.
func killedAfter(t *testing.T, k *keeper, apply []string, writes int64) int64 {
	t.Helper()
	db := k.raw(t)
	began := written(t, db)
	lock(t, db)
	cmd := exec.Command(binary, apply...)
	cmd.Env = k.settings()
	shown, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // where the test fails before
	for plan := bufio.NewScanner(shown); ; {
		if !plan.Scan() {
			t.Fatal("it shows no plan")
		}
		if strings.HasPrefix(plan.Text(), "What it means for people") { // next, it writes
			break
		}
	}
	for deadline := time.Now().Add(time.Minute); ; {
		now := written(t, db)
		if now >= began+writes {
			break
		}
		unlock(t, db)
		for written(t, db) == now {
			if time.Now().After(deadline) {
				t.Fatal("the write never comes")
			}
		}
		lock(t, db)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, shown)
	_ = cmd.Wait()
	unlock(t, db)
	return written(t, db) - began
}
