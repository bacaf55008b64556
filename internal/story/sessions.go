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
