package broker

import "time"

// A Fence is what keeps ended Sessions out of an IAM role: the list that its
// permissions boundary denies. It is one item, rendered whole into the
// boundary by whoever holds the Lease.
type Fence struct {
	RoleARN string  `json:"role_arn"`
	Ended   []Ended `json:"ended,omitempty"` // in the order in which they were ended
	// Published counts the Ended, from the first on, that AWS is known to deny.
	Published int       `json:"published,omitempty"`
	Holder    string    `json:"holder,omitempty"` // who publishes
	Lease     time.Time `json:"lease,omitzero"`   // until when
	Version   int64     `json:"-"`                // 0: not stored yet
}

// An Ended is a Session that was ended before its time.
type Ended struct {
	SessionID string    `json:"session_id"`
	Until     time.Time `json:"until"` // when its credentials expire by themselves
}
