package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// TestSocketMode tells a story without a public URL.
func TestSocketMode(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		h.stop()
		url := story.Serve(t, h.Slack) // no wire between: it carries no WebSocket
		h.Slack.SetURL(url)
		h.env = append(h.env, slackEnvironment(h.Slack, url)...)
		h.env = append(h.env, "SLACK_APP_TOKEN="+h.Slack.AppToken())
		h.restart()
		h.Eventually(func() bool { return h.Slack.Connected() > 0 }, "no connection")
		story.Forms(h.House)
	})
}

// TestStoppingFinishesWhatWasBegun stops the process while AWS is answering:
// the requester still gets the credentials.
func TestStoppingFinishesWhatWasBegun(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		asked := make(chan struct{})
		answerNow := make(chan struct{})
		h.AWS.SetFault(func(_, action string) *sandbox.Fault {
			if action == "AssumeRole" {
				close(asked)
				<-answerNow
			}
			return nil
		})
		if _, err := h.Slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h INC-1 looking"); err != nil {
			t.Fatal(err)
		}
		<-asked
		stopped := make(chan struct{})
		go func() { defer close(stopped); h.stop() }()
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(h.output(), `"msg":"stopping"`); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("it does not notice that it is to stop")
			}
		}
		close(answerNow)
		story.Pasted(t, h.Answer("U0ALICE", 1))
		<-stopped
		h.Channel(story.Audit, h.trail("session.issued")[0].SessionID)
	})
}

// TestJobsOutliveTheProcess kills the process before it has begun a Job: the
// next one carries it out.
func TestJobsOutliveTheProcess(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		// Every worker is busy when the last command comes in.
		busy := make(chan struct{}, 64)
		release := make(chan struct{})
		h.AWS.SetFault(func(_, action string) *sandbox.Fault {
			if action == "AssumeRole" {
				busy <- struct{}{}
				<-release
			}
			return nil
		})
		for range drainWorkers {
			if _, err := h.Slack.Command(t.Context(), "U0BOB", story.General, "prod-readonly 1h INC-1 keeping everybody busy"); err != nil {
				t.Fatal(err)
			}
			<-busy
		}
		if _, err := h.Slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h INC-1 looking"); err != nil {
			t.Fatal(err)
		}
		h.kill()
		h.AWS.SetFault(nil)
		close(release)

		second := start(t, h.env)
		story.Pasted(t, h.Answer("U0ALICE", 1))
		if issued := second.waitForTrail("session.issued", 1); issued[0].Actor != "alice" {
			t.Errorf("the next process begins with %+v", issued[0])
		}
		second.stop()
	})
}

// TestNotReady says so while a neighbour fails, without saying why to
// strangers.
func TestNotReady(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		h.AWS.SetFault(func(string, string) *sandbox.Fault {
			return &sandbox.Fault{Status: http.StatusForbidden, Code: "AccessDenied", Message: "no"}
		})
		if status, body := h.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"aws":"failing"`) || !strings.Contains(body, `"store":"ok"`) {
			t.Errorf("/readyz: %d %s", status, body)
		}
		if status, _ := h.get("/healthz"); status != http.StatusOK {
			t.Errorf("/healthz: %d", status)
		}
		h.stop()
	})
}

// TestTypingIntoTheSandbox is what make run ends with: a sandbox that serves,
// and another process that types into it.
func TestTypingIntoTheSandbox(t *testing.T) {
	long(t)
	t.Parallel()
	p := start(t, environment(), "--sandbox")
	types := func(args ...string) (int, string) {
		var out, problems bytes.Buffer
		code := run(context.Background(), append([]string{"demo", "--addr", p.addr}, args...), func(string) string { return "" }, strings.NewReader(""), &out, &problems)
		return code, out.String() + problems.String()
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--as", "alice", "/starback prod-readonly 1h INC-1 looking"}, exitDone, "export AWS_SESSION_TOKEN="},
		{[]string{"--as", "alice", "--click", "New keys for fish"}, exitDone, "set -gx AWS_SESSION_TOKEN"},
		{[]string{"--as", "alice", "/starback test-poweruser"}, exitDone, "set -gx AWS_SESSION_TOKEN"},
		{[]string{"--as", "bob", "/starback roles"}, exitDone, "prod-operator"},
		{[]string{"--as", "carol", "/starback whoami"}, exitDone, "You administer Starback."},
		{[]string{"--as", "alice", "/starback help"}, exitDone, "/starback ROLE"},
		{[]string{"--channel", "starback-audit"}, exitDone, "asked for `prod-readonly`"},
		{[]string{"--as", "nobody", "/starback roles"}, exitFailed, "there is alice, bob, carol"},
	} {
		code, said := types(tt.args...)
		if code != tt.code || !strings.Contains(said, tt.says) {
			t.Errorf("demo %q: exit %d\n%s", tt.args, code, said)
		}
	}
	if _, said := types("--as", "nobody", "/starback roles"); strings.Contains(said, "is a sandbox running?") {
		t.Errorf("a sandbox has answered: %s", said)
	}
	if !strings.Contains(p.output(), "Nothing in it is real") {
		t.Error("the sandbox does not say what it is")
	}
	asksAsIsSaid(t, p)
	p.stop()
	if strings.Contains(p.output(), sandbox.Marker) {
		t.Error("a secret was printed")
	}
}

// asksAsIsSaid does what a sandbox says an application can do.
func asksAsIsSaid(t *testing.T, p *process) {
	t.Helper()
	_, said, _ := strings.Cut(p.output(), "ask as an application:\n")
	commands, curl, found := strings.Cut(said, "    curl ")
	if !found || !strings.Contains(curl, "http://"+p.addr+"/v1/credentials -d '{\"role\": \"prod-readonly\"}'") {
		t.Fatalf("the sandbox says\n%s", said)
	}
	token, err := exec.CommandContext(t.Context(), "sh", "-e", "-c", commands+`printf 'TOKEN=%s' "$TOKEN"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	holders, word, _ := strings.Cut(string(token), "TOKEN=")
	if !strings.Contains(holders, "bob") {
		t.Errorf("who may have prod-admin:\n%s", holders)
	}
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr+"/v1/credentials", strings.NewReader(`{"role": "prod-readonly"}`))
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Authorization", "Bearer "+word)
	ask.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), `"access_key_id":"ASIA`) {
		t.Errorf("an application is answered with %s, %v", answer.Status, err)
	}
}
