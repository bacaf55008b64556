package main

import (
	"database/sql"
	"fmt"
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
// policy, which is the stories' with more people.
func changing(t *testing.T, more string) (apply []string) {
	t.Helper()
	changed := strings.Replace(story.Policy+more, "groups: [dev]", "groups: [watch]", 1)
	changed = strings.ReplaceAll(changed, "groups: [dev], expires: 2100", "groups: [watch], expires: 2100") // all of the others
	changed = strings.Replace(changed, "bob: {slack: T0TEST/U0BOB, groups: [dev]", "bob: {slack: T0TEST/U0BOB, groups: [dev], grants: [prod-console]", 1)
	changed = strings.Replace(changed, "dev: {grants: [prod-readonly, prod-console]}", "dev: {grants: [prod-readonly]}\n  watch: {grants: [prod-console]}", 1)
	return applying(t, changed)
}

// applying is an apply of a policy, whatever it takes.
func applying(t *testing.T, text string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
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
	apply := changing(t, "")

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

// TestApplyKilledOnSQLite kills an apply of a thousand writes as soon as the
// file holds so many of them, or a few more.
func TestApplyKilledOnSQLite(t *testing.T) {
	long(t)
	t.Parallel()
	const people = 1000
	var more strings.Builder
	for i := range people {
		fmt.Fprintf(&more, "  other-%04d: {groups: [dev], expires: 2100-01-01}\n", i)
	}
	first, apply := applying(t, story.Policy+more.String()), changing(t, more.String())
	begin := func() *keeper {
		k := onSQLite(t)
		k.fill(t)
		if out, err := k.administer(first...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return k
	}
	k := begin()
	db := k.raw(t)
	began, before := written(t, db), rights(t, k)
	if out, err := k.administer(apply...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	writes, after := written(t, db)-began, rights(t, k)
	if writes < people || fmt.Sprint(before) == fmt.Sprint(after) {
		t.Fatalf("%d writes, from %v to %v", writes, before, after)
	}
	halfWay := 0
	for _, at := range []int64{1, writes / 3, 1, 1, 1, 1} { // as often as it takes, where the machine is busy
		k := begin()
		if killedAfter(t, k, apply, began+at) < began+writes {
			halfWay++
		}
		k.completes(t, apply, before, after)
		if halfWay == 2 {
			return
		}
	}
	if halfWay == 0 {
		t.Error("every apply was quicker than whoever was to kill it")
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

// raw opens the file of a store beside it.
func (k *keeper) raw(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+k.file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// killedAfter starts the program and kills it as soon as the store holds so many
// writes. It returns how many the store holds then.
func killedAfter(t *testing.T, k *keeper, args []string, writes int64) int64 {
	t.Helper()
	db := k.raw(t)
	cmd := exec.Command(binary, args...)
	cmd.Env = k.settings()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); written(t, db) < writes; {
		if time.Now().After(deadline) {
			t.Error("the write never came")
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	return written(t, db)
}
