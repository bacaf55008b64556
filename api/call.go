package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/starback/starback/broker"
)

// A call is one request of a token's bearer.
type call struct {
	token  broker.Secret
	issued *broker.Issued // what its answer holds, if that is credentials
	ready  time.Time      // when they were
}

type callKey struct{}

// callOf returns the call that a context is of.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// bearer returns the token of a request: of its one Authorization header, and of
// nothing else.
func bearer(r *http.Request) (broker.Secret, *problem) {
	given := r.Header.Values("Authorization")
	if len(given) == 0 {
		return broker.Secret{}, unauthorized("Send a token, as in: Authorization: Bearer TOKEN", "")
	}
	scheme, word, _ := strings.Cut(given[0], " ")
	token := broker.NewSecret(word)
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return broker.Secret{}, unauthorized("Send one token and nothing else, as in: Authorization: Bearer TOKEN", "")
	}
	if _, err := broker.ParseToken(token); err != nil {
		return broker.Secret{}, unauthorized("That is not a token of Starback's. Look whether all of it was sent, or have one made.", "")
	}
	return token, nil
}

// oneKey says whether a request has one Idempotency-Key or none. One that is empty
// would protect from nothing, and of two nobody knows which counts.
func oneKey(r *http.Request) bool {
	given := r.Header.Values(keyHeader)
	return len(given) == 0 || len(given) == 1 && strings.TrimSpace(given[0]) != ""
}

// operation returns a handler of an operation with what all of them share: who
// calls, an answer that is sent whole or not at all, and the record of whether
// credentials have reached their caller.
func (s *server) operation(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, refused := bearer(r)
		if refused != nil {
			refused.write(w)
			return
		}
		if !oneKey(r) {
			wrongField(keyHeader).write(w)
			return
		}
		c := &call{token: token}
		held := &answer{ResponseWriter: w}
		ctx, stop := context.WithTimeout(context.WithValue(r.Context(), callKey{}, c), Patience)
		defer stop()
		if s.guarded(handler, held, r.WithContext(ctx)) {
			held.reset()
			newProblem(codeInternal, "Something went wrong here. Nothing was issued that you could use; ask again in a minute.").write(held)
			s.deliver(r, held, c, errPanic)
			return
		}
		s.deliver(r, held, c, nil)
	}
}

var errPanic = errors.New("a panic")

// guarded calls a handler, and says whether it panicked. What it panicked with
// may hold anything, so the log has where, and no more than that.
func (s *server) guarded(handler http.HandlerFunc, w http.ResponseWriter, r *http.Request) (panicked bool) {
	defer func() {
		p := recover()
		if panicked = p != nil; !panicked {
			return
		}
		what := fmt.Sprintf("%T", p)
		if err, ok := p.(runtime.Error); ok {
			what = err.Error()
		}
		s.Log.Error("a request brought its handler down", "operation", r.Pattern, "panic", what, "stack", string(debug.Stack()))
	}()
	handler(w, r)
	return false
}

// deliver sends the answer, and records whether credentials in it have reached
// whoever asked, as far as can be known: that the last of it has left this machine
// is not known. Whoever has hung up is sent none: what counts as not shown can be
// had anew, with another window, so it must not be had as well by somebody who
// has closed only their half of the connection.
func (s *server) deliver(r *http.Request, held *answer, c *call, err error) {
	if err == nil && c.issued != nil {
		if err = r.Context().Err(); err != nil {
			held.reset()
			hungUp(c.issued.Request.ID).write(held)
		}
	}
	if sent := held.send(); err == nil {
		err = sent
	}
	switch {
	case c.issued == nil:
	case err == nil:
		s.Broker.Delivered(*c.issued, s.Now().Sub(c.ready))
	default:
		id := c.issued.Request.ID
		s.Log.Warn("credentials did not reach their caller", "request_id", id, "err", err)
		ctx, stop := context.WithTimeout(context.WithoutCancel(r.Context()), recordPatience)
		defer stop()
		if err := s.Broker.Undelivered(ctx, *c.issued); err != nil {
			s.Log.Error("could not record that credentials did not reach their caller", "request_id", id, "err", err)
		}
	}
}

// recordPatience is how long it may take to record that nobody was there.
const recordPatience = 5 * time.Second

// An answer is held until it is complete. All of them are small.
type answer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// reset drops what is held.
func (a *answer) reset() {
	a.status = 0
	a.body.Reset()
}

// send sends it, and says whether it was taken.
func (a *answer) send() error {
	a.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	if a.status != 0 {
		a.ResponseWriter.WriteHeader(a.status)
	}
	if _, err := a.ResponseWriter.Write(a.body.Bytes()); err != nil {
		return err
	}
	err := http.NewResponseController(a.ResponseWriter).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
