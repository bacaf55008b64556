package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func TestParseSlackID(t *testing.T) {
	for text, want := range map[string]broker.SlackID{
		"T012AB/U0456": {Team: "T012AB", User: "U0456"},
		"E012AB/W0456": {Team: "E012AB", User: "W0456"},
	} {
		if got, err := broker.ParseSlackID(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/", "T012AB", "T012AB/", "/U0456", "U0456/T012AB", "T/U0456", "T012ab/U0456", "T012AB/U0456/U1", "T012AB/U0456 ", "T012AB/B0456"} {
		if got, err := broker.ParseSlackID(text); !errors.Is(err, broker.ErrInvalid) || !got.IsZero() || got.String() != "" {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// The longest role session name that Starback makes is one that AWS takes.
func TestSessionNameFitsAWS(t *testing.T) {
	name := broker.Session{ID: "01K8ZQ0000ABCDEFGHJKMNPQRS"}.Name(policy.UserName(strings.Repeat("a", 32)))
	if len(name) > 64 || !strings.HasSuffix(name, "@01K8ZQ0000ABCDEFGHJKMNPQRS") {
		t.Errorf("%s has %d characters", name, len(name))
	}
}

// Each error says for logs which request it is about, and wraps what it
// promises to.
func TestErrors(t *testing.T) {
	cause := errors.New("the cause")
	tests := []struct {
		err  error
		text string
		is   []error
	}{
		{&broker.Refusal{RequestID: "R", Decision: policy.Decision{Rule: "grant.none"}}, "request R: grant.none: denied", []error{broker.ErrDenied}},
		{&broker.Fault{RequestID: "R", Code: "aws", Err: cause}, "request R: aws: the cause", []error{broker.ErrUnavailable, cause}},
		{&broker.Fault{Code: "aws", Err: cause}, "aws: the cause", []error{broker.ErrUnavailable, cause}},
		{&broker.AlreadyIssued{RequestID: "R"}, "request R: finished already: conflict", []error{broker.ErrConflict}},
		{&broker.KeyReused{RequestID: "R"}, "request R: the same key with another content: invalid", []error{broker.ErrInvalid}},
		{&broker.Busy{RequestID: "R"}, "request R: in progress: conflict", []error{broker.ErrConflict}},
		{&broker.Patience{After: 2 * time.Second}, "asked to wait 2s", []error{broker.ErrUnavailable}},
	}
	for _, tt := range tests {
		if tt.err.Error() != tt.text {
			t.Errorf("%q, want %q", tt.err.Error(), tt.text)
		}
		for _, is := range tt.is {
			if !errors.Is(tt.err, is) {
				t.Errorf("%q is not %q", tt.err, is)
			}
		}
	}
}
