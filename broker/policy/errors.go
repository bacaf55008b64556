package policy

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxErrors is how many problems of one file are reported: more than anybody
// mends in one sitting.
const maxErrors = 50

// sourceWidth is how much of a line, in characters, an Error quotes: what fits
// on a wide screen.
const sourceWidth = 160

// An Error is one problem in a policy file, or in an IAM policy file that it
// names; or a warning about one.
type Error struct {
	File       string `json:"file"`
	Line       int    `json:"line"`                 // from 1
	Column     int    `json:"column"`               // from 1, in characters
	Message    string `json:"message"`              // "unknown key `x`"
	Suggestion string `json:"suggestion,omitempty"` // "did you mean `y`?"
	Source     string `json:"source,omitempty"`     // the line, or 160 characters of it around the column, with … where it is cut
	Skipped    int    `json:"skipped,omitempty"`    // how many characters of the line are before Source
}

// Error returns the problem on one line:
// "policy.yaml:12:5: unknown key `x`; did you mean `y`?".
func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Suggestion != "" {
		s += "; " + e.Suggestion
	}
	return s
}

// Detail returns the problem, the line it is on and a caret below the place.
func (e *Error) Detail() string {
	if e.Source == "" {
		return e.Error()
	}
	// A tab stays a tab, so that the caret lines up however wide it is shown.
	lead := []rune(e.Source)
	lead = lead[:min(max(e.Column-1-e.Skipped, 0), len(lead))]
	for i, r := range lead {
		if r != '\t' {
			lead[i] = ' '
		}
	}
	number := fmt.Sprintf("%5d", e.Line)
	return fmt.Sprintf("%s\n%s | %s\n%s | %s^", e.Error(),
		number, e.Source, strings.Repeat(" ", len(number)), string(lead))
}

// Errors are the problems of one policy file and of the IAM policy files that
// it names, at most 50: those of the policy file first, each file's in the
// order of their positions.
type Errors []*Error

// Error returns the problems, one a line.
func (e Errors) Error() string { return e.lines("\n", (*Error).Error) }

// Detail returns the Detail of every problem, with an empty line between.
func (e Errors) Detail() string { return e.lines("\n\n", (*Error).Detail) }

// Unwrap returns each problem.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

func (e Errors) lines(sep string, line func(*Error) string) string {
	all := make([]string, len(e))
	for i, one := range e {
		all[i] = line(one)
	}
	return strings.Join(all, sep)
}

// A source is one file's text.
type source struct {
	name  string
	order int // 0 for the policy file, then each IAM policy file as it is met
	lines []string
}

func newSource(name string, order int, text string) *source {
	return &source{name: name, order: order, lines: strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")}
}

// A position is a place in a source: line and column count from 1, columns in
// characters.
type position struct {
	in           *source
	line, column int
}

// A suggestion says what to do about a problem. It is worked out only for one
// that is reported.
type suggestion struct{ words func() string }

// onlyStored stands where a suggestion would, for what a stored document alone
// can have: nobody mends that by hand.
var onlyStored = hint("")

// A problem is an Error in the making.
type problem struct {
	at      position
	message string
	suggest suggestion
}

// problems collects what is wrong with a file.
type problems struct {
	found   []problem
	seen    map[position]bool // where there is a problem
	damaged map[position]bool // the mappings that have one with their shape
}

// add records a problem, with what would mend it.
func (ps *problems) add(at position, suggest suggestion, format string, args ...any) {
	if ps.seen == nil {
		ps.seen = map[position]bool{}
	}
	ps.seen[at] = true
	ps.found = append(ps.found, problem{at, fmt.Sprintf(format, args...), suggest})
}

// errors returns what was found, or nil.
func (ps *problems) errors() Errors {
	slices.SortStableFunc(ps.found, func(a, b problem) int {
		return cmp.Or(
			cmp.Compare(a.at.in.order, b.at.in.order),
			cmp.Compare(a.at.line, b.at.line),
			cmp.Compare(a.at.column, b.at.column))
	})
	var errs Errors
	for _, p := range ps.found[:min(len(ps.found), maxErrors)] {
		errs = append(errs, p.error())
	}
	return errs
}

// error makes the Error, with a position that is inside the file.
func (p problem) error() *Error {
	e := &Error{File: p.at.in.name, Message: p.message, Suggestion: printable(shortened(p.suggest.words(), 200))}
	e.Line = min(max(p.at.line, 1), len(p.at.in.lines))
	line := p.at.in.lines[e.Line-1]
	length := utf8.RuneCountInString(line)
	e.Column = min(max(p.at.column, 1), length+1)
	if length > sourceWidth {
		e.Skipped = min(max(e.Column-1-sourceWidth/2, 0), length-sourceWidth)
		line = window(line, e.Skipped, length)
	}
	e.Source = printable(line)
	return e
}

// window returns what an Error quotes of a line of length characters, with an
// ellipsis as the first and the last of them where the line goes on.
func window(line string, skipped, length int) string {
	from := skip(line, skipped)
	part := from[:len(from)-len(skip(from, sourceWidth))]
	if skipped > 0 {
		part = "…" + skip(part, 1)
	}
	if skipped+sourceWidth < length {
		_, last := utf8.DecodeLastRuneInString(part)
		part = part[:len(part)-last] + "…"
	}
	return part
}

// skip returns s without its first n characters.
func skip(s string, n int) string {
	for ; n > 0 && s != ""; n-- {
		_, first := utf8.DecodeRuneInString(s)
		s = s[first:]
	}
	return s
}

// hint returns a suggestion that needs no working out.
func hint(s string) suggestion { return suggestion{func() string { return s }} }

// didYouMean suggests the nearest of names, or something else if none is near.
func didYouMean[T ~string](word string, names []T, otherwise string) suggestion {
	return suggestion{func() string {
		if name, ok := Suggest(word, names); ok {
			return "did you mean " + quote(string(name)) + "?"
		}
		return otherwise
	}}
}

// oneOf suggests the nearest of names, or else all of them.
func oneOf[T ~string](word string, names ...T) suggestion {
	return didYouMean(word, names, "write "+joined(names, len(names), "or"))
}

// nearestKey suggests the nearest key of a map, or something else if none is
// near.
func nearestKey[T ~string, V any](word string, names map[T]V, otherwise string) suggestion {
	return suggestion{func() string { return didYouMean(word, slices.Collect(maps.Keys(names)), otherwise).words() }}
}

// within suggests the length of time, from least to most, that is nearest to d.
func within(d, least, most time.Duration) suggestion {
	return hint("write " + durationText(min(max(d, least), most)))
}

// nameLike suggests a name like s that is valid: in small letters, with a dash
// in place of what no name holds.
func nameLike(s string, valid *regexp.Regexp) suggestion {
	return suggestion{func() string {
		name := strings.Trim(strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
				return r
			}
			return '-'
		}, strings.ToLower(s)), "-._")
		if valid.MatchString(name) {
			return "write " + quote(name)
		}
		return "write a short name of small letters, digits and ._-"
	}}
}

// quote sets s off from the words of a message, cut to a length that leaves
// them readable.
func quote(s string) string {
	return "`" + printable(shortened(s, 80)) + "`"
}

// shortened returns s, or so many characters of it and an ellipsis.
func shortened(s string, most int) string {
	if rest := skip(s, most); rest != "" {
		return s[:len(s)-len(rest)] + "…"
	}
	return s
}

// printable replaces what a terminal would obey rather than show.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unsafeRune(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// unsafeRune says whether r controls a terminal or the direction of text: such
// characters can make a file read otherwise than it is.
func unsafeRune(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}
