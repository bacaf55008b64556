package sandbox_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/starback/starback/sandbox"
)

func TestSocketMode(t *testing.T) {
	w := newSlackWorld(t)
	api := slack.New(w.BotToken(), slack.OptionAppLevelToken(w.AppToken()), slack.OptionAPIURL(w.url+"/api/"))
	client := socketmode.New(api)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = client.RunContext(ctx) // ends with the context
	}()
	var got []string
	handled := make(chan string)
	hello := make(chan struct{}, 2)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-client.Events:
				switch data := e.Data.(type) {
				case slack.SlashCommand:
					if err := client.Ack(*e.Request, map[string]any{"text": "over the socket"}); err != nil {
						t.Error(err)
					}
					handled <- "command " + data.Text + " " + data.ChannelName
				case slack.InteractionCallback:
					if err := client.Ack(*e.Request); err != nil {
						t.Error(err)
					}
					handled <- "click " + data.ActionCallback.BlockActions[0].ActionID
				default:
					switch e.Type {
					case socketmode.EventTypeHello:
						hello <- struct{}{}
					case socketmode.EventTypeEventsAPI:
						if err := client.Ack(*e.Request); err != nil {
							t.Error(err)
						}
						handled <- "event"
					}
				}
			}
		}
	}()
	wait := func() {
		select {
		case line := <-handled:
			got = append(got, line)
		case <-ctx.Done():
			t.Fatal("nothing was handled")
		}
	}
	connect := func() {
		select {
		case <-hello:
		case <-ctx.Done():
			t.Fatal("no hello")
		}
		for w.Connected() != 1 {
			if ctx.Err() != nil {
				t.Fatal("not connected")
			}
			time.Sleep(time.Millisecond)
		}
	}
	connect()
	acks := make(chan sandbox.Ack, 1)
	act := func(f func() (sandbox.Ack, error)) sandbox.Ack {
		go func() {
			ack, err := f()
			if err != nil {
				t.Error(err)
			}
			acks <- ack
		}()
		wait()
		return <-acks
	}
	ack := act(func() (sandbox.Ack, error) { return w.Command(ctx, "U1", "C1", "prod") })
	if string(ack.Body) != `{"text":"over the socket"}` || ack.Problem != "" {
		t.Errorf("ack %s, problem %q", ack.Body, ack.Problem)
	}
	if seen := w.Seen("U1"); len(seen) != 1 || seen[0].Text != "over the socket" || !seen[0].Ephemeral {
		t.Errorf("alice sees %+v", seen)
	}
	if _, err := ack.Request.Send(ctx); err == nil {
		t.Error("an envelope was sent again")
	}
	w.Disconnect()
	connect()
	if _, _, err := w.api.PostMessage("C1", slackBlocks(t, slackButtons)); err != nil {
		t.Fatal(err)
	}
	act(func() (sandbox.Ack, error) { return w.Click(ctx, "U1", w.Channel("C1")[0], "yes") })
	act(func() (sandbox.Ack, error) {
		acks, err := w.UserChanged(ctx, "U2")
		return acks[0], err
	})
	if diff := cmp.Diff([]string{"command prod general", "click yes", "event"}, got); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	cancel()
	<-done
}

func TestSocketAnswersThatDoNotCount(t *testing.T) {
	tests := []struct {
		name string
		ack  func(id string) any // nil for none
		want string
	}{
		{"none", nil, "operation_timeout"},
		{"of another envelope", func(string) any { return map[string]string{"envelope_id": "x"} }, "operation_timeout"},
		{"too large", func(id string) any {
			return map[string]string{"envelope_id": id, "payload": strings.Repeat("x", 20_000)}
		}, "operation_timeout"},
		{"good", func(id string) any { return map[string]string{"envelope_id": id} }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newSlackWorld(t, func(c *sandbox.SlackConfig) {
				c.AckTimeout = 5 * time.Second
				if tt.want != "" {
					c.AckTimeout = 100 * time.Millisecond
				}
			})
			_, opened := w.call(t, "apps.connections.open", w.AppToken(), nil)
			link, _ := opened["url"].(string)
			conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), link, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, _, err := websocket.DefaultDialer.DialContext(t.Context(), link, nil); err == nil {
				t.Error("a ticket worked twice")
			}
			for w.Connected() != 1 {
				time.Sleep(time.Millisecond)
			}
			go func() {
				for {
					_, frame, err := conn.ReadMessage()
					if err != nil {
						return
					}
					var in struct {
						EnvelopeID string `json:"envelope_id"`
					}
					if err := json.Unmarshal(frame, &in); err != nil {
						t.Error(err)
					}
					if in.EnvelopeID != "" && tt.ack != nil {
						if err := conn.WriteJSON(tt.ack(in.EnvelopeID)); err != nil {
							t.Error(err)
						}
					}
				}
			}()
			ack, err := w.Command(t.Context(), "U1", "C1", "x")
			if err != nil || ack.Problem != tt.want {
				t.Errorf("problem %q, %v; want %q", ack.Problem, err, tt.want)
			}
		})
	}
}
