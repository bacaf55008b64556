package cloud_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/sandbox"
)

// keep writes a key into the base parameter.
func (w *world) keep(t *testing.T, k sandbox.Key) {
	t.Helper()
	value, err := json.Marshal(map[string]string{"access_key_id": k.AccessKeyID, "secret_access_key": k.SecretAccessKey})
	if err != nil {
		t.Fatal(err)
	}
	w.PutParameter(parameter, string(value), true)
}

// fromSSM is a Minter's configuration that reads the parameter as a reader who
// may do nothing else, while the base key is the user's.
func (w *world) fromSSM(t *testing.T) cloud.Config {
	t.Helper()
	c := w.asRole(t)
	c.Base = "ssm:" + parameter
	return c
}

func TestBase(t *testing.T) {
	for _, base := range []string{"", "Default", "ssm", "ssm:", "ssm:/", "ssm:name", "env"} {
		c := newWorld(t).config()
		c.Base = base
		if _, err := cloud.New(c); !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("%q: err = %v", base, err)
		}
	}
}

func TestBaseMissing(t *testing.T) {
	c := newWorld(t).config()
	c.AWS.Credentials = nil
	if _, err := newMinter(t, c).AssumeRole(t.Context(), assumption(readOnly)); code(err) != broker.FaultBase {
		t.Errorf("err = %v", err)
	}
}

// A parameter is read once, and again when it is five minutes old by the
// Minter's clock.
func TestBaseFromSSM(t *testing.T) {
	tests := []struct {
		name  string
		clock time.Duration // against the machine's, by which the SDK keeps credentials
		reads int
	}{
		{"fresh", 0, 1},
		{"nearly five minutes old", -4 * time.Minute, 1},
		{"more than five minutes old", -5*time.Minute - time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.keep(t, w.user)
			c := w.fromSSM(t)
			c.Now = func() time.Time { return began.Add(tt.clock) }
			m := newMinter(t, c)
			for range 3 {
				if _, err := m.AssumeRole(t.Context(), assumption(readOnly)); err != nil {
					t.Fatal(err)
				}
			}
			reads := w.count("GetParameter")
			if tt.reads > 0 && reads != tt.reads || tt.reads == 0 && reads < 3 {
				t.Errorf("%d reads in three uses", reads)
			}
			if calls := w.Calls(); calls[len(calls)-1].AccessKeyID != w.user.AccessKeyID {
				t.Error("the role was assumed by somebody else")
			}
			if w.count("GetCallerIdentity") != 1 {
				t.Error("AWS was asked more than once who one key is")
			}
		})
	}
}

// A rotated key heals by itself: one more read, and one more try.
func TestRotatedBaseHeals(t *testing.T) {
	w := newWorld(t)
	w.keep(t, w.user)
	m := newMinter(t, w.fromSSM(t))
	if _, err := m.AssumeRole(t.Context(), assumption(readOnly)); err != nil {
		t.Fatal(err)
	}
	w.keep(t, w.RotateKey(w.user.ARN))
	w.ResetCalls()
	if _, err := m.AssumeRole(t.Context(), assumption(readOnly)); err != nil {
		t.Fatal(err)
	}
	want := []string{"AssumeRole", "GetParameter", "GetCallerIdentity", "AssumeRole"}
	if diff := cmp.Diff(want, w.actions()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// What AWS says of a stale key is answered with one more try, and no third.
func TestStaleBaseIsTriedOnceMore(t *testing.T) {
	tests := []struct {
		code  string
		tries int
	}{
		{"InvalidClientTokenId", 2},
		{"ExpiredToken", 2},
		{"ExpiredTokenException", 2},
		{"SignatureDoesNotMatch", 1},
		{"AccessDenied", 1},
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.keep(t, w.user)
		m := newMinter(t, w.fromSSM(t))
		w.SetFault(func(_, action string) *sandbox.Fault {
			if action != "AssumeRole" {
				return nil
			}
			return &sandbox.Fault{Status: 403, Code: tt.code}
		})
		if _, err := m.AssumeRole(t.Context(), assumption(readOnly)); err == nil {
			t.Errorf("%s: no error", tt.code)
		}
		if n := w.count("AssumeRole"); n != tt.tries || w.count("GetParameter") != tt.tries {
			t.Errorf("%s: %d tries and %d reads, want %d", tt.code, n, w.count("GetParameter"), tt.tries)
		}
	}
}

// A parameter that is not what it should be is refused, and never quoted.
func TestBaseParameterRefused(t *testing.T) {
	const secret = sandbox.Marker + "0123456789"
	tests := []struct {
		name, value string
		secure      bool
	}{
		{"not there", "", true},
		{"not a SecureString", `{"access_key_id":"AKIAX","secret_access_key":"` + secret + `"}`, false},
		{"not JSON", secret, true},
		{"no object", `"` + secret + `"`, true},
		{"cut off", `{"access_key_id":"AKIAX","secret_access_key":"` + secret, true},
		{"no id", `{"secret_access_key":"` + secret + `"}`, true},
		{"no secret", `{"access_key_id":"` + secret + `"}`, true},
		{"another key", `{"access_key_id":"AKIAX","secret_access_key":"` + secret + `","` + secret + `":1}`, true},
		{"a wrong type", `{"access_key_id":1,"secret_access_key":"` + secret + `"}`, true},
		{"two values", `{"access_key_id":"AKIAX","secret_access_key":"` + secret + `"} {}`, true},
	}
	for _, tt := range tests {
		w := newWorld(t)
		if tt.value != "" {
			w.PutParameter(parameter, tt.value, tt.secure)
		}
		_, err := newMinter(t, w.fromSSM(t)).AssumeRole(t.Context(), assumption(readOnly))
		if code(err) != broker.FaultBase {
			t.Errorf("%s: err = %v", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), sandbox.Marker) {
			t.Errorf("%s: the value is in %v", tt.name, err)
		}
		if w.count("AssumeRole") != 0 {
			t.Errorf("%s: a role was assumed", tt.name)
		}
	}
}

func TestParameter(t *testing.T) {
	w := newWorld(t)
	w.PutParameter("/starback/token", "xoxb", true)
	w.PutParameter("/starback/plain", "xoxb", false)
	config := w.config().AWS
	if got, err := cloud.Parameter(t.Context(), config, "/starback/token"); err != nil || got.Reveal() != "xoxb" {
		t.Errorf("%v, %v", got, err)
	}
	for _, name := range []string{"/starback/plain", "/starback/none"} {
		got, err := cloud.Parameter(t.Context(), config, name)
		if err == nil || !got.IsZero() || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "xoxb") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
