package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// A Request that the sweep changes at the same moment is looked at again: nobody
// is told to wait for that.
func TestUseWhileTheTrailIsPassedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token, err := w.admin(w.tap).CreateToken(t.Context(), broker.TokenWish{User: "alice", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	issued := w.mustIssue(t, w.bearer("1", token, "readonly"))
	swept := 0
	w.tap.watch(func(call string, _ int) error {
		if call == "PutRequest" && swept < 2 {
			swept++
			if _, err := w.on(&tap{SQLite: w.store}).Due(t.Context()); err != nil {
				t.Error(err)
			}
			r := w.request(t, issued.Request.ID)
			r.Trail.Notices = append(r.Trail.Notices, broker.Notice{ID: fmt.Sprint("a notice ", swept), Kind: broker.NoticeClose, Due: w.Now()})
			if _, err := w.store.PutRequest(t.Context(), r); err != nil {
				t.Error(err)
			}
		}
		return nil
	}, nil)
	got, err := w.Use(t.Context(), broker.AskAgain{Token: token, RequestID: issued.Request.ID, Key: "2", Deadline: w.Now().Add(time.Minute)})
	if err != nil || !released(got) || swept != 2 {
		t.Errorf("changed %d times: %v", swept, err)
	}
	if n := len(w.assumed()); n != 2 {
		t.Errorf("AWS was asked for %d sessions", n)
	}
}
