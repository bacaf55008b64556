package policy

import (
	"strconv"
	"strings"
	"time"
)

// ended warns of grants and of users whose end has passed.
func (w *warner) ended(root *node) {
	for _, e := range root.under("groups") {
		w.endedGrants(e.value)
	}
	for _, e := range root.under("users") {
		if n := e.value.get("disabled"); n != nil && n.text == "true" {
			continue // has ended anyway
		}
		if n := e.value.get("expires"); w.past(n) {
			w.add(n.at, hint("set a later day, or disabled: true"), "the access of %s has ended already", quote(e.key))
			continue
		}
		w.endedGrants(e.value)
	}
}

// endedGrants does so for the grants of one group or user.
func (w *warner) endedGrants(of *node) {
	for _, grant := range texts(of.get("grants")) {
		if n := grant.get("until"); w.past(n) {
			w.add(n.at, hint("take it out, or set a later day"), "the grant of %s has ended already", quote(grant.get("role").text))
		}
	}
}

// past says whether n is an instant that has passed.
func (w *warner) past(n *node) bool {
	if n == nil || len(w.found) >= maxFindings {
		return false
	}
	t, err := parseInstant(n.text)
	return err == nil && !w.now.Before(t)
}

// times warns of a statement whose condition wants a time that has passed, or
// that never is. Only the keys that hold the time of the call are looked at.
func (w *warner) times(s statement) {
	var before, after bound
	for _, operator := range s.under("Condition") {
		for _, key := range operator.value.entries {
			if !strings.EqualFold(key.key, "aws:CurrentTime") && !strings.EqualFold(key.key, "aws:EpochTime") {
				continue
			}
			switch strings.TrimSuffix(operator.key, "IfExists") {
			case "DateLessThan", "DateLessThanEquals", "DateEquals":
				before.narrow(key.value, time.Time.After, time.Time.Before)
			case "DateGreaterThan", "DateGreaterThanEquals":
				after.narrow(key.value, time.Time.Before, time.Time.After)
			}
		}
	}
	switch {
	case before.at == nil:
	case w.now.After(before.time):
		w.add(before.at.at, hint("set a later time, or take the statement out"), "the time that the condition wants has passed")
	case after.at != nil && after.time.After(before.time):
		w.add(before.at.at, hint("set one later than on line "+strconv.Itoa(after.at.at.line)), "no time is as early as this and as late as the condition wants")
	}
}

// A bound is the time before which, or after which, a condition holds.
type bound struct {
	at   *node // nil: there is none
	time time.Time
}

// narrow takes a condition's values into account. Of several values the loosest
// counts, and of several conditions the strictest. Values that are not times, or
// hold variables, are not known, and then neither is the bound.
func (b *bound) narrow(values *node, looser, stricter func(time.Time, time.Time) bool) {
	var found bound
	for _, n := range texts(values) {
		t, ok := conditionTime(n.text)
		if !ok {
			return
		}
		if found.at == nil || looser(t, found.time) {
			found = bound{n, t}
		}
	}
	if found.at != nil && (b.at == nil || stricter(found.time, b.time)) {
		*b = found
	}
}

// epochPattern leaves out years.
var epochPattern = expression(`^[0-9]{9,11}$`)

// conditionTime reads a date as IAM does: ISO 8601, or seconds since 1970.
func conditionTime(s string) (time.Time, bool) {
	if epochPattern().MatchString(s) {
		seconds, err := strconv.ParseInt(s, 10, 64)
		return time.Unix(seconds, 0), err == nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
