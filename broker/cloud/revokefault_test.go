package cloud_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/sandbox"
)

// A version that somebody else deletes, or takes the place of, meanwhile costs
// another look and no more.
func TestPublishRaces(t *testing.T) {
	tests := []struct{ action, code string }{
		{"GetPolicyVersion", "NoSuchEntity"},
		{"DeletePolicyVersion", "NoSuchEntity"},
		{"DeletePolicyVersion", "DeleteConflict"},
		{"CreatePolicyVersion", "LimitExceeded"},
		{"CreatePolicyVersion", "ConcurrentModification"},
		{"CreatePolicyVersion", "EntityAlreadyExists"},
	}
	for _, tt := range tests {
		t.Run(tt.action+" "+tt.code, func(t *testing.T) {
			w := newFencedWorld(t)
			r := newRevoker(t, w.config())
			for n := range 6 {
				if err := r.Publish(t.Context(), ended(n)); err != nil {
					t.Fatal(err)
				}
			}
			var once sync.Once
			w.SetFault(func(_, action string) (f *sandbox.Fault) {
				if action == tt.action {
					once.Do(func() { f = &sandbox.Fault{Status: http.StatusConflict, Code: tt.code} })
				}
				return f
			})
			if err := r.Publish(t.Context(), ended(9)); err != nil {
				t.Fatal(err)
			}
			if document, _ := w.boundary(t); strings.Count(document, "*@") != 9 {
				t.Errorf("got %s", document)
			}
		})
	}
}

func TestPublishFaults(t *testing.T) {
	fails := func(status int, code string) *sandbox.Fault { return &sandbox.Fault{Status: status, Code: code} }
	iamActions := []string{"GetRole", "ListPolicyVersions", "GetPolicyVersion", "DeletePolicyVersion", "CreatePolicyVersion"}
	tests := []struct {
		actions []string
		fault   *sandbox.Fault
		want    broker.FaultCode
	}{
		{append(iamActions, "AssumeRole"), fails(403, "AccessDenied"), broker.FaultAccess},
		{append(iamActions, "AssumeRole"), fails(400, "Throttling"), broker.FaultThrottled},
		{append(iamActions, "AssumeRole"), fails(503, "ServiceUnavailable"), broker.FaultAWS},
		{append(iamActions, "AssumeRole"), &sandbox.Fault{Drop: true}, broker.FaultAWS},
		{append(iamActions, "AssumeRole"), &sandbox.Fault{Delay: time.Second}, broker.FaultTimeout},
		{append(iamActions, "AssumeRole"), fails(403, "InvalidClientTokenId"), broker.FaultBase},
		{[]string{"AssumeRole"}, fails(403, "RegionDisabledException"), broker.FaultRegion},
		{[]string{"ListPolicyVersions", "GetPolicyVersion"}, &sandbox.Fault{Garbage: true}, broker.FaultAWS},
		{[]string{"CreatePolicyVersion"}, fails(400, "MalformedPolicyDocument"), broker.FaultAWS},
		{[]string{"CreatePolicyVersion"}, fails(409, "LimitExceeded"), broker.FaultAWS},
		{[]string{"CreatePolicyVersion"}, fails(500, "ServiceFailure"), broker.FaultAWS},
	}
	for _, tt := range tests {
		for _, action := range tt.actions {
			w := newFencedWorld(t)
			r := newRevoker(t, w.config())
			for n := range 6 { // so that a version must be deleted
				if action != "AssumeRole" { // which is done once
					if err := r.Publish(t.Context(), ended(n)); err != nil {
						t.Fatal(err)
					}
				}
			}
			before, _ := w.boundary(t)
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if tt.fault.Delay > 0 {
				ctx, cancel = context.WithTimeout(ctx, tt.fault.Delay/10)
			}
			w.SetFault(func(_, called string) *sandbox.Fault {
				if called == action {
					return tt.fault
				}
				return nil
			})
			err := r.Publish(ctx, ended(9))
			cancel()
			w.SetFault(nil)
			if code(err) != tt.want || !errors.Is(err, broker.ErrUnavailable) {
				t.Errorf("%s, %+v: got %v, want %s", action, *tt.fault, err, tt.want)
			}
			if after, _ := w.boundary(t); after != before {
				t.Errorf("%s, %+v: failed, and yet the boundary is\n%s", action, *tt.fault, after)
			}
		}
	}
}

// A version whose making was not confirmed is not made twice.
func TestPublishUnconfirmed(t *testing.T) {
	w := newFencedWorld(t)
	r := newRevoker(t, w.config())
	w.SetFault(func(_, action string) *sandbox.Fault {
		if action == "CreatePolicyVersion" {
			return &sandbox.Fault{Drop: true, After: true}
		}
		return nil
	})
	if err := r.Publish(t.Context(), ended(3)); code(err) != broker.FaultAWS {
		t.Errorf("err = %v", err)
	}
	w.SetFault(nil)
	if err := r.Publish(t.Context(), ended(3)); err != nil {
		t.Fatal(err)
	}
	if document, versions := w.boundary(t); strings.Count(document, "*@") != 3 || len(versions) != 2 {
		t.Errorf("versions %v, and in force %s", versions, document)
	}
}

func TestNoBoundary(t *testing.T) {
	const other = "arn:aws:iam::" + account + ":policy/starback-boundary/starback-Other"
	refuse := func(action string) func(*world) {
		return func(w *world) {
			w.SetFault(func(_, called string) *sandbox.Fault {
				if called == action {
					return &sandbox.Fault{Status: http.StatusNotFound, Code: "NoSuchEntity"}
				}
				return nil
			})
		}
	}
	tests := []struct {
		name    string
		change  func(*world)
		carries bool
		check   broker.FaultCode // what Check fails with
		publish broker.FaultCode // what Publish fails with; else it is ErrNoBoundary
	}{
		{"none", func(w *world) { w.AddRole(sandbox.Role{ARN: adminARN}) }, false, "", ""},
		{"another role's", func(w *world) {
			w.AddPolicy(other, allowAll)
			w.AddRole(sandbox.Role{ARN: adminARN, Boundary: other})
		}, false, "", ""},
		{"the role is gone", refuse("GetRole"), false, "", ""},
		{"the policy is gone", refuse("ListPolicyVersions"), true, "", ""},
		{"the policy goes meanwhile", refuse("GetPolicyVersion"), true, "", broker.FaultAWS},
		{"no revoker", func(w *world) { w.RemoveRole(revoker) }, false, broker.FaultAccess, broker.FaultAccess},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFencedWorld(t)
			tt.change(w)
			r := newRevoker(t, w.config())
			carries, err := r.Check(t.Context(), admin())
			if carries != tt.carries || code(err) != tt.check || (err != nil) != (tt.check != "") {
				t.Errorf("Check: %v, %v", carries, err)
			}
			err = r.Publish(t.Context(), ended(1))
			if code(err) != tt.publish || errors.Is(err, cloud.ErrNoBoundary) != (tt.publish == "") {
				t.Errorf("Publish: %v", err)
			}
			if made := w.count("CreatePolicyVersion"); made != 0 {
				t.Errorf("%d versions made", made)
			}
		})
	}
}
