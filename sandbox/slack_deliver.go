package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The names that deliveries give the workspace and its organisation.
const (
	slackDomain     = "sandbox"
	slackEnterprise = "Sandbox Org"
)

// Ack is the app's answer to a delivery.
type Ack struct {
	Request Delivery
	Status  int // HTTP status; 200 over Socket Mode; 0 when no answer came in time
	Header  http.Header
	Body    []byte // over Socket Mode, the payload of the acknowledgement
	// Problem is empty when the app answered well; else what Slack tells the
	// user: "operation_timeout" or "dispatch_failed".
	Problem string
}

// Delivery is one request to the app, as it was sent.
type Delivery struct {
	URL    string      // empty over Socket Mode
	Header http.Header // the signature's among others
	Body   []byte      // over Socket Mode, the envelope
}

// slackClient sends deliveries: it follows no redirect and keeps no connection.
var slackClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Sign returns the headers that Slack signs a body with: a timestamp in whole
// seconds, and v0= with the HMAC-SHA256 of "v0:timestamp:body" in hexadecimal.
func Sign(secret string, at time.Time, body []byte) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	h := http.Header{}
	h.Set("X-Slack-Request-Timestamp", stamp)
	h.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return h
}

// Send posts the delivery again, byte for byte, as someone who recorded it
// could. What the app answers is shown to nobody. It fails if the delivery went
// over Socket Mode, or gets no answer before ctx ends.
func (d Delivery) Send(ctx context.Context) (Ack, error) {
	if d.URL == "" {
		return Ack{}, errors.New("sandbox: a Socket Mode delivery cannot be sent again")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		return Ack{}, fmt.Errorf("sandbox: delivery: %w", err)
	}
	req.Header = d.Header.Clone()
	resp, err := slackClient.Do(req)
	if err != nil {
		return Ack{}, fmt.Errorf("sandbox: delivery: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, slackMaxBody))
	if err != nil {
		return Ack{}, fmt.Errorf("sandbox: answer to delivery: %w", err)
	}
	return Ack{Request: d, Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// slackDelivery is something to deliver, over either way.
type slackDelivery struct {
	path     string // over HTTP
	kind     string // of content, over HTTP
	body     []byte // over HTTP
	envelope string // its type, over Socket Mode; empty for HTTP only
	payload  json.RawMessage
	header   http.Header // more headers over HTTP; may be nil
}

// deliver sends to the app and waits for its answer, no longer than Slack does.
// It fails if there is nowhere to send to, or ctx ends; an app that does not
// answer well is told in Ack.Problem.
func (s *Slack) deliver(ctx context.Context, d slackDelivery) (Ack, error) {
	s.mu.Lock()
	var socket *slackSocket
	if n := len(s.sockets); n > 0 && d.envelope != "" {
		socket = s.sockets[n-1]
	}
	base, now, id := s.appURL, s.now(), s.next("env")
	s.mu.Unlock()

	limited, cancel := context.WithTimeout(ctx, s.ackTimeout)
	defer cancel()
	var ack Ack
	var err error
	switch {
	case socket != nil:
		ack, err = socket.send(limited, id, d)
	case base != "":
		h := Sign(s.signing, now, d.body)
		h.Set("Content-Type", d.kind)
		h.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
		for k, v := range d.header {
			h[k] = v
		}
		sent := Delivery{URL: base + d.path, Header: h, Body: d.body}
		ack, err = sent.Send(limited)
		ack.Request = sent
	default:
		return Ack{}, errors.New("sandbox: no app: call SetApp, or connect over Socket Mode")
	}
	switch {
	case ctx.Err() != nil:
		return ack, fmt.Errorf("sandbox: delivery: %w", ctx.Err())
	case limited.Err() != nil && err != nil:
		ack.Problem = "operation_timeout"
	case err != nil || ack.Status < 200 || ack.Status > 299:
		ack.Problem = "dispatch_failed"
	}
	return ack, nil
}

// Event delivers an event of the Events API, wrapped in an event_callback. The
// event encodes to a JSON object, whose type is set to eventType. An app that
// does not answer 2xx in time is sent it up to three more times, with
// X-Slack-Retry-Num and X-Slack-Retry-Reason, unless it answers with
// X-Slack-No-Retry. Slack waits a minute and five before the later two; here
// they follow at once. It returns every attempt's Ack.
func (s *Slack) Event(ctx context.Context, eventType string, event any) ([]Ack, error) {
	encoded, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("sandbox: event: %w", err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(encoded, &fields); err != nil {
		return nil, fmt.Errorf("sandbox: event is not an object: %w", err)
	}
	fields["type"] = eventType

	s.mu.Lock()
	wrapper := map[string]any{
		"token": s.verification, "team_id": s.teamID, "api_app_id": s.appID, "type": "event_callback",
		"event": fields, "event_id": s.next("Ev"), "event_time": s.now().Unix(),
		"authorizations": []any{map[string]any{"team_id": s.teamID, "enterprise_id": slackOrNull(s.enterpriseID),
			"user_id": s.botUser, "is_bot": true, "is_enterprise_install": false}},
	}
	if s.enterpriseID != "" {
		wrapper["enterprise_id"] = s.enterpriseID
	}
	s.mu.Unlock()

	d := slackDelivery{path: "/slack/events", kind: "application/json", envelope: "events_api"}
	d.body = slackJSON(wrapper)
	d.payload = d.body
	var acks []Ack
	for retry := range 4 {
		if retry > 0 {
			d.header = http.Header{}
			d.header.Set("X-Slack-Retry-Num", strconv.Itoa(retry))
			d.header.Set("X-Slack-Retry-Reason", acks[retry-1].retryReason())
		}
		ack, err := s.deliver(ctx, d)
		if err != nil {
			return acks, err
		}
		acks = append(acks, ack)
		if ack.Problem == "" || ack.Header.Get("X-Slack-No-Retry") == "1" {
			break
		}
	}
	return acks, nil
}

// retryReason is why Slack says it sends an event again.
func (a Ack) retryReason() string {
	switch {
	case a.Problem == "operation_timeout":
		return "http_timeout"
	case a.Status == 0:
		return "connection_failed"
	default:
		return "http_error"
	}
}

// UserChanged delivers a user_change event about a user as they are now.
func (s *Slack) UserChanged(ctx context.Context, userID string) ([]Ack, error) {
	s.mu.Lock()
	u, ok := s.users[userID]
	var event map[string]any
	if ok {
		event = map[string]any{"user": s.userObject(u), "event_ts": s.timestamp()}
	}
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("sandbox: no user %s", userID)
	}
	return s.Event(ctx, "user_change", event)
}

// URLVerification does the handshake that Slack does when an events URL is
// set. It fails unless the app answers 200 with the challenge, as text or as a
// JSON object's "challenge". Over Socket Mode there is no such handshake.
func (s *Slack) URLVerification(ctx context.Context) (Ack, error) {
	s.mu.Lock()
	challenge := s.secret()
	s.mu.Unlock()
	body := slackJSON(map[string]string{"token": s.verification, "challenge": challenge, "type": "url_verification"})
	ack, err := s.deliver(ctx, slackDelivery{path: "/slack/events", kind: "application/json", body: body})
	if err != nil {
		return ack, err
	}
	var answer struct{ Challenge string }
	if json.Unmarshal(ack.Body, &answer) != nil {
		answer.Challenge = strings.TrimSpace(string(ack.Body))
	}
	if ack.Status != http.StatusOK || answer.Challenge != challenge {
		return ack, fmt.Errorf("sandbox: the app did not echo the challenge: status %d", ack.Status)
	}
	return ack, nil
}

// slackOrNull is a string, or JSON's null for an empty one.
func slackOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
