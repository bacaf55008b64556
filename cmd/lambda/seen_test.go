package main

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// request is the Request of a command of Alice's, as the table has it.
func (c *cloud) request(ack sandbox.Ack) broker.Request {
	c.t.Helper()
	form, err := url.ParseQuery(string(ack.Request.Body))
	if err != nil {
		c.t.Fatal(err)
	}
	ask := broker.Ask{Caller: broker.SlackID{Team: "T0TEST", User: "U0ALICE"}, Surface: broker.SurfaceCommand, Key: form.Get("trigger_id")}
	r, err := c.db.Request(c.t.Context(), ask.RequestID())
	if err != nil {
		c.t.Fatalf("reading request %s: %v\n%s", ask.RequestID(), err, c.output())
	}
	return r
}

// trail is the audit lines with a name, of all functions.
func (c *cloud) trail(event string) []story.AuditLine { return story.Trail(c.output(), event) }

// assumed counts the sessions that AWS was asked for so far. A call that the
// SDK makes again by itself, when the answer is broken off, asks for the same.
func (c *cloud) assumed() int {
	names := map[string]bool{}
	for _, call := range c.aws.Calls() {
		if call.Action == "AssumeRole" {
			names[call.SessionName] = true
		}
	}
	return len(names)
}

// released is the access key ids in messages that somebody sees.
func (c *cloud) released(who string) []string {
	var ids []string
	for _, m := range c.slack.Seen(who) {
		if found := accessKey.FindStringSubmatch(string(m.Blocks)); found != nil {
			ids = append(ids, found[1])
		}
	}
	return ids
}

var accessKey = regexp.MustCompile(`AWS_ACCESS_KEY_ID[^A]*(ASIA[A-Z0-9]+)`)

// waitForTrail waits until the trail has a line of that name.
func (c *cloud) waitForTrail(event string) {
	c.t.Helper()
	c.eventually("the trail has no "+event, func() bool { return len(c.trail(event)) > 0 })
}

// waitForOutput waits until a function has printed something: what it printed
// may arrive after what it did next.
func (c *cloud) waitForOutput(words string) {
	c.t.Helper()
	c.eventually("nothing printed says "+words, func() bool { return strings.Contains(c.output(), words) })
}

// eventually waits until something holds, for half a minute.
func (c *cloud) eventually(otherwise string, holds func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s\n%s", otherwise, c.output())
		}
	}
}
