package bot_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// connect opens a Socket for the length of the test.
func connect(t *testing.T, w *world) {
	t.Helper()
	w.SetApp("") // from here on nothing comes over HTTP
	socket := bot.NewSocket(w.front, broker.NewSecret(w.BotToken()), broker.NewSecret(w.AppToken()), w.url+"/api/", http.DefaultClient, slog.New(slog.NewJSONHandler(w.log, nil)))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- socket.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the socket ended with %v", err)
		}
	})
	connected(t, w)
}

// connected waits until one connection is open.
func connected(t *testing.T, w *world) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); w.Connected() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections", w.Connected())
		}
	}
}

// TestSocket has everything come over Socket Mode, before and after Slack
// closes the connection.
func TestSocket(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	connect(t, w)
	has(t, w.types("U1", "help"), "gives you short-term AWS credentials")
	has(t, w.types("U1", "prod-readonly"), "export AWS_ACCESS_KEY_ID='ASIA0000000000000001'")
	has(t, w.presses("U1", "shell:fish"), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000002'")

	w.Disconnect()
	for deadline := time.Now().Add(10 * time.Second); w.Calls()["apps.connections.open"] != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not connected again")
		}
	}
	connected(t, w)

	if err := w.SetUser("U1", func(u *sandbox.SlackUser) { u.Deleted = true }); err != nil {
		t.Fatal(err)
	}
	if acks, err := w.UserChanged(t.Context(), "U1"); err != nil || len(acks) != 1 || acks[0].Problem != "" {
		t.Fatalf("%+v, %v", acks, err)
	}
	w.work()
	has(t, w.types("U1", "prod-readonly"), "Slack says that this account is deactivated")
	if acks, err := w.Event(t.Context(), "team_join", map[string]any{"user": map[string]any{"id": "U7"}}); err != nil || acks[0].Problem != "" {
		t.Errorf("another event: %+v, %v", acks, err)
	}
	if w.mint.made != 2 {
		t.Errorf("%d credentials were made", w.mint.made)
	}
}

// TestSocketForms has a form opened, corrected and submitted over Socket Mode,
// and what came of it pressed there.
func TestSocketForms(t *testing.T) {
	w := newFormWorld(t)
	connect(t, w)
	w.sends("U1", "")
	offered, err := w.Suggest(t.Context(), "U1", w.modal("U1").ID, "role", "admin")
	if err != nil || len(offered) != 1 || offered[0].Value != "prod-admin" {
		t.Fatalf("offered %+v, %v", offered, err)
	}
	has(t, w.chooses("U1", "prod-admin"), "Role: [ prod-admin v ]", "Ticket: ________")
	has(t, w.submits("U1", map[string]string{"ticket": "inc 7", "reason": "x"}), "! ticket: This is not a ticket", "[ Request ]")
	if waiting, err := w.store.Waiting(t.Context()); err != nil || waiting != 0 {
		t.Errorf("%d jobs wait, %v", waiting, err)
	}
	has(t, w.submits("U1", map[string]string{"duration:prod-admin": "30m", "ticket": "INC-7", "reason": "x"}), "Working on it…")
	w.work()
	has(t, w.shownTo("U1"), "export AWS_ACCESS_KEY_ID='ASIA0000000000000001'")
	if ack, err := w.ClickView(t.Context(), "U1", w.modal("U1").ID, "shell:fish"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	w.work()
	has(t, w.shownTo("U1"), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000002'")
	w.nowhere()

	if ack, err := w.Shortcut(t.Context(), "U2", "request_access"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	w.work()
	has(t, w.shownTo("U2"), "Role: [ Type part of a role or an account v ]")
}

// TestSocketWithAFullQueue holds that the person is told, or Slack is.
func TestSocketWithAFullQueue(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{MaxJobs: 1})
	connect(t, w)
	w.types("U1", "prod-readonly")
	w.sends("U2", "roles") // fills the queue

	seen := w.Seen("U1")
	ack, err := w.Click(t.Context(), "U1", seen[len(seen)-1], "shell:fish")
	if err != nil || ack.Problem != "operation_timeout" {
		t.Errorf("a button: %q, %v", ack.Problem, err)
	}
	w.sends("U1", "roles")
	has(t, w.sees("U1"), "Starback could not take your command for certain.")
	w.work()
	has(t, w.sees("U2"), "You may ask for 2 roles.")
	if w.mint.made != 1 {
		t.Errorf("%d credentials were made", w.mint.made)
	}
}

// A held queue keeps Jobs out until it is let go.
type held struct {
	broker.Queue
	reached, let chan struct{}
}

func (q held) Enqueue(ctx context.Context, j broker.Job) error {
	close(q.reached)
	<-q.let
	return q.Queue.Enqueue(ctx, j)
}

// TestSocketSideBySide has one envelope wait for the queue, and others answered
// meanwhile.
func TestSocketSideBySide(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	q := held{w.store, make(chan struct{}), make(chan struct{})}
	w.front.Queue = q
	connect(t, w)
	var waits sync.WaitGroup
	waits.Go(func() { _, _ = w.Command(t.Context(), "U1", "C1", "prod-readonly") })
	select {
	case <-q.reached:
	case <-time.After(10 * time.Second):
		t.Fatal("the queue is not reached")
	}
	ack, err := w.Command(t.Context(), "U2", "C1", "help")
	close(q.let)
	waits.Wait()
	if err != nil || ack.Problem != "" || !strings.Contains(string(ack.Body), "gives you short-term AWS credentials") {
		t.Errorf("while another waits, help is answered %s %q, %v", ack.Body, ack.Problem, err)
	}
}

// TestSocketRefused holds that a token Slack does not accept ends Run.
func TestSocketRefused(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	socket := bot.NewSocket(w.front, broker.NewSecret(w.BotToken()), broker.NewSecret("xapp-wrong"), w.url+"/api/", http.DefaultClient, slog.New(slog.NewJSONHandler(w.log, nil)))
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := socket.Run(ctx); err == nil || !strings.Contains(err.Error(), "invalid_auth") {
		t.Errorf("Run: %v", err)
	}
}
