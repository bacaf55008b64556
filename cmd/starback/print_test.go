package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// TestWriteJSON writes what somebody wrote so that no terminal obeys it, and so
// that whoever reads it reads what was written.
func TestWriteJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"plain, ü", "<b> & \"q\" \\ \\u009b", "\x1b]0;x\a\n\t\x00\x7f", "\u009b31m\u0085", "\u202eabc\u2066\u2028\u2029", "\u00e9\U0001F511"} {
		var out strings.Builder
		writeJSON(&out, map[string]string{"detail": text})
		line, found := strings.CutSuffix(out.String(), "\n")
		if i := strings.IndexFunc(line, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }); i >= 0 || !found {
			t.Errorf("%q is written as %q", text, out.String())
		}
		var read map[string]string
		if err := json.Unmarshal([]byte(line), &read); err != nil || read["detail"] != text {
			t.Errorf("%q is read as %q, %v", text, read["detail"], err)
		}
	}
}
