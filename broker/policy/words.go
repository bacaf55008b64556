package policy

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/agext/levenshtein"
)

// verbs are the first words of commands, which no Role may be called.
var verbs = []string{
	"role", "roles", "sessions", "whoami", "help", "version", "end", "renew",
	"login", "why", "whois", "audit", "admin",
}

// ParseDuration reads a duration as people write it: whole hours, whole
// minutes or both, such as "8h", "30m" or "1h30m". It refuses zero, every
// other unit, and anything around it.
func ParseDuration(s string) (time.Duration, error) {
	d, ok := parseDuration(s)
	if !ok || strings.Contains(s, "d") {
		return 0, fmt.Errorf("policy: %s is not a duration such as 30m, 8h or 1h30m", quote(s))
	}
	return d, nil
}

// Five digits of each unit cannot overflow a time.Duration.
var durationPattern = expression(`^(?:([0-9]{1,5})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?$`)

// parseDuration reads a positive duration of days of 24 hours, hours and
// minutes.
func parseDuration(s string) (time.Duration, bool) {
	parts := durationPattern().FindStringSubmatch(s)
	if parts == nil {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute} {
		n, _ := strconv.Atoi(parts[i+1]) // digits, or nothing: 0
		d += time.Duration(n) * unit
	}
	return d, d > 0
}

// durationText writes d as ParseDuration reads it.
func durationText(d time.Duration) string {
	s := strings.TrimSuffix(d.String(), "m0s")
	if len(s) == len(d.String()) {
		return s
	}
	if hours, ok := strings.CutSuffix(s, "h0"); ok {
		return hours + "h"
	}
	return s + "m"
}

// Instants outside these years are mistakes; and year 1 is the zero time,
// which would mean "no expiry".
const firstYear, lastYear = 2000, 9998

// parseInstant reads a date, YYYY-MM-DD, as the end of that day in UTC, or an
// RFC 3339 time as itself.
func parseInstant(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err == nil {
		t = t.AddDate(0, 0, 1)
	} else if err := t.UnmarshalText([]byte(s)); err != nil { // stricter than time.Parse
		return time.Time{}, errors.New("is not a date, nor an RFC 3339 time")
	}
	t = t.UTC()
	if !plausible(t) {
		return time.Time{}, fmt.Errorf("is not between the years %d and %d", firstYear, lastYear)
	}
	return t, nil
}

func plausible(t time.Time) bool {
	return t.UTC().Year() >= firstYear && t.UTC().Year() <= lastYear
}

// SplitTicket takes a ticket off the words that follow a Role in a command:
// the first word, if the Role has a ticket rule and the word satisfies it. The
// rest is the reason. Both come back without space around them.
func (r *Role) SplitTicket(words string) (ticket, reason string) {
	words = strings.TrimSpace(words)
	first, rest := words, ""
	if i := strings.IndexFunc(words, unicode.IsSpace); i >= 0 {
		first, rest = words[:i], strings.TrimSpace(words[i:])
	}
	if r != nil && r.Ticket.Match(first) {
		return first, rest
	}
	return "", words
}

// Suggest returns the one of names that word was most likely meant to be, and
// whether any is near enough: the same but for case, one transposition away,
// up to two edits or a third of word's length away, or word's continuation. Of
// equally near names the first in alphabetical order wins. Three letters or
// fewer allow one edit only, since two would make anything of them.
func Suggest[T ~string](word string, names []T) (T, bool) {
	var best T
	nearest := -1
	from := []rune(strings.ToLower(word))
	limit := max(2, len(from)/3)
	if len(from) <= 3 {
		limit = 1
	}
	for _, name := range names {
		d := distance(from, []rune(strings.ToLower(string(name))), limit)
		if d > limit || len(word) == 0 {
			continue
		}
		if nearest < 0 || cmp.Or(cmp.Compare(d, nearest), cmp.Compare(name, best)) < 0 {
			best, nearest = name, d
		}
	}
	return best, nearest >= 0
}

// distance counts the edits from a to b; past limit, it returns some number
// past limit. A transposition is one edit. A continuation of three
// letters or more is limit edits: near, but behind everything nearer.
func distance(a, b []rune, limit int) int {
	if transposed(a, b) {
		return 1
	}
	far := limit + 1
	if len(a) >= 3 && strings.HasPrefix(string(b), string(a)) {
		far = limit
	}
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return far
	}
	// Without MaxCost: given one, the library may return less than the distance.
	return min(levenshtein.Distance(string(a), string(b), nil), far)
}

// transposed says whether b is a with two neighbours swapped.
func transposed(a, b []rune) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && string(a[i+2:]) == string(b[i+2:])
		}
	}
	return false
}

// listed writes names as a sentence does, the first so many of them: "alice",
// "alice and bob", "alice, bob and 12 more".
func listed[T ~string](names []T, most int) string {
	return joined(names, most, "and")
}

// joined does so with another word before the last.
func joined[T ~string](names []T, most int, last string) string {
	var words []string
	for _, name := range names[:min(len(names), max(most, 1))] {
		words = append(words, string(name))
	}
	if more := len(names) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
	}
	return strings.Join(words, "")
}
