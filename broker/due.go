package broker

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	dueBatch    = 50
	retryFirst  = 2 * time.Second
	retryAtMost = 5 * time.Minute
)

// wake asks a running Sweep to look now rather than at its next tick.
func (b *Broker) wake() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// Sweep calls Due every so often, and whenever there is news, until ctx ends.
// What goes wrong is reported and tried again.
func (b *Broker) Sweep(ctx context.Context, every time.Duration, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		more, err := b.Due(ctx)
		if err != nil && ctx.Err() == nil {
			report(err)
		}
		if more && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.kick:
		}
	}
}

// Due passes on what is due: Events to the audit index, Notices to people. It
// is idempotent, and what fails stays due for later. More says that it stopped
// at a full batch.
func (b *Broker) Due(ctx context.Context) (more bool, err error) {
	now := b.now()
	// What could be read is passed on, whatever could not.
	pending, err := b.Outbox.Pending(ctx, now, dueBatch)
	errs := []error{err}
	waiting := map[NoticeKind]time.Duration{} // receivers that asked for patience
	for _, p := range pending {
		if err := b.passOn(ctx, p, now, waiting); err != nil {
			errs = append(errs, err)
		}
	}
	return len(pending) == dueBatch, errors.Join(errs...)
}

// passOn settles one aggregate's Trail as far as it can.
func (b *Broker) passOn(ctx context.Context, p Pending, now time.Time, waiting map[NoticeKind]time.Duration) error {
	if err := b.Archive.Append(ctx, p.Trail.Events); err != nil {
		return err // not in the index: nothing is told, nothing taken off
	}
	s := Settlement{Thread: p.Trail.Thread, Later: map[string]Notice{}}
	for _, e := range p.Trail.Events {
		s.Indexed = append(s.Indexed, e.ID)
		if p.Ref.Kind != RefRequest {
			// What administrators do may happen where nothing is logged, as on
			// the command line: their Events are logged here.
			b.Journal.Audit(e, Metrics{})
		}
	}
	var request *Request
	if p.Ref.Kind == RefRequest {
		r, err := b.Ledger.Request(ctx, p.Ref.Key)
		if err != nil {
			return err
		}
		request = &r
	}
	var errs []error
	for _, kind := range []NoticeKind{NoticeAudit, NoticeUndelivered} {
		notices := slices.DeleteFunc(slices.Clone(p.Trail.Notices), func(n Notice) bool { return n.Kind != kind })
		if len(notices) == 0 {
			continue
		}
		err := error(&Patience{After: waiting[kind]})
		if waiting[kind] == 0 {
			var thread string
			thread, err = b.Teller.Tell(ctx, Telling{Kind: kind, Notices: notices, Thread: s.Thread, Request: request})
			if thread != "" {
				s.Thread = thread
			}
		}
		if err == nil {
			for _, n := range notices {
				s.Told = append(s.Told, n.ID)
			}
			continue
		}
		var patience *Patience
		if errors.As(err, &patience) {
			waiting[kind] = max(waiting[kind], patience.After)
		} else {
			errs = append(errs, err)
		}
		for _, n := range notices {
			n.Tries++
			n.Due = now.Add(retryAfter(n.Tries, waiting[kind]))
			s.Later[n.ID] = n
		}
	}
	return errors.Join(append(errs, b.Outbox.Settle(ctx, p.Ref, s))...)
}

// retryAfter is how long to wait before a further try: doubling, bounded, and
// no shorter than the receiver asked for.
func retryAfter(tries int, asked time.Duration) time.Duration {
	wait := retryAtMost
	if tries < 10 {
		wait = min(retryAtMost, retryFirst<<(tries-1))
	}
	return max(wait, asked)
}
