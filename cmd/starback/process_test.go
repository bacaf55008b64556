package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starback/starback/sandbox"
)

// testPolicy is the policy of the tests that run the program as a process.
const testPolicy = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  dev: {grants: [prod-readonly, prod-console]}
  ops: {grants: [prod-guarded]}
  leads: {}
  platform: {}
admins: [platform]
roles:
  prod-guarded:
    account: prod
    iam_role: starback/ReadOnly
    max_duration: 4h
    default_duration: 1h
    approval: {by: [leads], count: 2, within: 1h, claim_within: 1h}
  prod-readonly:
    account: prod
    iam_role: starback/ReadOnly
    max_duration: 8h
    default_duration: 1h
    ticket: 'INC-[0-9]+'
  prod-console:
    account: prod
    iam_role: starback/Console
    max_duration: 1h
    console: true
users:
  alice: {slack: T0TEST/U0ALICE, groups: [dev], expires: 2099-12-31}
  bob: {slack: T0TEST/U0BOB, groups: [dev], expires: 2099-12-31}
  carol: {slack: T0TEST/U0CAROL, groups: [platform], expires: 2099-12-31}
  erin: {slack: T0TEST/U0ERIN, groups: [dev], expires: 2020-01-01}
  fred: {slack: T0TEST/U0FRED, groups: [dev], expires: 2099-12-31, disabled: true}
  grace: {slack: T0TEST/U0GRACE, groups: [dev], expires: 2099-12-31}
  rob: {slack: T0TEST/U0ROBOT, groups: [dev], expires: 2099-12-31}
  gone: {slack: T0TEST/U0GONE, groups: [dev], expires: 2099-12-31}
  olga: {slack: T0TEST/U0OLGA, groups: [ops], expires: 2099-12-31}
  lea: {slack: T0TEST/U0LEA, groups: [leads], expires: 2099-12-31}
  mia: {slack: T0TEST/U0MIA, groups: [leads], expires: 2099-12-31}
`

const (
	general = "C0GENERAL"
	audit   = "C0AUDIT"
	guarded = "C0APPROVALS"
)

// newSlack is a workspace with everybody whom the tests need, on a port of its
// own.
func newSlack(t *testing.T) (*sandbox.Slack, string) {
	t.Helper()
	slack := sandbox.NewSlack(sandbox.SlackConfig{Now: time.Now, TeamID: "T0TEST"})
	server := httptest.NewServer(slack)
	t.Cleanup(server.Close)
	slack.SetURL(server.URL)
	everybody := []sandbox.SlackUser{
		{ID: "U0ALICE", Name: "alice"}, {ID: "U0BOB", Name: "bob"}, {ID: "U0CAROL", Name: "carol"},
		{ID: "U0DAVE", Name: "dave"}, {ID: "U0ERIN", Name: "erin"}, {ID: "U0FRED", Name: "fred"},
		{ID: "U0GRACE", Name: "grace", Restricted: true}, {ID: "U0ROBOT", Name: "rob", Bot: true},
		{ID: "U0GONE", Name: "gone", Deleted: true}, {ID: "U0OLGA", Name: "olga"}, {ID: "U0LEA", Name: "lea"}, {ID: "U0MIA", Name: "mia"},
	}
	var members []string
	for _, u := range everybody {
		slack.AddUser(u)
		members = append(members, u.ID)
	}
	slack.AddChannel(sandbox.SlackChannel{ID: general, Name: "general", Members: members})
	slack.AddChannel(sandbox.SlackChannel{ID: audit, Name: "starback-audit", Members: []string{"U0CAROL"}, BotIn: true})
	slack.AddChannel(sandbox.SlackChannel{ID: guarded, Name: "starback-approvals", Members: []string{"U0LEA", "U0MIA", "U0CAROL"}, BotIn: true})
	return slack, server.URL
}

// long is for tests that start many processes, or wait for them: unit tests do
// without.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("unit tests start few processes")
	}
}

// A process is the built binary, running.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string

	mu     sync.Mutex
	stdout bytes.Buffer
	stderr bytes.Buffer
	exited chan error
}

// environment is what the binary is run with: what it is given, and nothing of
// the machine's but what it needs to run.
func environment(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "AWS_EC2_METADATA_DISABLED=true"}, more...)
}

// slackEnvironment points the binary at a workspace.
func slackEnvironment(slack *sandbox.Slack, url string) []string {
	return environment(
		"SLACK_SIGNING_SECRET="+slack.SigningSecret(), "SLACK_BOT_TOKEN="+slack.BotToken(), "SLACK_API_URL="+url+"/api/",
		"STARBACK_SLACK_TEAMS=T0TEST", "STARBACK_RESPONSE_HOSTS="+strings.TrimPrefix(url, "http://"),
		"STARBACK_AUDIT_CHANNEL="+audit, "STARBACK_APPROVALS_CHANNEL="+guarded,
	)
}

// apply loads the test policy, by the built binary.
func apply(env []string) error {
	folder, err := os.MkdirTemp(filepath.Dir(binary), "policy-")
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "policy.yaml")
	if err := os.WriteFile(file, []byte(testPolicy), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--admin", "carol", "--slack", "T0TEST/U0CAROL"},
		{"apply", "-f", file, "--yes"},
	} {
		cmd := exec.Command(binary, args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("starback %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// applied is the bytes of a file in which the test policy was applied.
var applied = sync.OnceValues(func() ([]byte, error) {
	file := filepath.Join(filepath.Dir(binary), "applied.db")
	if err := apply(environment("STARBACK_STORE=file:" + file)); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// start runs serve and waits until it listens.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, exited: make(chan error, 1)}
	p.cmd = exec.Command(binary, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	p.cmd.Env = env
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = &lockedWriter{p}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.stdout.Write(append(lines.Bytes(), '\n'))
			p.mu.Unlock()
			var line struct{ Msg, Addr string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				listening <- line.Addr
			}
		}
		p.exited <- p.cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	select {
	case p.addr = <-listening:
	case err := <-p.exited:
		t.Fatalf("serve ended: %v\n%s", err, p.output())
	case <-time.After(20 * time.Second):
		t.Fatalf("serve does not listen\n%s", p.output())
	}
	return p
}

type lockedWriter struct{ p *process }

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.stderr.Write(b)
}

// output is all that the process has printed.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String() + p.stderr.String()
}

// stop tells the process to end, and fails the test unless it does so well.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		if err != nil {
			p.t.Errorf("serve ended with %v\n%s", err, p.output())
		}
	case <-time.After(30 * time.Second):
		p.t.Fatalf("serve does not stop\n%s", p.output())
	}
}

// kill ends the process at once.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
}

// get asks the process for a page.
func (p *process) get(path string) (int, string) {
	p.t.Helper()
	res, err := http.Get("http://" + p.addr + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// An auditLine is an audit line of the log, as far as tests look at it.
type auditLine struct {
	Kind          string `json:"kind"`
	Event         string `json:"event"`
	Actor         string `json:"actor"`
	Slack         string `json:"slack"`
	RequestID     string `json:"request_id"`
	SessionID     string `json:"session_id"`
	Role          string `json:"role"`
	AccountID     string `json:"account_id"`
	Ticket        string `json:"ticket"`
	Reason        string `json:"reason"`
	Decision      string `json:"decision"`
	Rule          string `json:"rule"`
	Outcome       string `json:"outcome"`
	AccessKeyID   string `json:"access_key_id"`
	PolicyVersion int64  `json:"policy_version"`
	ExpiresAt     string `json:"expires_at"`
}

// trail returns the audit lines of the log with this name.
func (p *process) trail(event string) []auditLine {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []auditLine
	for line := range strings.Lines(p.stdout.String()) {
		var l auditLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Kind == "starback.audit" && l.Event == event {
			out = append(out, l)
		}
	}
	return out
}

// waitForTrail waits until there are n audit lines of this name.
func (p *process) waitForTrail(event string, n int) []auditLine {
	p.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if lines := p.trail(event); len(lines) >= n {
			return lines
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("there are not %d %s in the log\n%s", n, event, p.output())
		}
	}
}

// answer waits for the nth ephemeral message that a person sees.
func answer(t *testing.T, slack *sandbox.Slack, userID string, n int) sandbox.Message {
	t.Helper()
	return answerWithin(t, slack, userID, n, 15*time.Second)
}

// answerWithin is answer, with more patience.
func answerWithin(t *testing.T, slack *sandbox.Slack, userID string, n int, patience time.Duration) sandbox.Message {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var last []sandbox.Message
	_, err := slack.WaitFor(ctx, userID, func(seen []sandbox.Message) bool {
		last = ephemerals(seen)
		return len(last) >= n
	})
	if err != nil {
		t.Fatalf("%s sees %d answers, not %d: %v", userID, len(last), n, err)
	}
	return last[n-1]
}

func ephemerals(seen []sandbox.Message) []sandbox.Message {
	var out []sandbox.Message
	for _, m := range seen {
		if m.Ephemeral {
			out = append(out, m)
		}
	}
	return out
}

// leaks names every place in folder, and in what was printed, that holds one
// of the secrets.
func leaks(t *testing.T, folder, printed string, secrets ...string) []string {
	t.Helper()
	var found []string
	look := func(where string, content []byte) {
		for _, s := range secrets {
			if bytes.Contains(content, []byte(s)) {
				found = append(found, where)
				return
			}
		}
	}
	look("what was printed", []byte(printed))
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		look(filepath.Base(path), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
