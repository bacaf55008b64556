package bot

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

func TestCourierCheck(t *testing.T) {
	c := NewCourier([]string{"hooks.slack.com", "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "slack.example:8443"}, &http.Client{})
	for url, ok := range map[string]bool{
		"https://hooks.slack.com/commands/T1/2/abc": true,
		"https://hooks.slack.com/actions/T1/2/abc":  true,
		"https://slack.example:8443/actions/x":      true,
		"http://127.0.0.1:8080/commands/x":          true,
		"http://localhost:8080/commands/x":          true,
		"http://[::1]:8080/commands/x":              true,
		"https://127.0.0.1:8080/commands/x":         true,

		"":                                                false,
		"hooks.slack.com/commands/x":                      false,
		"//hooks.slack.com/commands/x":                    false,
		"http://hooks.slack.com/commands/x":               false, // not loopback
		"http://slack.example:8443/commands/x":            false,
		"ftp://hooks.slack.com/commands/x":                false,
		"file:///commands/x":                              false,
		"https:hooks.slack.com/commands/x":                false,
		"https://HOOKS.slack.com/commands/x":              false, // Slack writes it small
		"https://hooks.slack.com:443/commands/x":          false,
		"https://hooks.slack.com:8443/commands/x":         false,
		"https://slack.example/commands/x":                false,
		"https://hooks.slack.com.evil.example/commands/x": false,
		"https://evil.example/commands/x":                 false,
		"https://evil.example#hooks.slack.com/commands/x": false,
		"https://hooks.slack.com@evil.example/commands/x": false,
		"https://user@hooks.slack.com/commands/x":         false,
		"https://user:pw@hooks.slack.com/commands/x":      false,
		"https://hooks.slack.com\\@evil.example/commands": false,
		"https://hooks.slack.com/commands/x?to=evil":      false,
		"https://hooks.slack.com/commands/x#part":         false,
		"https://hooks.slack.com/commands/../services/x":  false,
		"https://hooks.slack.com/commands/%2e%2e/x":       false,
		"https://hooks.slack.com/commands/..%2fservices":  false,
		"https://hooks.slack.com/services/T1/B1/x":        false,
		"https://hooks.slack.com/Commands/x":              false,
		"https://hooks.slack.com/commands":                false,
		"https://hooks.slack.com/":                        false,
		"https://hooks.slack.com/commands/x\nHost: evil":  false,
		"https://hooks.slack.com/commands/%zz":            false,
		"http://127.0.0.1:8081/commands/x":                false,
		"http://127.0.0.2:8080/commands/x":                false,
		"http://[::1]/commands/x":                         false,
		"http://[::ffff:127.0.0.1]:8080/commands/x":       false,
		"http://2130706433:8080/commands/x":               false,
		"http://169.254.169.254/commands/x":               false,
	} {
		got, err := c.check(url)
		switch {
		case ok && (err != nil || got != url):
			t.Errorf("%q: %q, %v", url, got, err)
		case !ok && (got != "" || !errors.Is(err, errResponseURL)):
			t.Errorf("%q is allowed: %q, %v", url, got, err)
		}
	}
	if _, err := NewCourier(nil, &http.Client{}).check("https://hooks.slack.com/commands/x"); err == nil {
		t.Error("no hosts allow a host")
	}
}

// An answer is what a try gets: a status and a body, or else an error, or else
// nothing for ever.
type answer struct {
	status     int
	body       string
	retryAfter string
	err        error
}

// TestDeliverTries measures tries and pauses on a clock of its own.
func TestDeliverTries(t *testing.T) {
	ok := answer{status: 200, body: "ok"}
	down := answer{status: 500}
	dropped := answer{err: io.ErrUnexpectedEOF}
	hung := answer{}
	wait := func(after string) answer { return answer{status: 429, retryAfter: after} }
	for name, c := range map[string]struct {
		answers []answer // the last one again and again
		tries   int
		took    time.Duration
		ok      bool
	}{
		"ok":                    {[]answer{ok}, 1, 0, true},
		"ok in JSON":            {[]answer{{status: 200, body: `{"ok":true}`}}, 1, 0, true},
		"ok with a new line":    {[]answer{{status: 200, body: "ok\n"}}, 1, 0, true},
		"empty":                 {[]answer{{status: 200}}, 1, 0, true},
		"500 twice":             {[]answer{down, down, ok}, 3, 750 * time.Millisecond, true},
		"503":                   {[]answer{{status: 503}, ok}, 2, 250 * time.Millisecond, true},
		"500 for ever":          {[]answer{down}, deliverTries, 1750 * time.Millisecond, false},
		"dropped once":          {[]answer{dropped, ok}, 2, 250 * time.Millisecond, true},
		"dropped for ever":      {[]answer{dropped}, deliverTries, 1750 * time.Millisecond, false},
		"hung once":             {[]answer{hung, ok}, 2, deliverTimeout + 250*time.Millisecond, true},
		"hung for ever":         {[]answer{hung}, deliverTries, 4*deliverTimeout + 1750*time.Millisecond, false},
		"429":                   {[]answer{wait("2"), ok}, 2, 2 * time.Second, true},
		"429 without a time":    {[]answer{wait(""), ok}, 2, time.Second, true},
		"429 with nonsense":     {[]answer{wait("soon"), ok}, 2, time.Second, true},
		"429 in the past":       {[]answer{wait("-5"), ok}, 2, time.Second, true},
		"429 for too long":      {[]answer{wait("26")}, 1, 0, false},
		"429 for ever":          {[]answer{wait("99999999999")}, 1, 0, false},
		"429 beyond the budget": {[]answer{wait("20")}, 2, deliverBudget, false},
		"404":                   {[]answer{{status: 404, body: "used_url"}}, 1, 0, false},
		"400":                   {[]answer{{status: 400, body: "invalid_blocks"}}, 1, 0, false},
		"moved":                 {[]answer{{status: 308, body: "ok"}}, 1, 0, false},
		"a web page":            {[]answer{{status: 200, body: "<html>sign in to the proxy</html>"}}, 1, 0, false},
		"a no":                  {[]answer{{status: 200, body: `{"ok":false,"error":"expired_url"}`}}, 1, 0, false},
		"201":                   {[]answer{{status: 201, body: "ok"}}, 1, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					a := c.answers[min(tries, len(c.answers)-1)]
					tries++
					if body, err := io.ReadAll(r.Body); err != nil || string(body) != `{"text":"x"}` {
						t.Errorf("try %d sent %q, %v", tries, body, err)
					}
					return a.respond(r)
				})}
				began := time.Now()
				err := NewCourier([]string{"hooks.slack.com"}, client).
					deliver(t.Context(), broker.NewSecret("https://hooks.slack.com/"+secretPath), []byte(`{"text":"x"}`))
				if tries != c.tries || time.Since(began) != c.took || (err == nil) != c.ok {
					t.Errorf("%d tries in %s, %v; want %d in %s", tries, time.Since(began), err, c.tries, c.took)
				}
				if err != nil && strings.Contains(err.Error(), "CAPABILITY") {
					t.Errorf("the error holds the URL: %v", err)
				}
			})
		})
	}
}

func (a answer) respond(r *http.Request) (*http.Response, error) {
	switch {
	case a.err != nil:
		return nil, a.err
	case a.status == 0:
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	if a.retryAfter != "" {
		w.Header().Set("Retry-After", a.retryAfter)
	}
	w.Header().Set("Location", "https://hooks.slack.com/commands/elsewhere")
	w.WriteHeader(a.status)
	w.WriteString(a.body)
	return w.Result(), nil
}

// TestDeliverToSlack uses response URLs as Slack gives them out: five times,
// for thirty minutes.
func TestDeliverToSlack(t *testing.T) {
	now := noon
	workspace := sandbox.NewSlack(sandbox.SlackConfig{Now: func() time.Time { return now }})
	slackServer := httptest.NewServer(workspace)
	defer slackServer.Close()
	workspace.SetURL(slackServer.URL)
	workspace.AddUser(sandbox.SlackUser{ID: "U1", Name: "alice"})
	workspace.AddChannel(sandbox.SlackChannel{ID: "C1", Name: "general", Members: []string{"U1"}})
	var given broker.Secret
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		given = broker.NewSecret(r.PostFormValue("response_url"))
	}))
	defer app.Close()
	workspace.SetApp(app.URL)

	courier := NewCourier([]string{strings.TrimPrefix(slackServer.URL, "http://")}, slackServer.Client())
	body := answered(t, helpMessage(""), false)
	command := func() {
		if _, err := workspace.Command(t.Context(), "U1", "C1", "help"); err != nil {
			t.Fatal(err)
		}
	}
	command()
	for use := 1; use <= 6; use++ {
		err := courier.deliver(t.Context(), given, body)
		if (err == nil) != (use <= 5) {
			t.Errorf("use %d: %v", use, err)
		}
		if err != nil && strings.Contains(err.Error(), sandbox.Marker) {
			t.Errorf("the error holds the URL: %v", err)
		}
	}
	if seen := len(workspace.Seen("U1")); seen != 5 {
		t.Errorf("%d messages arrived", seen)
	}
	command()
	now = now.Add(30*time.Minute - time.Second)
	if err := courier.deliver(t.Context(), given, body); err != nil {
		t.Errorf("after 29:59: %v", err)
	}
	now = now.Add(time.Second)
	if err := courier.deliver(t.Context(), given, body); err == nil {
		t.Error("delivered after 30 minutes")
	}
}

// TestDeliverFollowsNoRedirect has an allowed host point to another.
func TestDeliverFollowsNoRedirect(t *testing.T) {
	followed := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		allowed := httptest.NewServer(http.RedirectHandler(other.URL+"/commands/x", status))
		courier := NewCourier([]string{strings.TrimPrefix(allowed.URL, "http://")}, allowed.Client())
		if err := courier.deliver(t.Context(), broker.NewSecret(allowed.URL+"/commands/x"), []byte("{}")); err == nil || followed {
			t.Errorf("%d: %v; followed: %v", status, err, followed)
		}
		allowed.Close()
	}
}

// TestDeliverGivesUp holds that no try follows once the caller is gone.
func TestDeliverGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer stop()
		tries := 0
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			tries++
			return answer{status: 500}.respond(r)
		})}
		err := NewCourier([]string{"hooks.slack.com"}, client).deliver(ctx, broker.NewSecret("https://hooks.slack.com/"+secretPath), nil)
		if err == nil || tries != 2 {
			t.Errorf("%d tries, %v", tries, err)
		}
	})
}
