//go:build !nobroker

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/starback/starback/api"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/cmd/internal/config"
)

// brokerPatience is how long the broker may take over what an application asks:
// longer than it gives itself, and less than API Gateway waits.
const brokerPatience = api.Patience + 3*time.Second

// An apiFunction hands what an application asks to the broker, with its token,
// and the broker's answer back. It knows nothing, and may do nothing else.
type apiFunction struct {
	client  *lambda.Client
	broker  string // the name of the broker's function
	log     *slog.Logger
	journal *broker.Journal // of metrics alone
}

func newAPI(ctx context.Context, getenv func(string) string, out io.Writer) (*apiFunction, error) {
	name := getenv("STARBACK_BROKER_FUNCTION")
	if name == "" {
		return nil, errors.New("STARBACK_BROKER_FUNCTION: not set")
	}
	cfg, err := config.LoadAWS(ctx)
	if err != nil {
		return nil, err
	}
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTimeout(brokerPatience)
	// One that was not answered may have been carried out: whoever asked can send
	// the same again.
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return &apiFunction{
		client: lambda.NewFromConfig(cfg), broker: name, log: slog.New(slog.NewJSONHandler(out, nil)), journal: broker.NewJournal(out),
	}, nil
}

// A brokerEvent is what the broker's function is called with: a batch of Jobs, or
// what an application asks.
type brokerEvent struct {
	events.SQSEvent
	Application *applicationCall `json:"application,omitempty"`
}

// An applicationCall is a request to the interface for applications. It holds the
// bearer's token.
type applicationCall struct {
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Header map[string]string `json:"header"`
	Body   []byte            `json:"body,omitempty"`
}

// An applicationAnswer is what is answered. It may hold credentials.
type applicationAnswer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// passed are the headers that mean something to the interface.
var passed = map[string]string{"authorization": "Authorization", "content-type": "Content-Type", "idempotency-key": "Idempotency-Key"}

// Invoke answers one HTTP API event, in payload format 2.0.
func (f *apiFunction) Invoke(ctx context.Context, e events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
	answer, err := f.ask(ctx, callOf(e))
	if err != nil {
		f.log.Error("the broker did not answer an application", "err", err)
		f.journal.Metrics(time.Now(), "", broker.Metrics{Failures: 1, Failed: "broker"})
		w := newWritten()
		api.Unanswered(w)
		answer = w.answer()
	}
	out := events.APIGatewayV2HTTPResponse{StatusCode: answer.Status, Body: string(answer.Body), Headers: map[string]string{}}
	for name := range answer.Header {
		out.Headers[name] = answer.Header.Get(name)
	}
	return out, nil
}

// callOf is what an event asks. Of a body that is too large there is as much as
// it takes to say so.
func callOf(e events.APIGatewayV2HTTPRequest) applicationCall {
	c := applicationCall{Method: e.RequestContext.HTTP.Method, Path: e.RawPath, Header: map[string]string{}, Body: []byte(e.Body)}
	if e.IsBase64Encoded {
		// What is not in base64 is no JSON either, and is refused for that.
		if decoded, err := base64.StdEncoding.DecodeString(e.Body); err == nil {
			c.Body = decoded
		}
	}
	c.Body = c.Body[:min(len(c.Body), api.MaxBody+1)]
	for name, value := range e.Headers {
		if known, ok := passed[name]; ok { // API Gateway writes them in small letters
			c.Header[known] = value
		}
	}
	return c
}

// ask has the broker answer a call.
func (f *apiFunction) ask(ctx context.Context, c applicationCall) (applicationAnswer, error) {
	payload, err := json.Marshal(brokerEvent{Application: &c})
	if err != nil {
		return applicationAnswer{}, err
	}
	out, err := f.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.broker, Payload: payload})
	if err != nil {
		return applicationAnswer{}, err
	}
	if out.FunctionError != nil { // the payload says more, and may hold anything
		return applicationAnswer{}, fmt.Errorf("the broker failed: %s", *out.FunctionError)
	}
	var answer applicationAnswer
	if err := json.Unmarshal(out.Payload, &answer); err != nil || answer.Status == 0 {
		return applicationAnswer{}, errors.New("the broker's answer cannot be read")
	}
	return answer, nil
}

// answer answers an application, in the broker's function.
func (b *brokerFunction) answer(ctx context.Context, c applicationCall) (applicationAnswer, error) {
	ctx, stop := withMargin(ctx)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, c.Method, c.Path, bytes.NewReader(c.Body))
	if err != nil { // no such method or address
		if r, err = http.NewRequestWithContext(ctx, http.MethodGet, api.Prefix, nil); err != nil {
			return applicationAnswer{}, err
		}
	}
	for name, value := range c.Header {
		r.Header.Set(name, value)
	}
	w := newWritten()
	b.applications().ServeHTTP(w, r)
	if w.status == http.StatusAccepted { // approvers are asked at once
		b.passOn(ctx)
	}
	return w.answer(), nil
}

// A written is an answer in memory.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newWritten() *written { return &written{header: http.Header{}, status: http.StatusOK} }

// Header implements http.ResponseWriter.
func (w *written) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *written) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *written) Write(b []byte) (int, error) { return w.body.Write(b) }

func (w *written) answer() applicationAnswer {
	return applicationAnswer{Status: w.status, Header: w.header, Body: w.body.Bytes()}
}
