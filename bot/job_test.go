package bot

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// secretPath is the part of a response URL that must not be seen.
const secretPath = "commands/T012AB/1/CAPABILITY"

// fullWork is work with every field set.
func fullWork() work {
	return work{
		Kind: workButton, Caller: alice, Key: "trigger.1", Received: noon, Channel: "C1", Text: "prod 1h <why> \u2028 \"x\"",
		Action: "shell:fish", Value: "0123456789ABCDEFGHJK", Standing: broker.Active,
		ResponseURL: broker.NewSecret("https://hooks.slack.com/" + secretPath),
	}
}

func newSealer(t *testing.T, secret string) *Sealer {
	t.Helper()
	s, err := NewSealer(broker.NewSecret(secret), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sealedJob is fullWork as a Job.
func sealedJob(t *testing.T, s *Sealer) broker.Job {
	t.Helper()
	j, err := s.seal(fullWork())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestSealAndOpen(t *testing.T) {
	s := newSealer(t, "signing secret")
	job := sealedJob(t, s)
	if !job.Deadline.Equal(noon.Add(jobPatience)) {
		t.Errorf("the deadline is %s", job.Deadline)
	}
	if bytes.Contains(job.Body, []byte("CAPABILITY")) || bytes.Contains(job.Body, []byte("prod 1h")) {
		t.Error("the body can be read")
	}
	got, err := newSealer(t, "signing secret").open(job)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullWork(), got, cmp.Comparer(func(a, b broker.Secret) bool { return a.Reveal() == b.Reveal() })); diff != "" {
		t.Errorf("opened something else (-want +got):\n%s", diff)
	}
	if twice := sealedJob(t, s); twice.ID != job.ID || bytes.Equal(twice.Body, job.Body) {
		t.Error("sealing twice must give the same ID, and another body")
	}
}

// TestOpenRefuses holds that a Job which the Front did not put there as it is
// cannot be carried out.
func TestOpenRefuses(t *testing.T) {
	s := newSealer(t, "signing secret")
	for name, change := range map[string]func(*broker.Job){
		"another ID":  func(j *broker.Job) { j.ID = "00" + j.ID[2:] },
		"first byte":  func(j *broker.Job) { j.Body[0] ^= 1 },
		"last byte":   func(j *broker.Job) { j.Body[len(j.Body)-1] ^= 1 },
		"cut":         func(j *broker.Job) { j.Body = j.Body[:len(j.Body)-1] },
		"longer":      func(j *broker.Job) { j.Body = append(j.Body, 0) },
		"nonce only":  func(j *broker.Job) { j.Body = j.Body[:12] },
		"short":       func(j *broker.Job) { j.Body = j.Body[:11] },
		"empty":       func(j *broker.Job) { j.Body = nil },
		"other key":   func(j *broker.Job) { *j = sealedJob(t, newSealer(t, "another secret")) },
		"in the open": func(j *broker.Job) { j.Body = []byte(`{"kind":"command","caller":{"team":"T012AB","user":"U0456"}}`) },
		"other's body": func(j *broker.Job) {
			w := fullWork()
			w.Key = "trigger.2"
			other, err := s.seal(w)
			if err != nil {
				t.Fatal(err)
			}
			j.Body = other.Body
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := sealedJob(t, s)
			change(&job)
			if w, err := s.open(job); !errors.Is(err, errSealed) || w != (work{}) {
				t.Errorf("opened %+v, %v", w, err)
			}
		})
	}
}

func TestNewSealer(t *testing.T) {
	if _, err := NewSealer(broker.Secret{}, rand.Reader); !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("without a secret: %v", err)
	}
	s, err := NewSealer(broker.NewSecret("x"), iotest.ErrReader(errors.New("no entropy")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.seal(fullWork()); err == nil {
		t.Error("sealed without entropy")
	}
}

// TestWorkID holds that one delivery is one Job, and that two are two.
func TestWorkID(t *testing.T) {
	same := fullWork()
	same.Text, same.Received, same.ResponseURL = "other words", noon.Add(time.Minute), broker.Secret{}
	if same.id() != fullWork().id() {
		t.Error("a repeated delivery has another id")
	}
	seen := map[string]string{fullWork().id(): "the first"}
	for name, change := range map[string]func(*work){
		"kind":   func(w *work) { w.Kind = workCommand },
		"caller": func(w *work) { w.Caller.User = "U0457" },
		"team":   func(w *work) { w.Caller.Team = "T012AC" },
		"key":    func(w *work) { w.Key = "trigger.2" },
	} {
		w := fullWork()
		change(&w)
		if other, taken := seen[w.id()]; taken {
			t.Errorf("another %s has the id of %s", name, other)
		}
		seen[w.id()] = name
	}
}

// TestPrintingWorkHidesTheCapability prints in every way that there is.
func TestPrintingWorkHidesTheCapability(t *testing.T) {
	w := fullWork()
	for name, v := range map[string]any{"work": w, "*work": &w, "[]work": []work{w}, "job": sealedJob(t, newSealer(t, "signing secret"))} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Fatal(err)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		for _, secret := range []string{"CAPABILITY", fmt.Sprintf("%x", "CAPABILITY")} {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s shows the response URL:\n%s", name, out.String())
			}
		}
	}
}
