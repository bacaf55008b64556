package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/starback/starback/broker/policy"
)

// Ending all of a person's or a Role's starts from the store's indexes, which
// may lag behind what was issued a moment ago. So whoever asks for it waits for
// Config.Lag, and looks again.

// EndUser ends whatever a User holds, and what is held by applications that
// they answer for. It returns how many Requests had something to end.
func (b *Broker) EndUser(ctx context.Context, name policy.UserName, by Author) (int, error) {
	return b.endings(by).look(ctx, b.Lag, func(e *endings) error { return e.user(ctx, name) })
}

// EndRole ends whatever anybody holds of a Role. It returns how many Requests
// had something to end.
func (b *Broker) EndRole(ctx context.Context, role policy.RoleName, by Author) (int, error) {
	return b.endings(by).look(ctx, b.Lag, func(e *endings) error { return e.role(ctx, role) })
}

// FindIssued finds the Event of a Session's being issued, by the Session's ID
// or by its access key ID. Where there is none, it is ErrNotFound.
func (b *Broker) FindIssued(ctx context.Context, id string) (Event, error) {
	e, err := b.findIssued(ctx, id)
	if errors.Is(err, ErrNotFound) && b.Lag > 0 {
		b.pause(ctx, b.Lag)
		e, err = b.findIssued(ctx, id)
	}
	return e, err
}

// Endings are the ends of many Requests.
type endings struct {
	broker *Broker
	by     Author
	seen   map[string]bool // Requests that had something to end
	errs   []error         // one for each that could not be
}

func (b *Broker) endings(by Author) *endings {
	return &endings{broker: b, by: by, seen: map[string]bool{}}
}

// look looks for what is to be ended, and if there is a lag, once more after it.
// Look's own error says what it could not see.
func (e *endings) look(ctx context.Context, lag time.Duration, look func(*endings) error) (int, error) {
	unseen := []error{look(e)}
	if lag > 0 {
		e.broker.pause(ctx, lag)
		unseen = append(unseen, look(e))
	}
	return len(e.seen), errors.Join(append(e.errs, unseen...)...)
}

// request ends all of a Request, once.
func (e *endings) request(ctx context.Context, id string) {
	if e.seen[id] {
		return
	}
	_, err := e.broker.end(ctx, id, "", e.by.Name, e.by.Slack, nil)
	if !errors.Is(err, ErrNotFound) {
		e.seen[id] = true
		e.errs = append(e.errs, err)
	}
}

// user ends what a User and their applications hold, as far as it is seen.
func (e *endings) user(ctx context.Context, name policy.UserName) error {
	holders := []policy.UserName{name}
	errs := []error{e.broker.Users.Users(ctx, func(u User) bool {
		if u.IsApp && u.Owner == name {
			holders = append(holders, u.Name)
		}
		return true
	})}
	for _, holder := range holders {
		open, err := e.broker.Requests.OpenRequests(ctx, holder, e.broker.now())
		errs = append(errs, err)
		for _, r := range open {
			e.request(ctx, r.ID)
		}
	}
	return errors.Join(errs...)
}

// role ends what anybody holds of a Role, as far as it is seen. No Session is
// older than AWS lets one be.
func (e *endings) role(ctx context.Context, role policy.RoleName) error {
	now := e.broker.now()
	for q := (EventQuery{Role: role, Since: now.Add(-policy.MaxDuration)}); ; {
		events, err := e.broker.Archive.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, found := range events {
			if found.Event == EventIssued && now.Before(found.ExpiresAt) {
				e.request(ctx, found.RequestID)
			}
		}
		if len(events) == 0 {
			return nil
		}
		q.After = events[len(events)-1].ID
	}
}

// findIssued is FindIssued with one look. A Session's ID tells when it began,
// and it was issued within its lease.
func (b *Broker) findIssued(ctx context.Context, id string) (Event, error) {
	q := EventQuery{AccessKeyID: id}
	if began, err := ulid.ParseStrict(id); err == nil {
		at := ulid.Time(began.Time())
		q = EventQuery{Since: at.Add(-LeaseFor), Until: at.Add(2 * LeaseFor)}
	}
	for {
		events, err := b.Archive.Events(ctx, q)
		if err != nil {
			return Event{}, err
		}
		for _, e := range events {
			if e.Event == EventIssued && (e.SessionID == id || e.AccessKeyID == id) {
				return e, nil
			}
		}
		if len(events) == 0 {
			return Event{}, fmt.Errorf("nothing was issued as %s: %w", id, ErrNotFound)
		}
		q.After = events[len(events)-1].ID
	}
}
