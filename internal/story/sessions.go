package story

import (
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/starback/starback/sandbox"
)

// What people are told of an end.
const (
	saysEnded  = "AWS denies it everything from now on"
	saysTrying = "AWS did not take it. Starback keeps trying"
	saysFixed  = "can't be ended early"
)

// may says whether AWS lets a Session do anything.
func (h *House) may(keys Keys) bool {
	h.T.Helper()
	_, err := iam.NewFromConfig(h.Client(keys)).ListAccountAliases(h.T.Context(), nil)
	var refused smithy.APIError
	if err != nil && (!errors.As(err, &refused) || refused.ErrorCode() != "AccessDenied") {
		h.T.Fatal(err)
	}
	return err == nil
}

// End ends sessions at AWS: one of two, what an administrator ends, and what AWS
// does not let it end at first. The house's prod-readonly has a boundary.
func End(h *House) {
	t := h.T
	one, two := h.Gets("prod-readonly 1h INC-1 first"), h.Gets("renew")
	other := h.Gets("prod-console")
	for _, keys := range []Keys{one, two} {
		if !h.may(keys) {
			t.Fatalf("AWS denies %s from the beginning", keys["AWS_ACCESS_KEY_ID"])
		}
	}

	first := h.SessionOf(one)
	h.Command("end " + first.SessionID[20:])
	if said := h.Hears(saysEnded, 1); !strings.Contains(said, first.SessionID) || !strings.Contains(said, first.RequestID) {
		t.Errorf("Alice is told\n%s", said)
	}
	if h.may(one) || !h.may(two) {
		t.Errorf("after the end of the first, AWS allows the first: %v, the second: %v", h.may(one), h.may(two))
	}
	ended := h.WaitForTrail("session.ended", 1)[0]
	if ended.SessionID != first.SessionID || ended.Outcome != "ok" || len(h.Trail("session.end_asked")) != 1 {
		t.Errorf("the trail says %+v", ended)
	}
	told := h.Channel(Audit, "ended: session `"+first.SessionID)
	if !strings.Contains(told, "to be ended by `alice`: session `"+first.SessionID) {
		t.Errorf("the audit channel says\n%s", told)
	}

	// The other role has no boundary.
	h.Command("end " + h.SessionOf(other).SessionID)
	h.Hears(saysFixed, 1)

	// AWS fails, and what was asked for is done once it does not.
	h.AWS.SetFault(func(_, action string) *sandbox.Fault {
		if action != "CreatePolicyVersion" {
			return nil
		}
		return &sandbox.Fault{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "a fault"}
	})
	h.Command("end " + h.SessionOf(two).SessionID)
	h.Hears(saysTrying, 1)
	if !h.may(two) {
		t.Error("what AWS did not take is denied")
	}
	h.Heal()
	h.WaitForTrail("session.ended", 2)
	if h.may(one) || h.may(two) {
		t.Errorf("after the end of both, AWS allows the first: %v, the second: %v", h.may(one), h.may(two))
	}

	// An administrator ends what somebody holds.
	three, four := h.Gets("prod-readonly 1h INC-1 second"), h.Gets("prod-readonly 1h INC-1 third")
	h.Types("U0CAROL", "admin end user alice")
	if said := Text(h.Answer("U0CAROL", 1)); !strings.Contains(said, "Ended for `alice`: 3 requests.") || !strings.Contains(said, "Can't be ended early: 1 request") {
		t.Errorf("Carol is told\n%s", said)
	}
	for _, keys := range []Keys{one, two, three, four} {
		if h.may(keys) {
			t.Errorf("AWS still allows %s", keys["AWS_ACCESS_KEY_ID"])
		}
	}
	h.Command("sessions")
	h.Hears("Nothing of yours is open or waiting.", 1)

	h.Stop()
	h.TrueTrail()
}

// Sessions is of what somebody has open, and of its buttons: the console and new
// keys are Sessions of their own, and all end together. Whoever is switched off
// loses what they hold. The house's prod-console has a boundary.
func Sessions(h *House) {
	t := h.T
	first := h.given("U0BOB", "prod-console")
	opens := func() sandbox.Message {
		t.Helper()
		before := len(Ephemerals(h.Slack.Seen("U0BOB")))
		h.Types("U0BOB", "sessions")
		m := h.Answer("U0BOB", before+1)
		if said := plain(m); !strings.Contains(said, "prod-console in prod (111122223333): ") || !strings.Contains(said, " left, until ") {
			t.Fatalf("Bob is told\n%s", said)
		}
		return m
	}
	h.Presses("U0BOB", opens(), "open_console")
	consoleLink(t, h.Finds("U0BOB", true, "This is a new session. What you had goes on."))
	h.Presses("U0BOB", opens(), "renew")
	second := Pasted(t, h.Finds("U0BOB", true, "These are new keys", "AWS_ACCESS_KEY_ID"))
	issued := h.WaitForTrail("session.issued", 3)
	if issued[0].RequestID != issued[1].RequestID || issued[0].RequestID != issued[2].RequestID || h.Assumed() != 3 {
		t.Errorf("AWS was asked for %d sessions, and the trail says %+v", h.Assumed(), issued)
	}
	if !h.may(first) || !h.may(second) {
		t.Errorf("AWS allows the first: %v, the second: %v", h.may(first), h.may(second))
	}
	h.Presses("U0BOB", opens(), "end")
	h.Finds("U0BOB", true, "AWS denies", "everything from now on")
	if h.may(first) || h.may(second) {
		t.Errorf("after the end, AWS allows the first: %v, the second: %v", h.may(first), h.may(second))
	}

	third := h.given("U0BOB", "prod-console")
	if !h.may(third) {
		t.Error("what was ended keeps what is new from working")
	}
	h.Types("U0CAROL", "admin user disable bob")
	h.Eventually(func() bool { return !h.may(third) }, "what Bob holds works on")
	h.Types("U0BOB", "prod-console")
	h.Finds("U0BOB", true, "Your access to Starback is switched off")
	h.Types("U0CAROL", "admin user enable bob")
	h.Finds("U0CAROL", true, "bob: enabled: false → true")
	h.given("U0BOB", "prod-console")
	h.Stop()
	h.TrueTrail()
}

// given types somebody's command, and returns the keys that they are given.
func (h *House) given(user, text string) Keys {
	h.T.Helper()
	before := len(Ephemerals(h.Slack.Seen(user)))
	h.Types(user, text)
	return Pasted(h.T, h.Answer(user, before+1))
}
