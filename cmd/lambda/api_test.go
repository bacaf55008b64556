//go:build !nobroker

package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/internal/story"
)

// TestApplications tells of an application, whose token an administrator makes.
func TestApplications(t *testing.T) {
	t.Parallel()
	c := newCloudOf(t, story.Policy, time.Now)
	c.schedule()
	c.api = c.start("api")
	story.Applications(c.house(), c.administers)
}

// administers carries out what the command line would, on the table.
func (c *cloud) administers(args ...string) string {
	c.t.Helper()
	admin := broker.NewAdmin(c.db, time.Now, rand.Reader, broker.Author{Name: "test"})
	if strings.Join(args[:2], " ") == "token create" {
		_, token, err := admin.CreateToken(c.t.Context(), broker.TokenWish{User: "ci", AnyRole: true})
		if err != nil {
			c.t.Fatal(err)
		}
		return token.Reveal()
	}
	change, err := broker.ParseCommand(args)
	if err == nil {
		_, err = admin.Do(c.t.Context(), change)
	}
	if err != nil {
		c.t.Fatalf("%q: %v", args, err)
	}
	return ""
}

// TestBrokerThatDoesNotAnswer is told to applications, without saying that
// nothing was issued: that is not known.
func TestBrokerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.api = c.start("api")
	h := c.house()
	ask := func(status int) story.Answer {
		return h.Calls("starback_nonsense", status, http.MethodPost, "/v1/credentials", `{"role": "prod-readonly"}`)
	}
	ask(http.StatusUnauthorized)
	calls := len(c.via.lambda.Calls())
	c.broker.kill()
	if a := ask(http.StatusServiceUnavailable); a.Body.Code != "unavailable" || a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("it is answered %+v", a)
	}
	if n := len(c.via.lambda.Calls()) - calls; n != 1 {
		t.Errorf("the broker was asked %d times", n)
	}
	if strings.Contains(c.api.output(), "nonsense") || !strings.Contains(c.api.output(), "the broker did not answer an application") || !strings.Contains(c.api.output(), `"failed":"broker"`) {
		t.Errorf("the api says\n%s", c.api.output())
	}
}

// TestCallOf holds what the broker is told of a request, and that it is told
// nothing else.
func TestCallOf(t *testing.T) {
	e := events.APIGatewayV2HTTPRequest{
		RawPath: "/v1/credentials", RawQueryString: "token=x", IsBase64Encoded: true, Body: "e30=",
		Headers: map[string]string{"authorization": "Bearer x", "idempotency-key": "1", "content-type": "application/json", "cookie": "c", "x-forwarded-for": "1.2.3.4"},
	}
	e.RequestContext.HTTP.Method = http.MethodPost
	got, err := json.Marshal(callOf(e))
	if want := `{"method":"POST","path":"/v1/credentials","header":{"Authorization":"Bearer x","Content-Type":"application/json","Idempotency-Key":"1"},"body":"e30="}`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	e.IsBase64Encoded, e.Body = false, strings.Repeat("x", 1<<20)
	if n := len(callOf(e).Body); n != 16<<10+1 {
		t.Errorf("of a long body it is told %d bytes", n)
	}
}
