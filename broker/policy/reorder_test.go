package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// TestReorder shuffles the keys of every mapping and the items of every list of
// a file that uses every key: it means the same, and so is encoded the same.
// What is listed inside an IAM policy document keeps its order.
func TestReorder(t *testing.T) {
	src, err := os.ReadFile("testdata/good/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := readOrdered(src)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) ([]byte, error) { return os.ReadFile("testdata/good/" + name) }
	want, err := policy.Parse("policy.yaml", src, read)
	if err != nil {
		t.Fatal(err)
	}
	checks(t, 1000)
	rapid.Check(t, func(t *rapid.T) {
		shuffled := shuffle(t, tree, true)
		got, err := policy.Parse("policy.yaml", []byte(shuffled), read)
		if err != nil {
			t.Fatalf("%v\n%s", err, shuffled)
		}
		if diff := cmp.Diff(want, got, sayings); diff != "" {
			t.Fatalf("the file means something else (-was +is):\n%s\n%s", diff, shuffled)
		}
	})
}

// TestReorderedDecides does the same to files of all kinds, and checks that each
// decides as it did.
func TestReorderedDecides(t *testing.T) {
	checks(t, 300)
	rapid.Check(t, func(t *rapid.T) {
		was := valid().Draw(t, "policy")
		tree, err := readOrdered(policy.Export(was, nil))
		if err != nil {
			t.Fatal(err)
		}
		shuffled := shuffle(t, tree, true)
		file, err := policy.Parse("policy.yaml", []byte(shuffled), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, shuffled)
		}
		s := person("ann", named[policy.GroupName](filed(t, sortedKeys(was.Groups), 3, "groups"))...)
		s.Grants = validGrants(t, sortedKeys(was.Roles))
		for name := range was.Roles {
			in := policy.Input{Policy: was, Subject: s, Asked: policy.Asked{Role: name, Ticket: "INC-1", Reason: "disk"}, Now: noon}
			before := plain(policy.Decide(in))
			in.Policy = file.Document
			if diff := cmp.Diff(before, plain(policy.Decide(in))); diff != "" {
				t.Fatalf("the order mattered to %s:\n%s\n%s", name, diff, shuffled)
			}
		}
	})
}

func sortedKeys[K ~string, V any](m map[K]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, string(k))
	}
	slices.Sort(keys)
	return keys
}

// readOrdered reads YAML and keeps the order of keys.
func readOrdered(src []byte) (tree yaml.MapSlice, err error) {
	err = yaml.UnmarshalWithOptions(src, &tree, yaml.UseOrderedMap())
	return tree, err
}

// shuffle writes a value in the flow style of YAML, which is nearly JSON.
func shuffle(t *rapid.T, value any, lists bool) string {
	var parts []string
	switch value := value.(type) {
	case yaml.MapSlice:
		for _, item := range value {
			inside := lists && item.Key != "session_policy" && item.Key != "permissions"
			parts = append(parts, fmt.Sprintf("%q: %s", item.Key, shuffle(t, item.Value, inside)))
		}
		return "{" + strings.Join(mix(t, parts), ", ") + "}"
	case []any:
		for _, item := range value {
			parts = append(parts, shuffle(t, item, lists))
		}
		if lists {
			parts = mix(t, parts)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		b, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		// JSON leaves a byte order mark as it is, which no file may hold.
		return strings.ReplaceAll(string(b), "\ufeff", `\ufeff`)
	}
}
