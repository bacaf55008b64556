package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/starback/starback/api"
	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/cmd/internal/config"
	"github.com/starback/starback/cmd/internal/parts"
	"github.com/starback/starback/store"
)

const (
	sweepEvery   = 5 * time.Second
	shutdownTime = 20 * time.Second // for what is being done when the program is told to stop
	// writeTime is for an answer from when its request has come in: more than
	// the lease of what may be issued for it, so that what was recorded as issued
	// can still be answered.
	writeTime = broker.LeaseFor + 5*time.Second
)

// A service is everything that serve runs, put together.
type service struct {
	log    *slog.Logger
	store  store.Store
	minter *cloud.Minter
	slack  *bot.Client
	broker *broker.Broker
	front  *bot.Front
	api    http.Handler
	jobs   *drain
	socket *bot.Socket // nil: Slack comes over HTTP
}

// newService puts a service together. It opens the store and touches nothing
// else. Audit lines and logs go to out.
func newService(ctx context.Context, cfg config.Config, awsCfg aws.Config, out io.Writer) (*service, error) {
	db, err := store.Open(ctx, cfg.Store, store.Options{
		AWS: func(context.Context) (aws.Config, error) { return awsCfg, nil }, Now: time.Now, Entropy: rand.Reader,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", config.Store, err)
	}
	s := &service{store: db, jobs: &drain{queue: db, now: time.Now, wake: make(chan struct{}, 1)}}
	if err := s.assemble(cfg, awsCfg, out); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// assemble makes the parts that work on the store.
func (s *service) assemble(cfg config.Config, awsCfg aws.Config, out io.Writer) error {
	p, err := parts.New(cfg, awsCfg, s.store, out)
	if err != nil {
		return err
	}
	worker, err := p.Worker()
	if err != nil {
		return err
	}
	s.minter, s.slack, s.broker, s.log = p.Minter, p.Slack, p.Broker, p.Log
	s.jobs.do, s.jobs.giveUp, s.jobs.log = worker.Do, worker.GiveUp, p.Log
	if s.front, err = parts.Front(cfg, s.jobs, s.store, version(), out); err != nil {
		return err
	}
	s.api = api.New(api.Config{Broker: p.Broker, Version: version(), Now: time.Now, Entropy: rand.Reader, Log: p.Log})
	if !cfg.AppToken.IsZero() {
		s.socket = bot.NewSocket(s.front, cfg.BotToken, cfg.AppToken, cfg.SlackAPI, config.HTTPClient(), p.Log)
	}
	return nil
}

// run serves until ctx ends, then finishes what it is doing or puts it back on
// the queue. More handlers may be mounted.
func (s *service) run(ctx context.Context, listener net.Listener, more map[string]http.Handler) error {
	defer s.store.Close()
	mux := http.NewServeMux()
	mux.Handle("/slack/", s.front)
	mux.Handle(api.Prefix, s.api)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /readyz", s.readiness())
	for path, handler := range more {
		mux.Handle(path, handler)
	}
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: writeTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}

	var background sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 2)
	background.Go(func() { s.jobs.run(ctx) })
	background.Go(func() {
		s.broker.Sweep(ctx, sweepEvery, func(err error) { s.log.Warn("could not pass on part of the trail; trying again", "err", err) })
	})
	if s.socket != nil {
		background.Go(func() {
			if err := s.socket.Run(ctx); err != nil {
				failed <- fmt.Errorf("Socket Mode: %w", err)
			}
		})
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	s.warnUnasked(ctx)
	s.log.Info("serving", "addr", listener.Addr().String(), "version", version(), "socket_mode", s.socket != nil)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.log.Info("stopping")
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer done()
	if stopped := server.Shutdown(grace); stopped != nil {
		s.log.Warn("some requests were cut off", "err", stopped)
	}
	stop()
	background.Wait()
	// The last outcomes are worth telling of before the program ends.
	if _, last := s.broker.Due(grace); last != nil {
		s.log.Warn("part of the trail stays for the next start", "err", last)
	}
	return err
}

// warnUnasked says so in the log where roles need approval, and there is no
// channel in which anybody is asked.
func (s *service) warnUnasked(ctx context.Context) {
	if s.slack.Approvals != "" {
		return
	}
	_, doc, err := s.store.Head(ctx)
	if err != nil || doc == nil {
		return // nothing is known to need approval; /readyz tells of the store
	}
	for name, role := range doc.Roles {
		if role.Approval != nil {
			s.log.Warn("a role needs approval, and nobody is asked: "+config.Approvals+" is not set", "role", name)
		}
	}
}

// readyFor is how long an answer of /readyz is repeated, so that probing does
// not load the neighbours.
const readyFor = 10 * time.Second

// readiness says whether the store, Slack and the base credentials answer.
func (s *service) readiness() http.Handler {
	var mu sync.Mutex
	var asked time.Time
	var answer map[string]string
	var status int
	checks := map[string]func(context.Context) error{"store": s.store.Ping, "slack": s.slack.Ready, "aws": s.minter.Ready}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(asked) > readyFor {
			// A caller that hangs up does not decide what the next one is told.
			ctx, stop := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Second)
			defer stop()
			asked, status, answer = now, http.StatusOK, map[string]string{}
			for name, check := range checks {
				answer[name] = "ok"
				if err := check(ctx); err != nil {
					answer[name], status = "failing", http.StatusServiceUnavailable
					s.log.Warn("not ready", "neighbour", name, "err", err)
				}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		writeJSON(w, answer)
	})
}
