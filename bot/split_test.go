package bot

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func TestSplitWords(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // nil: a quotation is not closed
	}{
		{"", []string{}},
		{" \t\u00a0", []string{}},
		{"user  add\tbob", []string{"user", "add", "bob"}},
		{"user disable bob --message 'on leave'", []string{"user", "disable", "bob", "--message", "on leave"}},
		{`--message "on leave" bob`, []string{"--message", "on leave", "bob"}},
		{`--message='on leave' bob`, []string{"--message=on leave", "bob"}},
		{`--message="on leave"`, []string{"--message=on leave"}},
		{"''", []string{""}},
		{`--message ""`, []string{"--message", ""}},
		{`'on "leave" now'`, []string{`on "leave" now`}},
		{`"it's so"`, []string{"it's so"}},

		// What keyboards make of quotes and dashes.
		{"—message “on leave” –until 90d ―group sre", []string{"--message", "on leave", "--until", "90d", "--group", "sre"}},
		{"—message=‘on leave’", []string{"--message=on leave"}},
		{"--message „auf Urlaub“", []string{"--message", "auf Urlaub"}},
		{"--message «en congé»", []string{"--message", "en congé"}},
		{"--message ’på ferie’", []string{"--message", "på ferie"}},
		{"--message “on leave\"", []string{"--message", "on leave"}},
		{"“—message”", []string{"—message"}},
		{"a—b a–b", []string{"a—b", "a–b"}},
		{"—", []string{"--"}},

		// Apostrophes are none of it.
		{"--message 'don't lock dev out' x", []string{"--message", "don't lock dev out", "x"}},
		{"--message ‘don’t lock dev out’ x", []string{"--message", "don’t lock dev out", "x"}},
		{"it's bob’s", []string{"it's", "bob’s"}},
		{`C:\back\slash \"`, []string{`C:\back\slash`, `\"`}},

		{"--message 'on leave", nil},
		{"--message “on leave", nil},
		{"--message=\"on leave", nil},
		{"'", nil},
		{`"on leave'`, nil},
		{`"on"leave`, nil},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := splitWords(c.text)
			if c.want == nil {
				if !errors.Is(err, errUnclosed) || got != nil {
					t.Errorf("%q, %v; want errUnclosed", got, err)
				}
				return
			}
			if diff := cmp.Diff(c.want, append([]string{}, got...)); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// quoteWord writes a word as somebody would type it; false if there is no way.
func quoteWord(word string) (string, bool) {
	for _, q := range []string{"'", `"`} {
		if quoted := q + word + q; quotationEnd([]rune(quoted)[1:], []rune(q)[0]) == len([]rune(word)) {
			return quoted, true
		}
	}
	return "", false
}

func FuzzSplitWords(f *testing.F) {
	for _, seed := range append(nasty, "user add bob", "—message “it’s so”", "a='b c'd", "''", "' ' \"", "=“”", "x='", "\u2014\u2014") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = cleanText(text)
		words, err := splitWords(text)
		if err != nil {
			if len(words) > 0 || !strings.ContainsFunc(text, func(r rune) bool { return quoteKind(r) != 0 }) {
				t.Fatalf("%q: %q, %v", text, words, err)
			}
			return
		}
		// Nothing is made up, and nothing but quotes, dashes and space is lost.
		letters := func(s string) string {
			return strings.Map(func(r rune) rune {
				if unicode.IsSpace(r) || quoteKind(r) != 0 || strings.ContainsRune("-—–―", r) {
					return -1
				}
				return r
			}, s)
		}
		if letters(text) != letters(strings.Join(words, "")) {
			t.Fatalf("%q became %q", text, words)
		}
		var typed []string
		for _, word := range words {
			quoted, ok := quoteWord(word)
			if !ok {
				return
			}
			typed = append(typed, quoted)
		}
		again, err := splitWords(strings.Join(typed, " "))
		if err != nil || !slices.Equal(words, again) {
			t.Fatalf("%q is %q, and typed again %q, %v", text, words, again, err)
		}
	})
}
