package store_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// Requests are listed as they are, not as the index remembers them, whatever
// page of it names them.
func TestDynamoDBLaggingRequests(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx, now := t.Context(), time.Unix(1, 0)
	for _, r := range []broker.Request{
		{ID: "CLOSED", User: "bob", State: broker.StateClosed},
		{ID: "ENDED", User: "bob", State: broker.StateOpen, WindowEnd: now},
		{ID: "ANOTHERS", User: "carol", State: broker.StatePending},
		{ID: "NOBODYS", State: broker.StatePending},
		{ID: "YOUNG", User: "bob", State: broker.StatePending, AskedAt: now},
		{ID: "OLD", User: "bob", State: broker.StateOpen, WindowEnd: now.Add(1)},
	} {
		if _, err := s.PutRequest(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	// The index names what is there no more, a page at a time.
	pages := [][]string{{"CLOSED", "YOUNG", "ENDED"}, {}, {"ANOTHERS", "GONE", "NOBODYS", "OLD"}}
	asked := 0
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op != "Query" {
			return send()
		}
		if asked > 0 && !strings.Contains(c.body, fmt.Sprintf(`"page-%d"`, asked)) {
			t.Errorf("page %d is asked for by %s", asked, c.body)
		}
		var items []string
		for _, id := range pages[asked] {
			items = append(items, `{"pk":{"S":"request#`+id+`"},"sk":{"S":"request"},"holder":{"S":"bob"},"asked":{"N":"0"}}`)
		}
		asked++
		last := ""
		if asked < len(pages) {
			last = fmt.Sprintf(`,"LastEvaluatedKey":{"pk":{"S":"page-%d"}}`, asked)
		}
		return answer(200, `{"Items":[`+strings.Join(items, ",")+`]`+last+`}`), nil
	})
	open, err := s.OpenRequests(ctx, "bob", now)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range open {
		ids = append(ids, r.ID)
	}
	if diff := cmp.Diff([]string{"OLD", "YOUNG"}, ids); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if asked != len(pages) {
		t.Errorf("%d pages were asked for, want %d", asked, len(pages))
	}
}

// The index holds a Request only as long as somebody has it open, so that it
// does not grow.
func TestDynamoDBRequestsLeaveTheIndex(t *testing.T) {
	s, w := newDynamoDB(t)
	r := broker.Request{ID: "REQ1", User: "bob"}
	for _, c := range []struct {
		state broker.State
		in    bool
	}{
		{broker.StateAsked, false}, {broker.StatePending, true}, {broker.StateApproved, true},
		{broker.StateOpen, true}, {broker.StateClosed, false},
	} {
		calls := w.during(func() (err error) {
			r.State = c.state
			r, err = s.PutRequest(t.Context(), r)
			return err
		})
		if len(calls) != 1 {
			t.Fatalf("%s: %d calls, want 1", c.state, len(calls))
		}
		if in := strings.Contains(calls[0].body, `"holder":{"S":"bob"}`) && strings.Contains(calls[0].body, `"asked":{"N":`); in != c.in {
			t.Errorf("%s: in the index: %v, want %v: %s", c.state, in, c.in, calls[0].body)
		}
	}
}
