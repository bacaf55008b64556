package main

import (
	"strings"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// events returns every Event in the store, by ID: those in the index, and those
// that still wait on their Request.
func (h *house) events() map[string]broker.Event {
	h.t.Helper()
	found := map[string]broker.Event{}
	err := h.keeper.open(h.t).Walk(h.t.Context(), store.Visitor{
		Event: func(e broker.Event) error {
			found[e.ID] = e
			return nil
		},
		Request: func(r broker.Request) error {
			for _, e := range r.Trail.Events {
				found[e.ID] = e
			}
			return nil
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}

// trueTrail fails the test unless the trail in the store accounts for what
// happened: every AssumeRole has a recorded ask, every key that Alice was shown
// a recorded outcome, and no ask showed more than one. Nothing of it holds a
// secret, nor does anything printed.
func (h *house) trueTrail(printed string) {
	h.t.Helper()
	asked, issued := map[string]bool{}, map[string]broker.Event{} // by Session; by key
	for _, e := range h.events() {
		switch e.Event {
		case broker.EventAsked, broker.EventTakenOver:
			asked[e.SessionID] = true
		case broker.EventIssued:
			issued[e.AccessKeyID] = e
		}
	}
	all := strings.Join(h.told(), "\n")
	shown := map[string]string{} // keys, by Request
	for _, call := range h.aws.Calls() {
		if call.IssuedAccessKeyID == "" {
			continue
		}
		_, session, _ := strings.Cut(call.SessionName, "@")
		if !asked[session] {
			h.t.Errorf("AWS issued %s to the session %s, which nobody is recorded to have asked for", call.IssuedAccessKeyID, session)
		}
		if !strings.Contains(all, call.IssuedAccessKeyID) {
			continue
		}
		e, ok := issued[call.IssuedAccessKeyID]
		if !ok {
			h.t.Errorf("the key %s was shown, and is not recorded", call.IssuedAccessKeyID)
		}
		if other := shown[e.RequestID]; other != "" {
			h.t.Errorf("the request %s showed both %s and %s", e.RequestID, other, call.IssuedAccessKeyID)
		}
		shown[e.RequestID] = call.IssuedAccessKeyID
	}
	h.keeper.dump(h.t)
	if found := leaks(h.t, h.keeper.folder, printed, sandbox.Marker); len(found) > 0 {
		h.t.Errorf("a secret is in %s", strings.Join(found, ", "))
	}
}
