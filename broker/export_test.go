package broker

import (
	"time"

	"github.com/starback/starback/broker/policy"
)

// LimitUsers is how many Users' limits are remembered at once.
const LimitUsers = limitUsers

// NewLimits gives tests the function by which a Broker limits how often each
// User is issued credentials.
func NewLimits() func(policy.UserName, time.Time) bool {
	return newLimits[policy.UserName](limitEvery, limitBurst).allow
}

// TokenSum gives tests the checksum of a token: its form is no secret.
var TokenSum = tokenSum

// Count counts an answer, and says whether that makes a difference.
func (p *Pace) Count(a PaceAnswer) bool { return p.count(a) }
