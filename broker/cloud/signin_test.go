package cloud_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

var httpClient = &http.Client{Timeout: 10 * time.Second}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) Do(r *http.Request) (*http.Response, error)        { return f(r) }
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSignInEndpoint(t *testing.T) {
	const arn = ":iam::111122223333:role/R"
	tests := []struct {
		name, arn, region, own string
		endpoint, home         string // both empty: refused
	}{
		{"no Region at all", "arn:aws" + arn, "", "", "https://signin.aws.amazon.com/federation", "https://console.aws.amazon.com/"},
		{"the default Region", "arn:aws" + arn, "us-east-1", "eu-west-1", "https://signin.aws.amazon.com/federation", "https://console.aws.amazon.com/console/home?region=us-east-1"},
		{"the role's Region", "arn:aws" + arn, "ap-southeast-2", "eu-west-1", "https://ap-southeast-2.signin.aws.amazon.com/federation", "https://console.aws.amazon.com/console/home?region=ap-southeast-2"},
		{"Starback's Region", "arn:aws" + arn, "", "eu-west-1", "https://eu-west-1.signin.aws.amazon.com/federation", "https://console.aws.amazon.com/console/home?region=eu-west-1"},
		{"China", "arn:aws-cn" + arn, "cn-north-1", "", "https://signin.amazonaws.cn/federation", "https://console.amazonaws.cn/console/home?region=cn-north-1"},
		{"China, regional", "arn:aws-cn" + arn, "cn-northwest-1", "", "https://cn-northwest-1.signin.amazonaws.cn/federation", "https://console.amazonaws.cn/console/home?region=cn-northwest-1"},
		{"GovCloud", "arn:aws-us-gov" + arn, "us-gov-west-1", "", "https://signin.amazonaws-us-gov.com/federation", "https://console.amazonaws-us-gov.com/console/home?region=us-gov-west-1"},
		{"GovCloud, regional", "arn:aws-us-gov" + arn, "us-gov-east-1", "", "https://us-gov-east-1.signin.amazonaws-us-gov.com/federation", "https://console.amazonaws-us-gov.com/console/home?region=us-gov-east-1"},
		{"Europe's own", "arn:aws-eusc" + arn, "eusc-de-east-1", "", "https://eusc-de-east-1.signin.amazonaws-eusc.eu/federation", "https://eusc-de-east-1.console.amazonaws-eusc.eu/console/home?region=eusc-de-east-1"},
		{"Europe's own, no Region at all", "arn:aws-eusc" + arn, "", "", "https://eusc-de-east-1.signin.amazonaws-eusc.eu/federation", "https://eusc-de-east-1.console.amazonaws-eusc.eu/console/home?region=eusc-de-east-1"},
		{"a partition that is not there", "arn:aws-nowhere" + arn, "", "", "", ""},
		{"a partition without a known console", "arn:aws-iso" + arn, "", "", "", ""},
		{"no ARN", "starback/R", "", "", "", ""},
	}
	for _, tt := range tests {
		c := newWorld(t).config()
		c.SignInURL, c.AWS.Region = "", tt.own
		endpoint, home, err := newMinter(t, c).SignInEndpoint(&policy.Role{ARN: tt.arn, Region: tt.region})
		if endpoint != tt.endpoint || home != tt.home || (err != nil) != (tt.endpoint == "") {
			t.Errorf("%s: %s, %s, %v", tt.name, endpoint, home, err)
		}
	}
}

// The link opens the console as the session.
func TestSignIn(t *testing.T) {
	tests := []struct {
		name        string
		chained     bool
		destination string
		want        string
	}{
		{"a user's base", false, "", "https://console.aws.amazon.com/console/home?region=eu-west-1"},
		{"a role's base", true, "", "https://console.aws.amazon.com/console/home?region=eu-west-1"},
		{"a page of the console", false, "https://console.aws.amazon.com/s3/home", "https://console.aws.amazon.com/s3/home"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.config()
			if tt.chained {
				c = w.asRole(t)
			}
			m := newMinter(t, c)
			a := assumption(readOnly)
			a.Role.Destination = tt.destination
			creds, err := m.AssumeRole(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			link, err := m.SignIn(t.Context(), creds, a.Role)
			if err != nil {
				t.Fatal(err)
			}
			at, err := url.Parse(link.Reveal())
			if err != nil {
				t.Fatal(err)
			}
			q := at.Query()
			if q.Get("Action") != "login" || q.Get("Issuer") != "https://slack.example/" || q.Get("Destination") != tt.want || len(q) != 4 {
				t.Errorf("Issuer %q, Destination %q, %d parameters", q.Get("Issuer"), q.Get("Destination"), len(q))
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link.Reveal(), nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := httpClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			page, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(page), "alice@01K") {
				t.Errorf("the console answers %d %s", res.StatusCode, page)
			}
		})
	}
}

// creds are credentials made up for an endpoint made up.
func creds(chained bool, lasts time.Duration) broker.Credentials {
	return broker.Credentials{
		AccessKeyID: "ASIAX", SecretKey: broker.NewSecret(sandbox.Marker + "Key"), SessionToken: broker.NewSecret(sandbox.Marker + "Token"),
		ExpiresAt: began.Add(lasts), Chained: chained,
	}
}

func TestSessionDuration(t *testing.T) {
	tests := []struct {
		name    string
		chained bool
		lasts   time.Duration
		want    string // "": absent
	}{
		{"as long as the credentials", false, 2*time.Hour + time.Millisecond, "7200"},
		{"at least 15 minutes", false, time.Minute, "900"},
		{"at most 12 hours", false, 24 * time.Hour, "43200"},
		{"AWS refuses one for chained credentials", true, time.Hour, ""},
	}
	for _, tt := range tests {
		var asked url.Values
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked = r.URL.Query()
			_, _ = rw.Write([]byte(`{"SigninToken":"token"}`))
		}))
		c := newWorld(t).config()
		c.SignInURL = server.URL
		_, err := newMinter(t, c).SignIn(t.Context(), creds(tt.chained, tt.lasts), &policy.Role{ARN: readOnly})
		server.Close()
		if err != nil || asked.Get("SessionDuration") != tt.want || asked.Has("SessionDuration") != (tt.want != "") {
			t.Errorf("%s: %q, %v", tt.name, asked.Get("SessionDuration"), err)
		}
		if asked.Get("Session") != `{"sessionId":"ASIAX","sessionKey":"SandboxSecretKey","sessionToken":"SandboxSecretToken"}` {
			t.Errorf("%s: Session %s", tt.name, asked.Get("Session"))
		}
	}
}

// Each way in which the endpoint fails: how often it is asked, whether a
// second answer helps, and that no error holds the URL or a secret.
func TestSignInFails(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(code) }
	}
	body := func(text string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(text)) }
	}
	tests := []struct {
		name  string
		fail  http.HandlerFunc
		asked int
	}{
		{"500", status(500), 2},
		{"503", status(503), 2},
		{"429", status(429), 2},
		{"400", status(400), 1},
		{"403", status(403), 1},
		{"a redirect", func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "/elsewhere?"+r.URL.RawQuery, http.StatusFound)
		}, 1},
		{"dropped", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 2},
		{"a web page", body("<html>SandboxSecret</html>"), 2},
		{"no token", body(`{}`), 2},
		{"an empty token", body(`{"SigninToken":""}`), 2},
		{"another type", body(`{"SigninToken":1}`), 2},
		{"more than 64 KiB", body(`{"SigninToken":"` + strings.Repeat("x", 64<<10) + `"}`), 2},
	}
	for _, tt := range tests {
		for _, heals := range []bool{false, true} {
			var asked atomic.Int32
			var elsewhere atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					elsewhere.Store(true)
				}
				if asked.Add(1) > 1 && heals {
					_, _ = rw.Write([]byte(`{"SigninToken":"token"}`))
					return
				}
				tt.fail(rw, r)
			}))
			c := newWorld(t).config()
			c.SignInURL = server.URL + "/federation"
			link, err := newMinter(t, c).SignIn(t.Context(), creds(false, time.Hour), &policy.Role{ARN: readOnly})
			server.Close()
			if n := int(asked.Load()); n != tt.asked || elsewhere.Load() {
				t.Errorf("%s: asked %d times, want %d; redirected: %v", tt.name, n, tt.asked, elsewhere.Load())
			}
			if heals && tt.asked == 2 {
				if err != nil || !strings.Contains(link.Reveal(), "SigninToken=token") {
					t.Errorf("%s, once: %v", tt.name, err)
				}
				continue
			}
			tellsNothing(t, tt.name, server.URL, link, err)
		}
	}
}

// tellsNothing checks an error of SignIn's and everything it wraps.
func tellsNothing(t *testing.T, name, host string, link broker.Secret, err error) {
	t.Helper()
	if code(err) != broker.FaultSignIn || !link.IsZero() {
		t.Errorf("%s: %v, err = %v", name, link, err)
	}
	var at *url.Error
	if errors.As(err, &at) {
		t.Errorf("%s: a *url.Error is in the chain, and holds the URL", name)
	}
	if text := err.Error(); strings.Contains(text, sandbox.Marker) || strings.Contains(text, host) || strings.Contains(text, "Session=") {
		t.Errorf("%s: the error tells: %s", name, text)
	}
}

func TestSignInUnreachable(t *testing.T) {
	refused := errors.New("connection refused")
	for name, endpoint := range map[string]string{"down": "http://signin.example/federation", "no URL": "http://[::1/federation"} {
		c := newWorld(t).config()
		c.SignInURL = endpoint
		asked := 0
		c.HTTP = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			asked++
			return nil, refused
		})}
		link, err := newMinter(t, c).SignIn(t.Context(), creds(false, time.Hour), &policy.Role{ARN: readOnly})
		tellsNothing(t, name, endpoint, link, err)
		if name == "down" && (asked != 2 || !errors.Is(err, refused)) {
			t.Errorf("%s: asked %d times, err = %v", name, asked, err)
		}
	}
}

// Somebody who has left is not tried for again.
func TestSignInCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newWorld(t).config()
	asked := 0
	c.HTTP = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		asked++
		cancel()
		return nil, r.Context().Err()
	})}
	link, err := newMinter(t, c).SignIn(ctx, creds(false, time.Hour), &policy.Role{ARN: readOnly})
	tellsNothing(t, "canceled", c.SignInURL, link, err)
	if asked != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("asked %d times, err = %v", asked, err)
	}
}

// No console is known for a role outside the partitions AWS documents.
func TestSignInUnknownPartition(t *testing.T) {
	m := newMinter(t, newWorld(t).config())
	link, err := m.SignIn(t.Context(), creds(false, time.Hour), &policy.Role{ARN: "arn:aws-iso:iam::111122223333:role/R"})
	if code(err) != broker.FaultSignIn || !link.IsZero() {
		t.Errorf("err = %v", err)
	}
}
