// Package docs_test keeps the documentation true where a machine can tell.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/starback/starback/broker/policy"
)

// pages are all pages of the project, from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"../*.md", "*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out[file] = string(text)
		}
	}
	if len(out) < 5 {
		t.Fatalf("there are only %d pages", len(out))
	}
	return out
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(version: 1\n.*?)```")

// TestPolicies parses every policy that the pages show whole.
func TestPolicies(t *testing.T) {
	found := 0
	for file, text := range pages(t) {
		for _, block := range yamlBlock.FindAllStringSubmatch(text, -1) {
			found++
			_, err := policy.Parse(file, []byte(block[1]), func(string) ([]byte, error) {
				return []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`), nil
			})
			if err != nil {
				t.Errorf("a policy in %s: %v", file, err)
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a policy")
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows every relative link, to the page and to the heading.
func TestLinks(t *testing.T) {
	for file, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(m[1], "://") {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
			}
			there, err := os.ReadFile(path)
			if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s: a dead link: %s", file, m[1])
			} else if anchor != "" && !hasHeading(string(there), anchor) {
				t.Errorf("%s: no such heading: %s", file, m[1])
			}
		}
	}
}

// hasHeading says whether a page has a heading that GitHub gives the anchor.
func hasHeading(page, anchor string) bool {
	for line := range strings.Lines(page) {
		title, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " ")
		if ok && strings.HasPrefix(line, "#") && slug(title) == anchor {
			return true
		}
	}
	return false
}

var notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

func slug(title string) string {
	return strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
}
