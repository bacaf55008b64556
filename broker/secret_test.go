package broker_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/starback/starback/broker"
)

const value = "wJalrXUtnFEMI"

func TestSecretReveal(t *testing.T) {
	if s := broker.NewSecret(value); s.Reveal() != value || s.IsZero() {
		t.Errorf("revealed %q", s.Reveal())
	}
	if s := (broker.Secret{}); s.Reveal() != "" || !s.IsZero() || !broker.NewSecret("").IsZero() {
		t.Error("the zero Secret holds something")
	}
}

// Every way of printing or encoding a Secret gives the same word.
func TestSecretIsRedacted(t *testing.T) {
	s := broker.NewSecret(value)
	for _, verb := range "vsqxXdbcoOUeEfFgGtTwp" {
		for _, flag := range []string{"", "+", "#", " ", "-20", ".3"} {
			format := "%" + flag + string(verb)
			for name, got := range map[string]string{
				"Sprintf": fmt.Sprintf(format, s),
				"Errorf":  fmt.Errorf(format, s).Error(),
			} {
				if strings.Contains(got, value) || !strings.ContainsRune("Twp", verb) && got != "[redacted]" {
					t.Errorf("%s(%q) = %q", name, format, got)
				}
			}
		}
	}
	if s.String() != "[redacted]" || s.GoString() != "[redacted]" || fmt.Sprint(s) != "[redacted]" {
		t.Error("a method gives something else")
	}
}

func TestSecretIsRedactedWhereverItIs(t *testing.T) {
	s := broker.NewSecret(value)
	type hidden struct{ secret broker.Secret }
	type shown struct {
		Secret  broker.Secret
		Pointer *broker.Secret
	}
	places := map[string]any{
		"itself":     s,
		"pointer":    &s,
		"struct":     shown{s, &s},
		"slice":      []broker.Secret{s},
		"array":      [1]broker.Secret{s},
		"map":        map[string]broker.Secret{"key": s},
		"map key":    map[broker.Secret]int{s: 1},
		"interface":  []any{s, &s},
		"unexported": hidden{s},
		"deep":       map[string][]any{"a": {shown{s, &s}, &hidden{s}}},
		"answer":     broker.Issued{Console: s, Credentials: broker.Credentials{SecretKey: s, SessionToken: s}},
	}
	for name, place := range places {
		var log bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).Info("line", "attr", place, slog.Group("group", "attr", place))
		}
		encoded, err := json.Marshal(place)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := log.String() + string(encoded)
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%w", "%p"} {
			got += fmt.Sprintf(format, place) + fmt.Errorf(format, place).Error()
		}
		for _, found := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value)} {
			if strings.Contains(got, found) {
				t.Errorf("%s: it shows in %s", name, got)
			}
		}
		if name != "unexported" && !strings.Contains(got, "[redacted]") {
			t.Errorf("%s: nothing says that something is left out: %s", name, got)
		}
	}
}

func TestSecretEncoded(t *testing.T) {
	s := broker.NewSecret(value)
	text, err := s.MarshalText()
	if err != nil || string(text) != "[redacted]" {
		t.Errorf("text %q, %v", text, err)
	}
	encoded, err := json.Marshal(map[string]any{"s": s})
	if err != nil || string(encoded) != `{"s":"[redacted]"}` {
		t.Errorf("JSON %s, %v", encoded, err)
	}
	if encoded, err = xml.Marshal(s); err != nil || string(encoded) != "<Secret>[redacted]</Secret>" {
		t.Errorf("XML %s, %v", encoded, err)
	}
}
