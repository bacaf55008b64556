package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

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
		"STARBACK_SLACK_TEAMS="+story.Team, "STARBACK_RESPONSE_HOSTS="+strings.TrimPrefix(url, "http://"),
		"STARBACK_AUDIT_CHANNEL="+story.Audit, "STARBACK_APPROVALS_CHANNEL="+story.Approvals,
	)
}

// apply loads the stories' policy, by the built binary.
func apply(env []string) error {
	folder, err := os.MkdirTemp(filepath.Dir(binary), "policy-")
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "policy.yaml")
	if err := os.WriteFile(file, []byte(story.Policy), 0o600); err != nil {
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

// applied is the bytes of a file in which the stories' policy was applied.
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

// trail returns the audit lines of the log with this name.
func (p *process) trail(event string) []story.AuditLine { return story.Trail(p.output(), event) }

// waitForTrail waits until there are n audit lines of this name.
func (p *process) waitForTrail(event string, n int) []story.AuditLine {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if lines := p.trail(event); len(lines) >= n {
			return lines
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("there are not %d %s in the log\n%s", n, event, p.output())
		}
	}
}
