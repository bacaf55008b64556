package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// A gone caller is there no more when it is answered.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, errors.New("the connection is gone") }

// A cut caller takes an answer that never leaves the machine.
type cut struct{ http.ResponseWriter }

func (cut) FlushError() error { return errors.New("the connection is gone") }

// Credentials that did not reach their caller are recorded so, and can be had
// anew; that they were there before is then ended.
func TestCallerWhoIsGone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		to   func(http.ResponseWriter) http.ResponseWriter
		gone bool // while AWS was asked
	}{
		{name: "when it is answered", to: func(w http.ResponseWriter) http.ResponseWriter { return gone{w} }},
		{name: "before the answer has left", to: func(w http.ResponseWriter) http.ResponseWriter { return cut{w} }},
		{name: "before anything is ready", to: func(w http.ResponseWriter) http.ResponseWriter { return w }, gone: true},
	} {
		for engine, open := range engines {
			t.Run(tt.name+" "+engine, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, open)
				ctx, hangUp := context.WithCancel(t.Context())
				defer hangUp()
				if tt.gone {
					w.mint.meanwhile = hangUp
				}
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, credentials, strings.NewReader(readonly))
				r.Header.Set("Authorization", "Bearer "+w.token)
				r.Header.Set("Idempotency-Key", "1")
				w.handler().ServeHTTP(tt.to(httptest.NewRecorder()), r)
				w.mint.meanwhile = nil

				again := w.call(http.MethodPost, credentials, readonly, "Idempotency-Key", "1")
				w.wants(again, http.StatusConflict, "already_issued", "")
				id := again.word("request_id")
				stored := w.request(id)
				if len(stored.Sessions) != 1 || stored.Sessions[0].UndeliveredAt.IsZero() || w.mint.made != 1 {
					t.Fatalf("stored is %+v", stored)
				}
				for more := true; more; {
					var err error
					if more, err = w.Due(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				w.advance(time.Minute)
				anew := w.call(http.MethodPost, "/v1/requests/"+id+"/credentials", "")
				w.wants(anew, http.StatusOK, "", "")
				stored = w.request(id)
				if s := stored.Sessions; len(s) != 2 || s[0].EndAsked.IsZero() || !s[1].UndeliveredAt.IsZero() || !stored.OpenedAt.Equal(w.Now()) {
					t.Errorf("stored is %+v", stored)
				}
				if log := w.log.String(); !strings.Contains(log, `"event":"session.undelivered"`) || !strings.Contains(log, "the application was gone") {
					t.Errorf("the log says\n%s", log)
				}
			})
		}
	}
}

// What brings a handler down is answered in a sentence, and the log has where,
// and nothing of what it was brought down by.
func TestPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	for _, p := range []any{"a value with SECRET", errors.New("SECRET")} {
		w.mint.meanwhile = func() { panic(p) }
		got := w.call(http.MethodPost, credentials, readonly)
		w.wants(got, http.StatusInternalServerError, "internal", "")
		if strings.Contains(got.text, "SECRET") {
			t.Error(got.text)
		}
		w.mint.meanwhile = nil
	}
	if log := w.log.String(); strings.Contains(log, "SECRET") || strings.Count(log, `brought its handler down","operation":"POST /v1/credentials"`) != 2 || !strings.Contains(log, "mint") {
		t.Errorf("the log says\n%s", log)
	}
	w.wants(w.call(http.MethodPost, credentials, readonly), http.StatusOK, "", "")
}

// Nothing that is logged, stored or told holds a token or what was issued: not
// by what succeeds, and not by what fails.
func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, open)
			first := w.call(http.MethodPost, credentials, readonly, "Idempotency-Key", "1")
			for _, member := range []string{"secret_access_key", "session_token", "console_url"} {
				if !strings.Contains(first.word(member), "SandboxSecret") {
					t.Fatalf("%s is not marked", member)
				}
			}
			w.call(http.MethodPost, "/v1/requests/"+first.word("request_id")+"/credentials", "")
			w.call(http.MethodPost, credentials+"?token="+w.token, readonly)
			w.call(http.MethodPost, credentials, `{"role": "readonly", "token": "`+w.token+`"}`)
			w.call(http.MethodPost, credentials, `{"role": "secluded"}`)
			w.callAs(w.token+w.token, http.MethodPost, credentials, readonly)
			w.call(http.MethodGet, "/v1/requests/"+w.token, "")
			w.mint.fault = &broker.Fault{Code: broker.FaultAWS, Err: errors.New("no")}
			w.call(http.MethodPost, credentials, readonly)
			if got := w.log.String(); !strings.Contains(got, first.word("access_key_id")) || !strings.Contains(got, `"token_id":"`+w.token[9:21]+`"`) {
				t.Error("the log does not tell of it: the search looks in the wrong place") // at the end of every test
			}
		})
	}
}
