package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
)

// seeds returns the files that match pattern.
func seeds(f *testing.F, pattern string) [][]byte {
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds in %s: %v", pattern, err)
	}
	var all [][]byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// FuzzParse checks that Parse never panics, that all it refuses has a position
// inside the file, and that what it accepts survives being stored.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, src := range seeds(f, pattern) {
			f.Add(src)
		}
	}
	f.Add([]byte(small))
	f.Add([]byte("\xef\xbb\xbf" + small))
	f.Add([]byte("version: 1\r\ngroups: {a: {}}\r\nadmins: [a]\r\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := policy.Parse("policy.yaml", src, func(string) ([]byte, error) {
			return nil, errors.New("no files here")
		})
		if err != nil {
			if file != nil {
				t.Errorf("a file and an error: %v", err)
			}
			checkErrors(t, "policy.yaml", string(src), err)
			return
		}
		roundTrip(t, file.Document)
	})
}

// FuzzSession does the same for the text of a session policy file.
func FuzzSession(f *testing.F) {
	for _, pattern := range []string{"testdata/good/policies/*", "testdata/bad/policies/*"} {
		for _, src := range seeds(f, pattern) {
			f.Add(src)
		}
	}
	policyFile := []byte(small + `accounts: {a: {id: "111122223333"}}
roles: {r: {account: a, iam_role: r, max_duration: 1h, session_policy: {file: s.json}}}
`)
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := policy.Parse("policy.yaml", policyFile, func(string) ([]byte, error) { return src, nil })
		if err != nil {
			checkErrors(t, "s.json", string(src), err)
			return
		}
		roundTrip(t, file.Document)
	})
}

// FuzzDecode checks that Decode never panics and accepts only what Encode
// writes.
func FuzzDecode(f *testing.F) {
	for _, b := range seeds(f, "testdata/good/*.golden") {
		f.Add(b)
	}
	for _, s := range []string{"", "null", "{}", `{"accounts":{},"groups":{"a":{"name":"a"}},"roles":{},"admins":["a"],"settings":{"user_lifetime":3600000000000}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := policy.Decode(b)
		if err != nil {
			return
		}
		if diff := cmp.Diff(string(b), string(encode(t, d))); diff != "" {
			t.Errorf("encoded again (-was +is):\n%s", diff)
		}
		roundTrip(t, d)
	})
}

func roundTrip(t *testing.T, d *policy.Document) {
	t.Helper()
	again, err := policy.Decode(encode(t, d))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, again); diff != "" {
		t.Errorf("decoded (-was +is):\n%s", diff)
	}
}
