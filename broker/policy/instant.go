package policy

import (
	"fmt"
	"time"
)

// ParseInstant reads a moment as a policy file has it: a date, YYYY-MM-DD,
// which stands for the end of that day in UTC, or an RFC 3339 time.
func ParseInstant(s string) (time.Time, error) {
	t, err := parseInstant(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("policy: %s %w; write it as in 2027-06-30 or 2027-06-30T18:00:00Z", quote(s), err)
	}
	return t, nil
}

// ParseLifetime reads a length of time that may be of days of 24 hours, such
// as "90d", "12h" or "1d12h".
func ParseLifetime(s string) (time.Duration, error) {
	d, ok := parseDuration(s)
	if !ok {
		return 0, fmt.Errorf("policy: %s is not a length of time such as 90d or 12h", quote(s))
	}
	return d, nil
}
