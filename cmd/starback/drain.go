package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
)

const (
	drainWorkers = 8
	drainPoll    = time.Second // when nothing wakes it
	// jobLease is how long a Job stays hidden while it is done. A worker that
	// lives renews it, so that the Job of one that died soon comes back.
	jobLease = 15 * time.Second
	// jobTries is how often a Job may bring its worker down.
	jobTries = 5
)

// A jobQueue is the store's durable queue, from both ends.
type jobQueue interface {
	broker.Queue
	Claim(ctx context.Context, now time.Time, lease time.Duration) (broker.Job, bool, error)
	Retry(ctx context.Context, id string, at time.Time) error
	Done(ctx context.Context, id string) error
}

// A drain carries out the Jobs of a durable queue. It is a broker.Queue
// itself, so that a Job put on it is begun at once.
type drain struct {
	queue  jobQueue
	do     func(context.Context, broker.Job) error
	giveUp func(context.Context, broker.Job, error)
	now    func() time.Time
	log    *slog.Logger
	wake   chan struct{}
}

// Enqueue implements broker.Queue.
func (d *drain) Enqueue(ctx context.Context, j broker.Job) error {
	if err := d.queue.Enqueue(ctx, j); err != nil {
		return err
	}
	d.nudge()
	return nil
}

func (d *drain) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run carries out Jobs until ctx ends. Those begun by then are finished, or
// put back after shutdownTime.
func (d *drain) run(ctx context.Context) {
	working, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stopCutting := context.AfterFunc(ctx, func() { time.AfterFunc(shutdownTime, cut) })
	defer stopCutting()

	var workers sync.WaitGroup
	for range drainWorkers {
		workers.Go(func() {
			for ctx.Err() == nil {
				if !d.one(ctx, working) {
					d.rest(ctx)
				}
			}
		})
	}
	workers.Wait()
}

// rest waits for news, or a while.
func (d *drain) rest(ctx context.Context) {
	t := time.NewTimer(drainPoll)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-d.wake:
	case <-t.C:
	}
}

// hold does a Job, and keeps it hidden meanwhile.
func (d *drain) hold(ctx context.Context, job broker.Job) error {
	done := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() {
		tick := time.NewTicker(jobLease / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if err := d.queue.Retry(ctx, job.ID, d.now().Add(jobLease)); err != nil {
					d.log.Warn("could not keep a job hidden; another worker may take it up", "job", job.ID, "err", err)
				}
			}
		}
	})
	err := d.do(ctx, job)
	close(done)
	renewing.Wait()
	return err
}

// one carries out one Job, if there is one.
func (d *drain) one(ctx, working context.Context) bool {
	job, ok, err := d.queue.Claim(ctx, d.now(), jobLease)
	if err != nil {
		if ctx.Err() == nil {
			d.log.Error("cannot read the queue", "err", err)
		}
		return false
	}
	if !ok {
		return false
	}
	d.nudge() // there may be more, for another worker
	err = d.hold(working, job)
	// Whatever came of it is written down even while the program is stopping.
	after := context.WithoutCancel(working)
	var later *bot.Later
	switch {
	case errors.As(err, &later):
		err = d.queue.Retry(after, job.ID, d.now().Add(later.After))
	case err != nil && job.Tries+1 < jobTries:
		d.log.Error("a job failed; it will be tried again", "job", job.ID, "err", err)
		err = d.queue.Retry(after, job.ID, d.now().Add(time.Second<<job.Tries))
	default:
		if err != nil {
			d.giveUp(after, job, err)
		}
		err = d.queue.Done(after, job.ID)
	}
	if err != nil {
		d.log.Error("cannot write to the queue", "job", job.ID, "err", err)
	}
	return true
}
