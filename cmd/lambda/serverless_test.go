package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/starback/starback/broker"
)

// A service is serverless.yml, as far as the tests go by it.
type service struct {
	Provider struct{ Environment map[string]string }
	Custom   map[string]any
	// Functions have a time, in seconds or the name of one in Custom, what each
	// is told, and the archive it is in.
	Functions map[string]struct {
		Timeout     any
		Package     struct{ Artifact string }
		Environment map[string]any
	}
}

// serverless reads serverless.yml.
func serverless(t *testing.T) service {
	t.Helper()
	raw, err := os.ReadFile("../../serverless.yml")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	var s service
	if err := json.Unmarshal(asJSON, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// timeout is how long a function may take.
func (s service) timeout(t *testing.T, function string) time.Duration {
	t.Helper()
	value := s.Functions[function].Timeout
	if name, ok := value.(string); ok {
		value = s.Custom[strings.TrimSuffix(strings.TrimPrefix(name, "${self:custom."), "}")]
	}
	seconds, ok := value.(float64)
	if !ok {
		t.Fatalf("serverless.yml gives %s the time %v", function, s.Functions[function].Timeout)
	}
	return time.Duration(seconds) * time.Second
}

// archive is the name of the archive that a function is in.
func (s service) archive(t *testing.T, function string) string {
	t.Helper()
	name, ok := strings.CutSuffix(filepath.Base(s.Functions[function].Package.Artifact), ".zip")
	if !ok {
		t.Fatalf("serverless.yml has no archive for %s", function)
	}
	return name
}

// settings are a function's out of those of all: what serverless.yml tells
// others and not this one is left out. How it sets Go's runtime is added.
func (s service) settings(function string, all []string) []string {
	others := map[string]bool{}
	for _, f := range s.Functions {
		for name := range f.Environment {
			others[name] = true
		}
	}
	for name := range s.Functions[function].Environment {
		delete(others, name)
	}
	mine := slices.DeleteFunc(slices.Clone(all), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return others[name]
	})
	for name, value := range s.Provider.Environment {
		if strings.HasPrefix(name, "GO") {
			mine = append(mine, name+"="+value)
		}
	}
	return append(mine, "STARBACK_FUNCTION="+function)
}

// TestServerless holds that the tests read what they go by, and that the queue
// delivers a Job as often as the broker thinks.
func TestServerless(t *testing.T) {
	s := serverless(t)
	if len(s.Functions) != 4 {
		t.Errorf("serverless.yml has %d functions", len(s.Functions))
	}
	all := []string{"STARBACK_BASE=b", "STARBACK_BROKER_FUNCTION=f", "STARBACK_QUEUE_URL=q", "SLACK_BOT_TOKEN=t", "SLACK_SIGNING_SECRET=s", "AWS_REGION=r"}
	for name, want := range map[string][]string{
		"front":   {"STARBACK_QUEUE_URL=q", "SLACK_BOT_TOKEN=t", "SLACK_SIGNING_SECRET=s", "AWS_REGION=r"},
		"broker":  slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "STARBACK_BROKER_FUNCTION=f" }),
		"api":     {"STARBACK_BROKER_FUNCTION=f", "AWS_REGION=r"},
		"janitor": {"SLACK_BOT_TOKEN=t", "AWS_REGION=r"},
	} {
		want = append(slices.Clone(want), "GOGC="+s.Provider.Environment["GOGC"], "GOMEMLIMIT="+s.Provider.Environment["GOMEMLIMIT"], "STARBACK_FUNCTION="+name)
		got := s.settings(name, all)
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s is told %q", name, got)
		}
	}
	if least := broker.LeaseFor + dueBudget + margin; s.timeout(t, "broker") < least {
		t.Errorf("the broker may take %v, and an attempt, the trail and the margin are %v", s.timeout(t, "broker"), least)
	}
	if s.timeout(t, "api") <= brokerPatience || s.timeout(t, "broker") <= brokerPatience {
		t.Errorf("the api may take %v, the broker %v, and the api waits for %v", s.timeout(t, "api"), s.timeout(t, "broker"), brokerPatience)
	}
	storage, err := os.ReadFile("../../deploy/aws/storage.yml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(storage), fmt.Sprintf("\n        maxReceiveCount: %d\n", deliveries)) {
		t.Errorf("the queue does not deliver a job %d times, and at the last the broker says good-bye to it", deliveries)
	}
}
