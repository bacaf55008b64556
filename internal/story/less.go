package story

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/starback/starback/sandbox"
)

// Less is of approvals for less than was asked for, the least of which counts,
// of what nobody else can reveal, and of what is withdrawn after its approval.
func Less(h *House) {
	t := h.T
	post := h.asks("the disk is full")
	id := h.WaitForTrail("request.asked", 1)[0].RequestID
	h.chooses("U0LEA", post, "approve_less", id+" 1h")
	h.Finds("U0LEA", true, "You approved prod-guarded for olga, for 1h at most.")
	mias := h.chooses("U0MIA", h.Finds("U0MIA", false, "1 of 2 approvals so far, by lea (for 1h)."), "approve_less", id+" 30m")
	h.Finds("U0MIA", true, "You approved prod-guarded for olga, for 30m at most.")
	dm := h.Finds("U0OLGA", false, "was approved by", "for credentials for 30m", "Reveal")

	// It is Olga's alone.
	h.forges(mias, "reveal", id)
	h.Finds("U0MIA", true, "That request is not known any more.")
	if n := h.Assumed(); n != 0 {
		t.Fatalf("AWS was asked for %d sessions for somebody else", n)
	}
	h.Presses("U0OLGA", dm, "reveal")
	Pasted(t, h.Finds("U0OLGA", true, "prod-guarded", "Ends", "AWS_ACCESS_KEY_ID"))
	issued := h.WaitForTrail("session.issued", 1)[0]
	ends, err := time.Parse(time.RFC3339, issued.ExpiresAt)
	if left := time.Until(ends); err != nil || issued.Actor != "olga" || left > 30*time.Minute || left < 20*time.Minute {
		t.Errorf("what was approved for 30m ends in %s, %v: %+v", left, err, issued)
	}

	// What is withdrawn can be revealed no more, though it was approved.
	h.asks("a mistake")
	waits := h.Finds("U0OLGA", true, "needs 2 approvals", "Withdraw")
	h.approved("a mistake")
	dm = h.Finds("U0OLGA", false, "was approved by lea, mia", "for credentials for 2h", "Reveal")
	h.Presses("U0OLGA", waits, "withdraw")
	h.Finds("U0OLGA", true, "is withdrawn.")
	h.Presses("U0OLGA", dm, "reveal")
	h.Finds("U0OLGA", true, "Nothing was changed: this request is past that. Withdrawn by olga.")
	if n := h.Assumed(); n != 1 {
		t.Errorf("AWS was asked for %d sessions", n)
	}
	h.Stop()
	h.TrueTrail()
}

// chooses has a person choose from a menu of a message.
func (h *House) chooses(user string, m sandbox.Message, action, value string) sandbox.Ack {
	h.T.Helper()
	ack, err := h.Slack.Choose(h.T.Context(), user, m, action, value)
	if err != nil || ack.Problem != "" {
		h.T.Fatalf("%s %s: %s, %v", action, value, ack.Problem, err)
	}
	return ack
}

// forges sends what a person did once more, signed, as a press of another
// button, which they may not see, or not any more.
func (h *House) forges(did sandbox.Ack, action, value string) {
	h.T.Helper()
	form, err := url.ParseQuery(string(did.Request.Body))
	if err != nil {
		h.T.Fatal(err)
	}
	var payload map[string]any
	if err := json.Unmarshal([]byte(form.Get("payload")), &payload); err != nil {
		h.T.Fatal(err)
	}
	payload["trigger_id"] = "9.9." + action + value
	payload["actions"] = []any{map[string]any{"type": "button", "action_id": action, "value": value}}
	pressed, err := json.Marshal(payload)
	if err != nil {
		h.T.Fatal(err)
	}
	body := []byte(url.Values{"payload": {string(pressed)}}.Encode())
	header := sandbox.Sign(h.Slack.SigningSecret(), time.Now(), body)
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	if status := h.posts("/slack/interactions", header, body); status != http.StatusOK {
		h.T.Fatalf("answered %d", status)
	}
}
