package main

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
)

// A tableFailure is one way in which DynamoDB fails, and what comes of it.
type tableFailure struct {
	call    string // as dynamoCall names it
	how     string
	fault   func(*house) faultproxy.Fault
	says    string // to Alice, while it lasts; empty: nothing yet
	event   string // of the trail, while it lasts; empty: nothing can be recorded
	finally string // what she is told once it is over; empty: nothing more
}

// DynamoDB's own words for what goes wrong.
func denied(*house) faultproxy.Fault {
	return faultproxy.Refuse(http.StatusBadRequest, "com.amazon.coral.service#AccessDeniedException")
}

// keyless is what DynamoDB says where it cannot use the key of the table: one
// that is off, is to be deleted, or may not be used.
func keyless(*house) faultproxy.Fault {
	return faultproxy.Answer(http.StatusBadRequest, "application/x-amz-json-1.0", `{"__type":"com.amazon.coral.service#AccessDeniedException",`+
		`"Message":"KMS key access denied error: the key does not exist, is disabled, or you are not allowed to access it."}`)
}
func throttled(*house) faultproxy.Fault {
	return faultproxy.Refuse(http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException")
}
func conflicting(*house) faultproxy.Fault {
	return faultproxy.Refuse(http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#TransactionConflictException")
}

// once has only the first call fail.
func once(f func(*house) faultproxy.Fault) func(*house) faultproxy.Fault {
	return func(h *house) faultproxy.Fault {
		var calls atomic.Int64
		return func(w http.ResponseWriter, r *http.Request, ask faultproxy.Ask) {
			if calls.Add(1) > 1 {
				faultproxy.Pass(w, r, ask)
				return
			}
			f(h)(w, r, ask)
		}
	}
}

// overtaken lets a sweeper settle the Request first, so that the call finds
// another version than it expects.
func overtaken(h *house) faultproxy.Fault {
	return func(w http.ResponseWriter, r *http.Request, ask faultproxy.Ask) {
		asked := h.trail("request.asked")
		ref := broker.Ref{Kind: broker.RefRequest, Key: asked[len(asked)-1].RequestID}
		if err := h.keeper.open(h.t).Settle(r.Context(), ref, broker.Settlement{}); err != nil {
			h.t.Error(err)
		}
		faultproxy.Pass(w, r, ask)
	}
}

// What people are told when the store fails.
const (
	saysNoStore   = "Starback cannot reach its store, and without a record it issues nothing"
	saysWithheld  = "Starback could not record that, so they were thrown away unseen"
	saysDoneAlone = "This command was carried out already"
)

// tableFailures are those of DynamoDB. A call that it holds while nobody waits
// for it in vain is held until the failure is over.
var tableFailures = []tableFailure{
	// Before the command is queued, Slack's own patience bounds everything.
	{"enqueue Query", "denies", denied, story.SaysNotTaken, "", ""},
	{"enqueue PutItem", "denies", denied, story.SaysNotTaken, "", ""},
	{"enqueue PutItem", "has no key", keyless, story.SaysNotTaken, "", ""},
	{"enqueue PutItem", "throttles", throttled, story.SaysNotTaken, "", ""},
	{"enqueue PutItem", "hangs up", drop, story.SaysNotTaken, "", ""},
	{"enqueue PutItem", "stalls", stall, story.SaysNotTaken, "", ""},
	{"enqueue PutItem", "talks rubbish", garbage, story.SaysNotTaken, "", ""},
	// Nobody can know that it is queued, and it is carried out.
	{"enqueue PutItem", "stops half-way", half, story.SaysNotTaken, "", story.SaysIssued},
	{"enqueue PutItem", "answers too late", late, story.SaysNotTaken, "", story.SaysIssued},

	// What is queued waits.
	{"claim Query", "throttles", throttled, "", "", story.SaysIssued},
	{"claim Query", "stalls", stall, "", "", story.SaysIssued},
	{"claim UpdateItem", "denies", denied, "", "", story.SaysIssued},
	{"claim UpdateItem", "stalls", stall, "", "", story.SaysIssued},
	{"claim UpdateItem", "talks rubbish", garbage, "", "", story.SaysIssued},
	{"claim UpdateItem", "stops half-way", half, "", "", story.SaysIssued},
	{"claim UpdateItem", "answers late", late, "", "", story.SaysIssued},
	{"claim UpdateItem", "loses an answer", once(lose), story.SaysIssued, "session.issued", ""},

	{"identify BatchGetItem", "denies", denied, saysNoStore, "session.failed", ""},
	{"identify BatchGetItem", "has no key", keyless, saysNoStore, "session.failed", ""},
	{"identify BatchGetItem", "throttles", throttled, saysNoStore, "session.failed", ""},
	{"identify BatchGetItem", "hangs up", drop, saysNoStore, "session.failed", ""},
	{"identify BatchGetItem", "stalls", stall, "", "", story.SaysIssued},
	{"identify BatchGetItem", "stops half-way", half, saysNoStore, "session.failed", ""},
	{"identify BatchGetItem", "talks rubbish", garbage, saysNoStore, "session.failed", ""},
	{"identify BatchGetItem", "answers late", late, "", "", story.SaysIssued},

	{"ask PutItem", "denies", denied, saysNoStore, "", ""},
	{"ask PutItem", "has no key", keyless, saysNoStore, "", ""},
	{"ask PutItem", "throttles", throttled, saysNoStore, "", ""},
	{"ask PutItem", "hangs up", drop, saysNoStore, "", ""},
	{"ask PutItem", "has a conflict", conflicting, saysNoStore, "", ""},
	{"ask PutItem", "stalls", stall, "", "", story.SaysIssued},
	{"ask PutItem", "stops half-way", half, saysNoStore, "", ""},
	{"ask PutItem", "talks rubbish", garbage, saysNoStore, "", ""},
	{"ask PutItem", "answers late", late, "", "", story.SaysIssued},
	{"ask PutItem", "loses an answer", once(lose), story.SaysIssued, "session.issued", ""},

	{"outcome PutItem", "denies", denied, saysWithheld, "", ""},
	{"outcome PutItem", "has no key", keyless, saysWithheld, "", ""},
	{"outcome PutItem", "throttles", throttled, saysWithheld, "", ""},
	{"outcome PutItem", "hangs up", drop, saysWithheld, "", ""},
	{"outcome PutItem", "has another version", once(overtaken), story.SaysIssued, "session.issued", ""},
	{"outcome PutItem", "stalls beyond the lease", stall, saysWithheld, "", ""},
	{"outcome PutItem", "stops half-way", half, saysWithheld, "", ""},
	{"outcome PutItem", "talks rubbish", garbage, saysWithheld, "", ""},
	{"outcome PutItem", "answers after the lease", late, saysWithheld, "", ""},
	{"outcome PutItem", "loses an answer", once(lose), story.SaysIssued, "session.issued", ""},

	// A Job that cannot be taken off the queue is found to be done.
	{"done DeleteItem", "denies", denied, story.SaysIssued, "session.issued", saysDoneAlone},
	{"done DeleteItem", "stops half-way", half, story.SaysIssued, "session.issued", ""},

	// The trail is passed on later.
	{"sweep Query", "throttles", throttled, story.SaysIssued, "session.issued", ""},
	{"sweep Query", "stalls", stall, story.SaysIssued, "session.issued", ""},
	{"sweep BatchGetItem", "talks rubbish", garbage, story.SaysIssued, "session.issued", ""},
	{"sweep PutItem", "denies", denied, story.SaysIssued, "session.issued", ""},
	{"sweep UpdateItem", "hangs up", drop, story.SaysIssued, "session.issued", ""},
	{"settle PutItem", "loses an answer", once(lose), story.SaysIssued, "session.issued", ""},
}

// nameRequest are the calls that pass a Request on, and name it.
var nameRequest = []string{"sweep BatchGetItem", "sweep UpdateItem", "settle PutItem"}

// everyTableFailureSpeaks is the part of TestEveryFailureSpeaks with a table
// for a store. What cannot be recorded while the table is away is not shown;
// what was asked is done once it is back, or the person was told.
func everyTableFailureSpeaks(t *testing.T) {
	for _, tt := range tableFailures {
		t.Run(tt.call+" "+tt.how, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, onDynamoDB(t))
			h.StoreWire.Reset()
			h.StoreWire.SetRule(faultproxy.On(tt.fault(h), tt.call))
			h.Command("prod-console")
			requestID := "" // of what is recorded
			if tt.says != "" {
				h.Hears(tt.says, 1)
			}
			if tt.event != "" {
				requestID = h.waitForTrail(tt.event, 1)[0].RequestID
				if said := h.Hears(tt.says, 1); !strings.Contains(said, requestID) {
					t.Errorf("Alice is told, without the request id %s\n%s", requestID, story.Brief(said))
				}
			}
			about := ""
			if slices.Contains(nameRequest, tt.call) {
				about = requestID
			}
			h.Called(h.StoreWire, tt.call, about)
			if tt.says == "" {
				time.Sleep(time.Second)
				if told := h.Told(); len(told) > 0 {
					t.Errorf("while the call fails, Alice is told\n%s", story.Brief(told...))
				}
			}
			if recorded := len(h.trail("session.issued")) + len(h.trail("session.failed")); tt.event == "" && tt.finally == "" && recorded > 0 {
				t.Errorf("%d outcomes are in the log, though none can be recorded", recorded)
			}
			h.Heal()
			if tt.finally != "" {
				h.Hears(tt.finally, 1)
			}
			if told := h.Told(); len(told) != words(tt.says)+words(tt.finally) {
				t.Errorf("Alice is told\n%s", story.Brief(told...))
			}
			h.afterwards(requestID)
		})
	}
}

// words counts a text that is not empty.
func words(text string) int {
	if text == "" {
		return 0
	}
	return 1
}
