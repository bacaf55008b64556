package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// What people are told of an end.
const (
	saysEnded  = "AWS denies it everything from now on"
	saysTrying = "AWS did not take it. Starback keeps trying"
	saysFixed  = "can't be ended early"
)

// starbackUser is whom the sandbox's AWS knows Starback as.
const starbackUser = "arn:aws:iam::999988887777:user/starback"

// addBoundary gives an IAM role of the test policy permissions to ask for the
// account's aliases, within the boundary that its template has, and the account
// the role that publishes it.
func (h *house) addBoundary(name string) {
	h.t.Helper()
	role := &policy.Role{ARN: "arn:aws:iam::111122223333:role/starback/" + name}
	h.aws.AddPolicy(cloud.BoundaryARN(role), allowAll)
	h.aws.AddRole(sandbox.Role{
		ARN: role.ARN, MaxSessionDuration: 12 * time.Hour, Permissions: allowAll, Boundary: cloud.BoundaryARN(role),
		Trust: sandbox.Trust{Principals: []string{starbackUser}, TagSession: true, SetSourceIdentity: true},
	})
	h.aws.AddRole(sandbox.Role{
		ARN: "arn:aws:iam::111122223333:role/" + cloud.RevokerRole, Permissions: allowAll,
		Trust: sandbox.Trust{Principals: []string{starbackUser}},
	})
}

// held are the keys of a Session that somebody was given.
type held = map[string]string

// may says whether AWS lets a Session do anything.
func (h *house) may(keys held) bool {
	h.t.Helper()
	cfg := awsClient(h.t, h.awsWire.URL, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"])
	_, err := iam.NewFromConfig(cfg).ListAccountAliases(h.t.Context(), nil)
	var refused smithy.APIError
	if err != nil && (!errors.As(err, &refused) || refused.ErrorCode() != "AccessDenied") {
		h.t.Fatal(err)
	}
	return err == nil
}

// denied waits until AWS lets a Session do nothing any more.
func (h *house) denied(keys held) {
	h.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); h.may(keys); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("AWS never denies %s\n%s", keys["AWS_ACCESS_KEY_ID"], h.output())
		}
	}
}

// sessionOf returns what the trail says of the Session with these keys.
func (h *house) sessionOf(keys held) auditLine {
	h.t.Helper()
	for _, line := range h.trail("session.issued") {
		if line.AccessKeyID == keys["AWS_ACCESS_KEY_ID"] {
			return line
		}
	}
	h.t.Fatalf("the trail does not know %s\n%s", keys["AWS_ACCESS_KEY_ID"], h.output())
	return auditLine{}
}

// TestEnd ends sessions at AWS, on the built binary: one of two, what an
// administrator ends, and what AWS does not let it end at first.
func TestEnd(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		h.addBoundary("ReadOnly")
		one, two := h.gets("prod-readonly 1h INC-1 first"), h.gets("renew")
		other := h.gets("prod-console")
		for _, keys := range []held{one, two} {
			if !h.may(keys) {
				t.Fatalf("AWS denies %s from the beginning", keys["AWS_ACCESS_KEY_ID"])
			}
		}

		first := h.sessionOf(one)
		h.command("end " + first.SessionID[20:])
		if said := h.hears(saysEnded, 1); !strings.Contains(said, first.SessionID) || !strings.Contains(said, first.RequestID) {
			t.Errorf("Alice is told\n%s", said)
		}
		if h.may(one) || !h.may(two) {
			t.Errorf("after the end of the first, AWS allows the first: %v, the second: %v", h.may(one), h.may(two))
		}
		ended := h.waitForTrail("session.ended", 1)[0]
		if ended.SessionID != first.SessionID || ended.Outcome != "ok" || len(h.trail("session.end_asked")) != 1 {
			t.Errorf("the trail says %+v", ended)
		}
		told := waitForChannel(t, h.slack, audit, "ended: session `"+first.SessionID)
		if !strings.Contains(told, "to be ended by `alice`: session `"+first.SessionID) {
			t.Errorf("the audit channel says\n%s", told)
		}

		// The other role has no boundary.
		h.command("end " + h.sessionOf(other).SessionID)
		h.hears(saysFixed, 1)

		// AWS fails, and what was asked for is done once it does not.
		awsFails("CreatePolicyVersion", code(503, "ServiceUnavailable"))(h)
		h.command("end " + h.sessionOf(two).SessionID)
		h.hears(saysTrying, 1)
		if !h.may(two) {
			t.Error("what AWS did not take is denied")
		}
		h.heal()
		h.denied(two)
		if h.may(one) {
			t.Error("the first session works again")
		}
		h.waitForTrail("session.ended", 2)

		// An administrator ends what somebody holds.
		three, four := h.gets("prod-readonly 1h INC-1 second"), h.gets("prod-readonly 1h INC-1 third")
		if _, err := h.slack.Command(t.Context(), "U0CAROL", general, "admin end user alice"); err != nil {
			t.Fatal(err)
		}
		m := answerWithin(t, h.slack, "U0CAROL", 1, time.Minute)
		if said := sandbox.Text(m, sandbox.RenderOptions{Width: 1000}); !strings.Contains(said, "Ended for `alice`: 3 requests.") || !strings.Contains(said, "Can't be ended early: 1 request") {
			t.Errorf("Carol is told\n%s", said)
		}
		for _, keys := range []held{one, two, three, four} {
			if h.may(keys) {
				t.Errorf("AWS still allows %s", keys["AWS_ACCESS_KEY_ID"])
			}
		}
		h.command("sessions")
		h.hears("Nothing of yours is open or waiting.", 1)

		h.stop()
		k.dump(t)
		if found := leaks(t, k.folder, h.output(), sandbox.Marker); len(found) > 0 {
			t.Errorf("a secret is in %s", strings.Join(found, ", "))
		}
	})
}
