package story

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/starback/starback/broker"
)

// Age makes a Request older, with all that is due of it due so much sooner. What
// is shipped reads the machine's clock, and a story changes neither: it moves
// what is stored, beside the program that runs, which then finds time to have
// passed.
//
// Every time in the Request is moved by the same, so whatever lies between two
// of them stays as long as it was, and timers are renamed after their new time.
// Ids stay, though those of Sessions and Events hold the time they were made: AWS,
// the log and the index know them. So does the end that AWS has set to keys. So
// that no Event has another time in the index than in the log, Age waits until
// everything that is due was passed on; what is left are timers.
func (h *House) Age(id string, by time.Duration) {
	h.T.Helper()
	db := h.Store(h.T)
	h.Eventually(func() bool {
		r, err := db.Request(h.T.Context(), id)
		if err != nil {
			h.T.Fatal(err)
		}
		if due, ok := r.Trail.Due(); len(r.Trail.Events) > 0 || ok && !due.After(time.Now()) {
			return false
		}
		if err := age(&r, by); err != nil {
			h.T.Fatal(err)
		}
		_, err = db.PutRequest(h.T.Context(), r)
		if err != nil && !errors.Is(err, broker.ErrConflict) { // somebody else was quicker
			h.T.Fatal(err)
		}
		return err == nil
	}, "there is always something to pass on of request "+id)
}

// age moves the times of a Request, of which no part is anybody else's.
func age(r *broker.Request, by time.Duration) error {
	if by%time.Millisecond != 0 {
		return fmt.Errorf("timers are named after milliseconds, of which %s is no number", by)
	}
	for i, n := range r.Trail.Notices {
		if n.Kind != broker.NoticeEnding && n.Kind != broker.NoticeClose {
			continue
		}
		what, at, _ := strings.Cut(n.ID, ".")
		var millis int64
		if _, err := fmt.Sscan(at, &millis); err != nil {
			return fmt.Errorf("the timer %q is named after no time: %w", n.ID, err)
		}
		r.Trail.Notices[i].ID = fmt.Sprint(what, ".", millis-by.Milliseconds())
	}
	return earlier(reflect.ValueOf(r).Elem(), by)
}

// earlier moves every time in a value, but those that are none. What it does not
// know how to look into is an error.
func earlier(v reflect.Value, by time.Duration) error {
	var parts []reflect.Value
	switch v.Kind() {
	case reflect.Struct:
		if at, ok := v.Addr().Interface().(*time.Time); ok {
			if !at.IsZero() {
				*at = at.Add(-by)
			}
			return nil
		}
		for i := range v.NumField() {
			parts = append(parts, v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, v.Index(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			parts = append(parts, v.Elem())
		}
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
	default:
		return fmt.Errorf("there may be times in a %s", v.Type())
	}
	for _, part := range parts {
		if err := earlier(part, by); err != nil {
			return err
		}
	}
	return nil
}
