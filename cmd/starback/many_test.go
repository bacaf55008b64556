package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// settings are what the program needs to administer: any credentials will do.
func (k *keeper) settings() []string {
	return environment(append(awsEnvironment("http://127.0.0.1:1", sandbox.Key{AccessKeyID: "AKIAEXAMPLEEXAMPLE00", SecretAccessKey: "any-will-do"}), k.env...)...)
}

// administer runs the program on a store and returns what it says.
func (k *keeper) administer(args ...string) (string, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env = k.settings()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestManyAdministrators has processes side by side change the same: the one
// document that everybody's grants are in, and the same user. Nothing is lost.
func TestManyAdministrators(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		k.fill(t)
		const writers, each = 4, 4
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				for j := range each {
					group := fmt.Sprintf("team-%d-%d", i, j)
					for _, words := range []string{
						"group add " + group, "grant add prod-readonly --group " + group, "group add-member " + group + " alice",
					} {
						if out, err := k.administer(strings.Fields(words)...); err != nil {
							t.Errorf("%s: %v\n%s", words, err, out)
						}
					}
				}
			})
		}
		all.Wait()
		db := k.open(t)
		head, doc, err := db.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		alice, err := db.User(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		added, granted := 0, 0
		for name, group := range doc.Groups {
			if strings.HasPrefix(string(name), "team-") {
				added++
				granted += len(group.Grants)
			}
		}
		member := 0
		for _, g := range alice.Groups {
			if strings.HasPrefix(string(g), "team-") {
				member++
			}
		}
		if want := writers * each; added != want || granted != want || member != want || head.Version < int64(2*want) {
			t.Errorf("%d groups, %d grants, alice in %d, version %d; %d were added by each", added, granted, member, head.Version, want)
		}
	})
}

// rights are what people may ask for, by user and role.
func rights(t *testing.T, k *keeper) map[string]bool {
	t.Helper()
	db := k.open(t)
	_, doc, err := db.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]bool{}
	err = db.Users(t.Context(), func(u broker.User) bool {
		for _, hold := range policy.Reach(doc, u.Subject(broker.User{}), time.Now()) {
			held[fmt.Sprintf("%s: %s", u.Name, hold.Role.Name)] = true
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// TestApplyKilled kills an apply while DynamoDB holds each of its writes in
// turn: nobody ever has more than before or after, and applying again
// completes it.
func TestApplyKilled(t *testing.T) {
	long(t)
	t.Parallel()
	changed := strings.Replace(story.Policy, "groups: [dev]", "groups: [watch]", 1)
	changed = strings.Replace(changed, "bob: {slack: T0TEST/U0BOB, groups: [dev]", "bob: {slack: T0TEST/U0BOB, groups: [dev], grants: [prod-console]", 1)
	changed = strings.Replace(changed, "dev: {grants: [prod-readonly, prod-console]}", "dev: {grants: [prod-readonly]}\n  watch: {grants: [prod-console]}", 1)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	apply := []string{"apply", "-f", file, "--yes", "--overwrite", "--allow-shrink"}

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
			for right := range rights(t, k) {
				if !before[right] && !after[right] {
					t.Errorf("killed at write %d, %s", at, right)
				}
			}
			if out, err := k.administer(apply...); err != nil {
				t.Errorf("again: %v\n%s", err, out)
			}
			if got := rights(t, k); fmt.Sprint(got) != fmt.Sprint(after) {
				t.Errorf("completed: %v, want %v", got, after)
			}
		})
	}
}
