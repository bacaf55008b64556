package cloud_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
)

// One Session ends, and nobody else's: not another of the same person, nor one
// whose name has the ended one's in it.
func TestPublish(t *testing.T) {
	w := newFencedWorld(t)
	m := newMinter(t, w.config())
	r := cloud.NewRevoker(m)
	sessions := map[string]broker.Credentials{}
	for _, name := range []string{"alice@" + sessionID(1), "alice@" + sessionID(2), "bob@" + sessionID(3), sessionID(1) + "@" + sessionID(4)} {
		a := assumption(adminARN)
		a.SessionName = name
		c, err := m.AssumeRole(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		sessions[name] = c
	}
	steps := []struct {
		name  string
		fence cloud.Fence
		ended []string
	}{
		{"nobody's", fence(), nil},
		{"one", fence(sessionID(1)), []string{"alice@" + sessionID(1)}},
		{"another one too", fence(sessionID(1), sessionID(3)), []string{"alice@" + sessionID(1), "bob@" + sessionID(3)}},
		{"only the other one", fence(sessionID(3)), []string{"bob@" + sessionID(3)}},
		{"nobody's any more", fence(), nil},
	}
	for _, step := range steps {
		if err := r.Publish(t.Context(), step.fence); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for name, c := range sessions {
			want := ""
			if slices.Contains(step.ended, name) {
				want = "AccessDenied"
			}
			if got := w.aliases(t, c); got != want {
				t.Errorf("%s: %s got %q, want %q", step.name, name, got, want)
			}
		}
	}
}

// What the boundary says already is not published again.
func TestPublishIsIdempotent(t *testing.T) {
	w := newFencedWorld(t)
	r := newRevoker(t, w.config())
	tests := []struct {
		name  string
		fence cloud.Fence
		made  int // versions
	}{
		{"nothing, as in the role's template", fence(), 0},
		{"two", fence(sessionID(1), sessionID(2)), 1},
		{"the same two", fence(sessionID(1), sessionID(2)), 0},
		{"the same two, the other way round and twice", fence(sessionID(2), sessionID(1), sessionID(2)), 0},
		{"one of them", fence(sessionID(2)), 1},
	}
	for _, tt := range tests {
		w.ResetCalls()
		if err := r.Publish(t.Context(), tt.fence); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := w.count("CreatePolicyVersion"); got != tt.made {
			t.Errorf("%s: %d versions made, want %d", tt.name, got, tt.made)
		}
	}
}

func TestPublishHowMany(t *testing.T) {
	w := newFencedWorld(t)
	r := newRevoker(t, w.config())
	if err := r.Publish(t.Context(), ended(150)); err != nil {
		t.Errorf("150: %v", err)
	}
	before, _ := w.boundary(t)
	var many *cloud.TooMany
	if err := r.Publish(t.Context(), ended(200)); !errors.As(err, &many) || many.Given != 200 || many.Fit < 150 || many.Fit >= 200 {
		t.Fatalf("200: %v", err)
	}
	if after, _ := w.boundary(t); after != before {
		t.Errorf("too many, and yet the boundary is\n%s", after)
	}
	if err := r.Publish(t.Context(), ended(many.Fit)); err != nil {
		t.Errorf("%d, which fit: %v", many.Fit, err)
	}
	fit := many.Fit
	if err := r.Publish(t.Context(), ended(fit+1)); !errors.As(err, &many) || many.Fit != fit {
		t.Errorf("%d, of which %d fit: %v", fit+1, fit, err)
	}
	again := ended(fit)
	again.Deny = append(again.Deny, again.Deny...)
	if err := r.Publish(t.Context(), again); err != nil {
		t.Errorf("%d, each twice: %v", fit, err)
	}
}

// However often a boundary is published, the last five are kept, and the last
// is in force.
func TestPublishMakesRoom(t *testing.T) {
	w := newFencedWorld(t)
	r := newRevoker(t, w.config())
	for n := range 12 {
		if err := r.Publish(t.Context(), ended(n)); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		var want []string
		for v := n + 1; v >= max(1, n-3); v-- { // v1 denies nobody
			want = append(want, fmt.Sprintf("v%d", v))
		}
		document, versions := w.boundary(t)
		if got := strings.Count(document, "*@"); got != n || !slices.Equal(versions, want) {
			t.Errorf("published %d sessions: %d are denied, in versions %v, want %v", n, got, versions, want)
		}
	}
}

// All that know the same get it published, in whatever order they come.
func TestPublishConcurrently(t *testing.T) {
	w := newFencedWorld(t)
	r := newRevoker(t, w.config())
	for n := range 6 { // there are five versions now
		if err := r.Publish(t.Context(), ended(n)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := r.Publish(t.Context(), ended(40)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	document, versions := w.boundary(t)
	if got := strings.Count(document, "*@"); got != 40 || len(versions) > 5 {
		t.Errorf("%d sessions are denied, in versions %v", got, versions)
	}
}

// Publishers that know different things leave what one of them knew, whole.
func TestPublishConcurrentlyAndDifferently(t *testing.T) {
	w := newFencedWorld(t)
	r := newRevoker(t, w.config())
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			if err := r.Publish(t.Context(), ended(n+1)); err != nil && code(err) != broker.FaultAWS {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	document, versions := w.boundary(t)
	if got := strings.Count(document, "*@"); got < 1 || got > 20 || len(versions) > 5 {
		t.Errorf("%d sessions are denied, in versions %v", got, versions)
	}
	if err := r.Publish(t.Context(), ended(20)); err != nil {
		t.Fatal(err)
	}
	if document, _ := w.boundary(t); strings.Count(document, "*@") != 20 {
		t.Errorf("the newest is not in force: %s", document)
	}
}

func TestCheck(t *testing.T) {
	w := newFencedWorld(t)
	if carries, err := newRevoker(t, w.config()).Check(t.Context(), admin()); !carries || err != nil {
		t.Errorf("got %v, %v", carries, err)
	}
	if carries, err := newRevoker(t, w.config()).Check(t.Context(), &policy.Role{ARN: baseUser}); carries || !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("a user: %v, %v", carries, err)
	}
}

// A Fence that would deny too much, too little or elsewhere is refused before
// AWS is asked anything.
func TestPublishInvalid(t *testing.T) {
	change := func(f func(*cloud.Fence)) cloud.Fence {
		fence := fence(sessionID(1))
		f(&fence)
		return fence
	}
	tests := []struct {
		name  string
		fence cloud.Fence
	}{
		{"no role", cloud.Fence{}},
		{"a user", change(func(f *cloud.Fence) { f.RoleARN = baseUser })},
		{"another account", change(func(f *cloud.Fence) { f.AccountID = "999988887777" })},
		{"another partition", change(func(f *cloud.Fence) { f.Partition = "aws-cn" })},
		{"no session", fence("")},
		{"every session", fence("*")},
		{"every session, in disguise", fence("**************************")},
		{"a session's name", fence("alice@" + sessionID(1))},
		{"in lower case", fence(strings.ToLower(sessionID(1)))},
		{"one of two", fence(sessionID(1), "x")},
	}
	for _, tt := range tests {
		w := newFencedWorld(t)
		if err := newRevoker(t, w.config()).Publish(t.Context(), tt.fence); !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if calls := w.actions(); len(calls) > 0 {
			t.Errorf("%s: asked AWS to %v", tt.name, calls)
		}
	}
}
