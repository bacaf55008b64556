package bot

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/starback/starback/broker"
)

// A Socket takes in what Slack sends over Socket Mode, and hands it to the
// Front. The connection itself proves that it is Slack: nothing is signed.
type Socket struct {
	front  *Front
	client *socketmode.Client
	log    *slog.Logger
}

// NewSocket returns a Socket for an app-level token.
func NewSocket(front *Front, botToken, appToken broker.Secret, apiURL string, client *http.Client, log *slog.Logger) *Socket {
	options := []slack.Option{slack.OptionAppLevelToken(appToken.Reveal()), slack.OptionHTTPClient(client)}
	if apiURL != "" {
		options = append(options, slack.OptionAPIURL(apiURL))
	}
	return &Socket{front: front, client: socketmode.New(slack.New(botToken.Reveal(), options...)), log: log}
}

// Run keeps a connection to Slack until ctx ends, and answers envelopes side by
// side: one that waits for a slow neighbour holds up no other. It returns an
// error only when Slack refuses the token.
func (s *Socket) Run(ctx context.Context) error {
	var taking sync.WaitGroup
	defer taking.Wait()
	failed := make(chan error, 1)
	go func() { failed <- s.client.RunContext(ctx) }()
	for {
		select {
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return slackError(err)
		case e := <-s.client.Events:
			taking.Go(func() { s.take(ctx, e) })
		}
	}
}

// take answers one envelope. One that is not answered is sent again by Slack.
func (s *Socket) take(ctx context.Context, e socketmode.Event) {
	if e.Type == socketmode.EventTypeConnected {
		s.log.Info("connected to Slack over Socket Mode")
	}
	if e.Request == nil || e.Request.EnvelopeID == "" {
		return
	}
	reply, err := s.handle(ctx, e.Type, e.Request.Payload)
	if err != nil {
		s.log.Warn("refused an envelope", "type", string(e.Type), "why", err.Error())
	}
	if reply.Status == http.StatusServiceUnavailable {
		return
	}
	var payload any
	if len(reply.Body) > 0 {
		payload = json.RawMessage(reply.Body)
	}
	if err := s.client.AckCtx(ctx, e.Request.EnvelopeID, payload); err != nil {
		s.log.Error("could not acknowledge an envelope", "err", err)
	}
}

// handle gives a payload to the Front, as if it had come over HTTP.
func (s *Socket) handle(ctx context.Context, kind socketmode.EventType, payload []byte) (Reply, error) {
	ctx, stop := context.WithTimeout(ctx, AnswerWithin)
	defer stop()
	ok := Reply{Status: http.StatusOK}
	switch kind {
	case socketmode.EventTypeSlashCommand:
		var c slash
		if json.Unmarshal(payload, &c) != nil {
			return ok, errors.New("the command cannot be read")
		}
		if err := c.check(); err != nil {
			return ok, err
		}
		return s.front.command(ctx, c), nil
	case socketmode.EventTypeInteractive:
		p, err := parseInteraction(payload)
		if err != nil {
			return ok, err
		}
		return s.front.interaction(ctx, p), nil
	case socketmode.EventTypeEventsAPI:
		e, err := parseEvent(payload)
		if err != nil {
			return ok, err
		}
		return s.front.event(ctx, e), nil
	default:
		return ok, nil
	}
}
