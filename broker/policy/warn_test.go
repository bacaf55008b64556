package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
)

// TestWarnings compares the warnings of each file of testdata/warn to the
// golden file beside it.
func TestWarnings(t *testing.T) {
	names, err := filepath.Glob("testdata/warn/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files with warnings: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, err := policy.Load(os.DirFS("testdata/warn"), filepath.Base(name))
			if err != nil {
				t.Fatal(err)
			}
			got := policy.Errors(file.Warnings(noon)).Detail() + "\n"
			golden := strings.TrimSuffix(name, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("warnings differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNoWarnings checks that nothing is said of files that mean what they say.
func TestNoWarnings(t *testing.T) {
	names, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no good files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, err := policy.Load(os.DirFS("testdata/good"), filepath.Base(name))
			if err != nil {
				t.Fatal(err)
			}
			if warnings := file.Warnings(noon.AddDate(0, -3, 0)); len(warnings) > 0 {
				t.Errorf("warnings:\n%s", policy.Errors(warnings).Detail())
			}
		})
	}
}
