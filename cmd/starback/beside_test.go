package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whoever is switched off on the command line, beside a server, gets nothing at
// the next request; whoever is switched on again, does. What was issued is found
// by its access key id.
func TestAdministeringBesideAServer(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		does := func(args ...string) string {
			t.Helper()
			out, err := k.administer(args...)
			if err != nil {
				t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
			}
			return out
		}
		first := h.Gets("prod-readonly 1h INC-1 looking")
		does("user", "disable", "alice")
		h.Command("prod-readonly 1h INC-2 looking")
		h.Hears("Your access to Starback is switched off", 1)
		if n := h.Assumed(); n != 1 {
			t.Errorf("AssumeRole was called for %d sessions, want 1", n)
		}
		does("user", "enable", "alice")
		second := h.Gets("prod-readonly 1h INC-3 looking")

		// What happened is passed on, and then found, a little later.
		finds := func(want []string, args ...string) string {
			t.Helper()
			for deadline := time.Now().Add(30 * time.Second); ; {
				said := does(append([]string{"audit"}, args...)...)
				missing := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return strings.Contains(said, w) })
				if len(missing) == 0 {
					return said
				}
				if time.Now().After(deadline) {
					t.Fatalf("%q is not in\n%s\n%s", missing, said, h.output())
				}
			}
		}
		for key, ticket := range map[string]string{first["AWS_ACCESS_KEY_ID"]: "INC-1", second["AWS_ACCESS_KEY_ID"]: "INC-3"} {
			line, _, _ := strings.Cut(finds([]string{"session.issued"}, "--key", key, "--json"), "\n")
			var found struct{ Event, Actor, Role, Ticket, Reason string }
			if err := json.Unmarshal([]byte(line), &found); err != nil {
				t.Fatal(err)
			}
			if found.Event != "session.issued" || found.Actor != "alice" || found.Role != "prod-readonly" || found.Ticket != ticket || found.Reason != "looking" {
				t.Errorf("%s is found to be %+v", key, found)
			}
		}
		finds([]string{"request.denied", "rule: user.disabled", "session.issued", "ticket: INC-1; reason: looking", first["AWS_ACCESS_KEY_ID"]},
			"--user", "alice", "--role", "prod-readonly", "--since", time.Now().Add(-time.Hour).Format(time.RFC3339))
		if said := does("audit", "--role", "prod-readonly", "--until", "2026-01-01"); said != "The trail holds nothing of that.\n" {
			t.Errorf("before there was anything: %s", said)
		}
	})
}
