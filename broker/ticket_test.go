package broker_test

import (
	"errors"
	"testing"

	"github.com/starback/starback/broker"
)

// TestTicketLink holds that a Request says where its ticket is, by the Policy
// that decided last, and nothing where there is no ticket as the Role wants it.
func TestTicketLink(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "ticketed")
	ask.Words = "INC-7 the disk is full"
	first := w.mustIssue(t, ask).Request
	if first.TicketLink != "" {
		t.Errorf("without a template: %q", first.TicketLink)
	}
	w.apply(t, replace(rules, "{bind_by_email: true}", "{bind_by_email: true, ticket_url: 'https://t.example/{ticket}'}"))
	again, err := w.IssueAgain(t.Context(), w.again("again", first.ID))
	if err != nil || again.Request.TicketLink != "https://t.example/INC-7" {
		t.Errorf("issued once more: %q, %v", again.Request.TicketLink, err)
	}
	ask = w.ask("2", "ticketed")
	ask.Words = "inc-7 the disk is full"
	var refused *broker.Refusal
	if _, err := w.Issue(t.Context(), ask); !errors.As(err, &refused) || w.request(t, ask.RequestID()).TicketLink != "" {
		t.Errorf("no such ticket: %v", err)
	}
}
