package main

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
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
