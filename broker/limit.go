package broker

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/starback/starback/broker/policy"
)

// How often one User may be issued credentials: a burst, then a steady rate.
// AWS allows about 600 AssumeRole calls a second for the whole account; a
// person needs one every few minutes.
const (
	limitBurst = 20
	limitEvery = 15 * time.Second
	limitUsers = 10_000 // remembered at once
)

// limits holds a token bucket for each User seen lately, in this process.
type limits struct {
	mu      sync.Mutex
	buckets map[policy.UserName]*rate.Limiter
}

func newLimits() *limits { return &limits{buckets: map[policy.UserName]*rate.Limiter{}} }

// allow takes one token of the User's at now, if there is one.
func (l *limits) allow(user policy.UserName, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[user]
	if bucket == nil {
		if len(l.buckets) >= limitUsers {
			l.forgetFull(now)
		}
		if len(l.buckets) >= limitUsers {
			return false // that many at once is no ordinary day
		}
		bucket = rate.NewLimiter(rate.Every(limitEvery), limitBurst)
		l.buckets[user] = bucket
	}
	return bucket.AllowN(now, 1)
}

// forgetFull drops the buckets that a new one would equal.
func (l *limits) forgetFull(now time.Time) {
	for user, bucket := range l.buckets {
		if bucket.TokensAt(now) >= limitBurst {
			delete(l.buckets, user)
		}
	}
}
