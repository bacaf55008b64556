package faultproxy

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
)

// A Fault answers a call, well or badly. r's context ends when the caller gives
// up.
type Fault func(w http.ResponseWriter, r *http.Request, ask Ask)

// An Ask makes the call to the neighbour and returns the whole answer. An end of
// the context ends it.
type Ask func(context.Context) (*Reply, error)

// hangUp closes the caller's connection as it is, and logs nothing.
func hangUp() { panic(http.ErrAbortHandler) }

// Pass lets the call go its way.
func Pass(w http.ResponseWriter, r *http.Request, ask Ask) {
	reply, err := ask(r.Context())
	if err != nil {
		hangUp()
	}
	reply.write(w, reply.Body)
}

// write sends the answer, with body in place of its own. The length that it
// announces is that of its own.
func (reply *Reply) write(w http.ResponseWriter, body []byte) {
	for name, values := range reply.Header {
		w.Header()[name] = values
	}
	w.Header().Del("Connection")
	w.Header().Set("Content-Length", strconv.Itoa(len(reply.Body)))
	w.WriteHeader(reply.Status)
	_, _ = w.Write(body) // a caller that has gone away has nobody to tell
}

// Drop hangs up without an answer. The neighbour hears nothing of the call.
func Drop(http.ResponseWriter, *http.Request, Ask) { hangUp() }

// Lose lets the neighbour do the work, and hangs up: the caller cannot know.
func Lose(_ http.ResponseWriter, r *http.Request, ask Ask) {
	_, _ = ask(context.WithoutCancel(r.Context())) // whatever came of it is lost
	hangUp()
}

// Half lets the neighbour do the work and sends the whole header of its answer,
// but only half of the body.
func Half(w http.ResponseWriter, r *http.Request, ask Ask) {
	reply, err := ask(r.Context())
	if err != nil || len(reply.Body) == 0 {
		hangUp()
	}
	reply.write(w, reply.Body[:len(reply.Body)/2])
	_ = http.NewResponseController(w).Flush() // as above
	hangUp()
}

// Garbage answers 200 with a web page, as a captive network does. The neighbour
// hears nothing of the call.
func Garbage(w http.ResponseWriter, r *http.Request, ask Ask) {
	Answer(http.StatusOK, "text/html; charset=utf-8", "<html><body>Accept our terms to go online.</body></html>\n")(w, r, ask)
}

// Answer answers in the neighbour's place.
func Answer(status int, contentType, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ Ask) {
		reply := &Reply{Status: status, Header: http.Header{"Content-Type": {contentType}}, Body: []byte(body)}
		reply.write(w, reply.Body)
	}
}

// Refuse answers in the neighbour's place with an error, in the words of AWS's
// JSON protocol, which DynamoDB and SSM speak.
func Refuse(status int, code string) Fault {
	body, err := json.Marshal(map[string]string{"__type": code, "message": "a fault"})
	if err != nil {
		panic(err) // strings always encode
	}
	return Answer(status, "application/x-amz-json-1.0", string(body))
}

// A Gate holds calls until it is opened.
type Gate struct {
	reached, opened     chan struct{}
	reachOnce, openOnce sync.Once
}

// NewGate returns a Gate that is closed.
func NewGate() *Gate { return &Gate{reached: make(chan struct{}), opened: make(chan struct{})} }

// Reached is closed as soon as the first call is held.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Open lets all calls go on, held and to come. It may be called again.
func (g *Gate) Open() { g.openOnce.Do(func() { close(g.opened) }) }

// hold waits until g opens. It hangs up if the caller gives up before.
func (g *Gate) hold(caller context.Context) {
	g.reachOnce.Do(func() { close(g.reached) })
	select {
	case <-g.opened:
	case <-caller.Done():
		hangUp()
	}
}

// Stall holds the call before the neighbour hears of it, which it never does if
// the caller gives up.
func Stall(g *Gate) Fault {
	return func(w http.ResponseWriter, r *http.Request, ask Ask) {
		g.hold(r.Context())
		Pass(w, r, ask)
	}
}

// Late lets the neighbour do the work at once, whatever the caller does, and
// holds the answer.
func Late(g *Gate) Fault {
	return func(w http.ResponseWriter, r *http.Request, ask Ask) {
		reply, err := ask(context.WithoutCancel(r.Context()))
		if err != nil {
			hangUp()
		}
		g.hold(r.Context())
		reply.write(w, reply.Body)
	}
}
