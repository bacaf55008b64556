package broker

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often one User may be issued credentials: a burst, then a steady rate.
// AWS allows about 600 AssumeRole calls a second for the whole account; a
// person needs one every few minutes.
const (
	limitBurst = 20
	limitEvery = 15 * time.Second
	limitUsers = 10_000 // remembered at once
)

// How often one Slack account may ask for anything at all: more than anybody
// types, and less than would bury the trail of others.
const (
	askBurst = 100
	askEvery = 5 * time.Second
)

// limits holds a token bucket for each of those seen lately, in this process.
type limits[K comparable] struct {
	every time.Duration
	burst int

	mu      sync.Mutex
	buckets map[K]*rate.Limiter
}

func newLimits[K comparable](every time.Duration, burst int) *limits[K] {
	return &limits[K]{every: every, burst: burst, buckets: map[K]*rate.Limiter{}}
}

// allow takes one token of who's at now, if there is one.
func (l *limits[K]) allow(who K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[who]
	if bucket == nil {
		if len(l.buckets) >= limitUsers {
			l.forgetFull(now)
		}
		if len(l.buckets) >= limitUsers {
			return false // that many at once is no ordinary day
		}
		bucket = rate.NewLimiter(rate.Every(l.every), l.burst)
		l.buckets[who] = bucket
	}
	return bucket.AllowN(now, 1)
}

// forgetFull drops the buckets that a new one would equal.
func (l *limits[K]) forgetFull(now time.Time) {
	for who, bucket := range l.buckets {
		if bucket.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, who)
		}
	}
}
