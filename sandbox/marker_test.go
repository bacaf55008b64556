package sandbox_test

import (
	"crypto/rand"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/starback/starback/sandbox"
)

func TestSecret(t *testing.T) {
	alphabet := regexp.MustCompile(`^[A-Za-z0-9+/]*$`)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(len(sandbox.Marker), 5000).Draw(t, "n")
		s := sandbox.Secret(n, rand.Reader)
		if len(s) != n || !alphabet.MatchString(s) || !strings.HasPrefix(s, sandbox.Marker) {
			t.Fatalf("Secret(%d) = %q", n, s)
		}
		if n < 128 {
			return
		}
		from := rapid.IntRange(0, n-128).Draw(t, "from")
		if fragment := s[from : from+128]; !strings.Contains(fragment, sandbox.Marker) {
			t.Fatalf("no marker in the 128 characters from %d: %q", from, fragment)
		}
	})
}

func TestSecretIsRandom(t *testing.T) {
	if s := sandbox.Secret(40, rand.Reader); s == sandbox.Secret(40, rand.Reader) {
		t.Errorf("two secrets are both %q", s)
	}
}

func TestSecretPanics(t *testing.T) {
	tests := []struct {
		name string
		make func()
	}{
		{"no room for the marker", func() { sandbox.Secret(len(sandbox.Marker)-1, rand.Reader) }},
		{"randomness ends", func() { sandbox.Secret(40, strings.NewReader("short")) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { awsMustPanic(t, tt.make) })
	}
}
