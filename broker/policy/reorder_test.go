package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
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
	var tree yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(src, &tree, yaml.UseOrderedMap()); err != nil {
		t.Fatal(err)
	}
	read := func(name string) ([]byte, error) { return os.ReadFile("testdata/good/" + name) }
	want, err := policy.Parse("policy.yaml", src, read)
	if err != nil {
		t.Fatal(err)
	}
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
		return string(b)
	}
}
