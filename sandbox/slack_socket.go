package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// slackMaxAck is the size in bytes at which Slack drops an acknowledgement
	// without a word.
	slackMaxAck = 20_000
	// slackPingEvery is how often a Socket Mode connection is pinged.
	slackPingEvery = 10 * time.Second
	// slackWriteWithin bounds one write to a Socket Mode connection.
	slackWriteWithin = 10 * time.Second
)

var errSlackSocketClosed = errors.New("sandbox: socket closed")

// slackSocket is one Socket Mode connection.
type slackSocket struct {
	conn   *websocket.Conn
	closed chan struct{} // closed when the reader ends

	write sync.Mutex // serialises data frames
	mu    sync.Mutex
	acks  map[string]chan json.RawMessage // by envelope id
}

// slackSocketAck is what an app sends back for an envelope.
type slackSocketAck struct {
	EnvelopeID string          `json:"envelope_id"`
	Payload    json.RawMessage `json:"payload"`
}

// appsConnectionsOpen hands out the address of a Socket Mode connection, for
// one use. The caller holds s.mu.
func (s *Slack) appsConnectionsOpen(r *http.Request, _ slackArgs) slackAnswer {
	ticket := s.secret()
	s.tickets[ticket] = true
	return slackOK(map[string]any{"url": "ws://" + r.Host + "/link/" + ticket})
}

// serveSocket upgrades a request that holds a ticket, greets the app, and
// serves the connection until it ends.
func (s *Slack) serveSocket(w http.ResponseWriter, r *http.Request) {
	ticket := strings.TrimPrefix(r.URL.Path, "/link/")
	s.mu.Lock()
	valid := s.tickets[ticket]
	delete(s.tickets, ticket)
	s.mu.Unlock()
	if !valid {
		http.Error(w, "unknown or used ticket", http.StatusNotFound)
		return
	}
	// Clients of Slack send whatever Origin they like: the ticket is the proof.
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer conn.Close()
	k := &slackSocket{conn: conn, closed: make(chan struct{}), acks: map[string]chan json.RawMessage{}}
	s.mu.Lock()
	hello := map[string]any{"type": "hello", "num_connections": len(s.sockets) + 1,
		"connection_info": map[string]any{"app_id": s.appID}}
	s.mu.Unlock()
	if k.frame(slackJSON(hello)) != nil {
		return
	}
	s.mu.Lock()
	s.sockets = append(s.sockets, k)
	s.mu.Unlock()

	var pinger sync.WaitGroup
	pinger.Go(k.ping)
	k.read()
	s.mu.Lock()
	for i, o := range s.sockets {
		if o == k {
			s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	close(k.closed)
	pinger.Wait()
}

// Connected is how many Socket Mode connections the app has open.
func (s *Slack) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// Disconnect tells every Socket Mode connection to reconnect and closes it, as
// Slack does from time to time.
func (s *Slack) Disconnect() {
	s.mu.Lock()
	sockets := append([]*slackSocket(nil), s.sockets...)
	s.mu.Unlock()
	for _, k := range sockets {
		// Whether or not the app hears of it, the connection ends here.
		_ = k.frame(slackJSON(map[string]any{"type": "disconnect", "reason": "refresh_requested"}))
		k.conn.Close()
	}
}

// read takes acknowledgements until the connection ends.
func (k *slackSocket) read() {
	for {
		_, frame, err := k.conn.ReadMessage()
		if err != nil {
			return
		}
		var ack slackSocketAck
		if len(frame) >= slackMaxAck || json.Unmarshal(frame, &ack) != nil {
			continue
		}
		k.mu.Lock()
		waiting := k.acks[ack.EnvelopeID]
		delete(k.acks, ack.EnvelopeID)
		k.mu.Unlock()
		if waiting != nil {
			waiting <- ack.Payload
		}
	}
}

// ping keeps the connection alive until it ends. Its first ping is at once, so
// that a client that counts from it has one.
func (k *slackSocket) ping() {
	ticker := time.NewTicker(slackPingEvery)
	defer ticker.Stop()
	for {
		// A ping that cannot be sent ends the connection, which read reports.
		_ = k.conn.WriteControl(websocket.PingMessage, nil, time.Time{})
		select {
		case <-ticker.C:
		case <-k.closed:
			return
		}
	}
}

// send delivers an envelope and waits for its acknowledgement.
func (k *slackSocket) send(ctx context.Context, id string, d slackDelivery) (Ack, error) {
	envelope := slackJSON(map[string]any{"envelope_id": id, "type": d.envelope, "payload": d.payload,
		"accepts_response_payload": d.envelope != "events_api"})
	ack := Ack{Request: Delivery{Body: envelope}}
	answer := make(chan json.RawMessage, 1)
	k.mu.Lock()
	k.acks[id] = answer
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.acks, id)
		k.mu.Unlock()
	}()
	if err := k.frame(envelope); err != nil {
		return ack, err
	}
	select {
	case payload := <-answer:
		ack.Status = http.StatusOK
		if string(payload) != "null" {
			ack.Body = payload
		}
		return ack, nil
	case <-k.closed:
		return ack, errSlackSocketClosed
	case <-ctx.Done():
		return ack, ctx.Err()
	}
}

// frame writes one text frame, alone.
func (k *slackSocket) frame(data []byte) error {
	k.write.Lock()
	defer k.write.Unlock()
	timer := time.AfterFunc(slackWriteWithin, func() { k.conn.Close() })
	defer timer.Stop()
	return k.conn.WriteMessage(websocket.TextMessage, data)
}
