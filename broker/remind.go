package broker

import (
	"slices"
	"time"
)

// remindBefore is how long before their access ends a User is told.
var remindBefore = []time.Duration{7 * 24 * time.Hour, 24 * time.Hour}

// remind puts the Notices on u's Trail that tell of the end of their access,
// instead of those for an end that was to be before. They are part of the write
// that sets the end, so that none is forgotten and none is told in vain.
func (u *User) remind(now time.Time) {
	u.Trail.Notices = slices.DeleteFunc(u.Trail.Notices, func(n Notice) bool {
		return n.Kind == NoticeExpiring && !n.About.Equal(u.Expires)
	})
	if !u.Enabled || u.Removed {
		u.Trail.Notices = slices.DeleteFunc(u.Trail.Notices, func(n Notice) bool { return n.Kind == NoticeExpiring })
		return
	}
	for _, before := range remindBefore {
		due := u.Expires.Add(-before)
		id := "expiring." + before.String() + "." + u.Expires.UTC().Format(time.RFC3339)
		there := slices.ContainsFunc(u.Trail.Notices, func(n Notice) bool { return n.ID == id })
		if due.After(now) && !there {
			u.Trail.Notices = append(u.Trail.Notices, Notice{ID: id, Kind: NoticeExpiring, Due: due, About: u.Expires})
		}
	}
}

// tellsEnd says whether Notices of the end of a User's access still hold, and
// there is somebody to tell.
func (t Telling) tellsEnd(now time.Time) bool {
	u := t.User
	return u.Enabled && !u.Removed && now.Before(u.Expires) && !t.To.Slack.IsZero() && t.To.Enabled && !t.To.Removed &&
		slices.ContainsFunc(t.Notices, func(n Notice) bool { return n.About.Equal(u.Expires) })
}
