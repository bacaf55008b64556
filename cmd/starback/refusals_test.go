package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/sandbox"
)

// TestPeopleWhoAreRefused is told, each in a sentence of their own with a
// request id, and recorded; nothing is minted for them.
func TestPeopleWhoAreRefused(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		// Whoever leaves a ticket out is given a form to fill in. Where it cannot
		// be opened, they are told.
		h.slack.SetFault(func(method string) *sandbox.SlackFault {
			if method == "views.open" {
				return &sandbox.SlackFault{Error: "internal_error"}
			}
			return nil
		})
		for i, tt := range []struct{ who, text, rule, says string }{
			{"U0DAVE", "prod-readonly 1h INC-1 looking", "identity.unbound", "Starback does not know you yet"},
			{"U0ERIN", "prod-readonly 1h INC-1 looking", "user.expired", "Your access to Starback has expired"},
			{"U0FRED", "prod-readonly 1h INC-1 looking", "user.disabled", "switched off"},
			{"U0GRACE", "prod-readonly 1h INC-1 looking", "identity.guest", "Guests"},
			{"U0ROBOT", "prod-readonly 1h INC-1 looking", "identity.bot", "Bots"},
			{"U0GONE", "prod-readonly 1h INC-1 looking", "identity.deleted", "deactivated"},
			{"U0CAROL", "prod-readonly 1h INC-1 looking", "grant.none", "There is no role `prod-readonly` that you may ask for"},
			{"U0ALICE", "prod-readonli 1h INC-1 looking", "role.unknown", "Did you mean `prod-readonly`?"},
			{"U0ALICE", "prod-readonly 9h INC-1 looking", "duration.too_long", "8h at most"},
			{"U0ALICE", "prod-readonly 5m INC-1 looking", "duration.too_short", "15 minutes"},
			{"U0ALICE", "prod-readonly 1h looking", "ticket.missing", "needs a ticket"},
			{"U0ALICE", "prod-readonly \xff\xfe", "ticket.missing", "needs a ticket"},
		} {
			t.Run(tt.rule, func(t *testing.T) {
				seen := len(ephemerals(h.slack.Seen(tt.who)))
				ack, err := h.slack.Command(t.Context(), tt.who, general, tt.text)
				if err != nil || ack.Status != http.StatusOK {
					t.Fatalf("answered %d, %v", ack.Status, err)
				}
				said := sandbox.Text(answer(t, h.slack, tt.who, seen+1), sandbox.RenderOptions{Width: 1000})
				if !strings.Contains(said, tt.says) || !strings.Contains(said, "Request `") {
					t.Errorf("%s is told\n%s", tt.who, said)
				}
				denied := h.waitForTrail("request.denied", i+1)
				if last := denied[i]; last.Rule != tt.rule || !strings.Contains(said, last.RequestID) {
					t.Errorf("the trail ends with %+v", last)
				}
			})
		}
		if n := h.assumed(); n != 0 {
			t.Errorf("AssumeRole was called %d times", n)
		}
		h.stop()
	})
}

// TestRequestsThatAreRefused sends what does not come from Slack, or makes no
// sense. It is turned away, nothing is minted, and the next command works.
func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		form := url.Values{
			"team_id": {"T0TEST"}, "user_id": {"U0ALICE"}, "channel_id": {general}, "command": {"/starback"},
			"text": {"prod-readonly 1h INC-1 looking"}, "trigger_id": {"1.2.abc"}, "response_url": {"https://hooks.slack.com/commands/T0TEST/1/x"},
		}
		body := func(change func(url.Values)) []byte {
			f := url.Values{}
			for name, values := range form {
				f[name] = append([]string(nil), values...)
			}
			change(f)
			return []byte(f.Encode())
		}
		same := func(url.Values) {}
		signed := func(at time.Time, b []byte) http.Header {
			header := sandbox.Sign(h.slack.SigningSecret(), at, b)
			header.Set("Content-Type", "application/x-www-form-urlencoded")
			return header
		}
		now := time.Now()
		for name, tt := range map[string]struct {
			header func([]byte) http.Header
			body   []byte
			status int
		}{
			"unsigned": {func([]byte) http.Header {
				return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
			}, body(same), 401},
			"stale":               {func(b []byte) http.Header { return signed(now.Add(-6*time.Minute), b) }, body(same), 401},
			"from the future":     {func(b []byte) http.Header { return signed(now.Add(6*time.Minute), b) }, body(same), 401},
			"signature of others": {func(b []byte) http.Header { return signed(now, append(b, '&')) }, body(same), 401},
			"truncated":           {func(b []byte) http.Header { return signed(now, b) }, body(same)[:40], 400},
			"duplicated field":    {func(b []byte) http.Header { return signed(now, b) }, body(func(f url.Values) { f.Add("user_id", "U0BOB") }), 400},
			"malformed":           {func(b []byte) http.Header { return signed(now, b) }, []byte("team_id=%zz"), 400},
			"no user":             {func(b []byte) http.Header { return signed(now, b) }, body(func(f url.Values) { f.Del("user_id") }), 400},
			"no trigger":          {func(b []byte) http.Header { return signed(now, b) }, body(func(f url.Values) { f.Del("trigger_id") }), 400},
			"bad UTF-8 in an id":  {func(b []byte) http.Header { return signed(now, b) }, body(func(f url.Values) { f.Set("user_id", "U\xff") }), 400},
			"oversized":           {func(b []byte) http.Header { return signed(now, b) }, body(func(f url.Values) { f.Set("text", strings.Repeat("x", 1<<20)) }), 413},
			"wrong content type": {func(b []byte) http.Header {
				header := signed(now, b)
				header.Set("Content-Type", "text/plain")
				return header
			}, body(same), 415},
			"another team":       {func(b []byte) http.Header { return signed(now, b) }, body(func(f url.Values) { f.Set("team_id", "T0OTHER") }), 200},
			"another enterprise": {func(b []byte) http.Header { return signed(now, b) }, body(func(f url.Values) { f.Set("team_id", "T0OTHER"); f.Set("enterprise_id", "E0OTHER") }), 200},
		} {
			t.Run(name, func(t *testing.T) {
				if status := h.post("/slack/commands", tt.header(tt.body), tt.body); status != tt.status {
					t.Errorf("answered %d, want %d", status, tt.status)
				}
			})
		}
		if n, asked := h.assumed(), h.trail("request.asked"); n != 0 || len(asked) != 0 {
			t.Errorf("AssumeRole was called %d times, and %d asks recorded", n, len(asked))
		}
		h.gets("prod-readonly 1h INC-1 looking")
		h.stop()
	})
}

// TestSocketMode does the main job without a public URL.
func TestSocketMode(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		slack, slackURL := newSlack(t) // no wire between: it carries no WebSocket
		cloud := sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now})
		server := httptest.NewServer(cloud)
		t.Cleanup(server.Close)
		env := append(slackEnvironment(slack, slackURL), useSandbox(t, cloud, server.URL)...)
		env = append(append(env, k.env...), "SLACK_APP_TOKEN="+slack.AppToken())
		k.fill(t)
		p := start(t, env)
		for deadline := time.Now().Add(10 * time.Second); slack.Connected() == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no connection\n%s", p.output())
			}
		}
		if _, err := slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h INC-1 looking"); err != nil {
			t.Fatal(err)
		}
		pasted(t, answer(t, slack, "U0ALICE", 1))
		p.stop()
		k.dump(t)
		if found := leaks(t, k.folder, p.output(), sandbox.Marker); len(found) > 0 {
			t.Errorf("a secret is in %s", strings.Join(found, ", "))
		}
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
		h.aws.SetFault(func(_, action string) *sandbox.Fault {
			if action == "AssumeRole" {
				close(asked)
				<-answerNow
			}
			return nil
		})
		if _, err := h.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h INC-1 looking"); err != nil {
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
		pasted(t, answer(t, h.slack, "U0ALICE", 1))
		<-stopped
		waitForChannel(t, h.slack, audit, h.trail("session.issued")[0].SessionID)
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
		h.aws.SetFault(func(_, action string) *sandbox.Fault {
			if action == "AssumeRole" {
				busy <- struct{}{}
				<-release
			}
			return nil
		})
		for range drainWorkers {
			if _, err := h.slack.Command(t.Context(), "U0BOB", general, "prod-readonly 1h INC-1 keeping everybody busy"); err != nil {
				t.Fatal(err)
			}
			<-busy
		}
		if _, err := h.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h INC-1 looking"); err != nil {
			t.Fatal(err)
		}
		h.kill()
		h.aws.SetFault(nil)
		close(release)

		second := start(t, h.env)
		pasted(t, answer(t, h.slack, "U0ALICE", 1))
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
		h.aws.SetFault(func(string, string) *sandbox.Fault {
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
	if !strings.Contains(p.output(), "Nothing in it is real") {
		t.Error("the sandbox does not say what it is")
	}
	p.stop()
	if strings.Contains(p.output(), sandbox.Marker) {
		t.Error("a secret was printed")
	}
}
