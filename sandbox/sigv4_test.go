package sandbox_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const sigv4WhoAmI = "Action=GetCallerIdentity&Version=2011-06-15"

// sigv4Call is a call of STS signed by hand. A test changes how it is signed,
// or the request once it is.
type sigv4Call struct {
	form              string
	id, secret, token string
	service, region   string
	at                time.Time
	query             string
	header            http.Header           // signed along
	tamper            func(r *http.Request) // after signing
}

func (c sigv4Call) send(t *testing.T, w *awsWorld) (status int, code, blame string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/"+c.query, strings.NewReader(c.form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	for name, values := range c.header {
		r.Header[name] = values
	}
	sum := sha256.Sum256([]byte(c.form))
	who := aws.Credentials{AccessKeyID: c.id, SecretAccessKey: c.secret, SessionToken: c.token}
	if err := v4.NewSigner().SignHTTP(t.Context(), who, r, hex.EncodeToString(sum[:]), c.service, c.region, c.at); err != nil {
		t.Fatal(err)
	}
	if c.tamper != nil {
		c.tamper(r)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Type string `xml:"Error>Type"`
		Code string `xml:"Error>Code"`
	}
	if err := xml.NewDecoder(bytes.NewReader(b)).Decode(&e); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return answer.StatusCode, e.Code, e.Type
}

func TestSigV4(t *testing.T) {
	w := newAWSWorld(t)
	role := w.baseCredentials(t)
	authorization := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			old := r.Header.Get("Authorization")
			if !strings.Contains(old, from) {
				t.Fatalf("no %q in %s", from, old)
			}
			r.Header.Set("Authorization", strings.Replace(old, from, to, 1))
		}
	}
	const (
		mismatch = "SignatureDoesNotMatch"
		unknown  = "InvalidClientTokenId"
	)
	tests := []struct {
		name   string
		change func(*sigv4Call)
		status int
		code   string
	}{
		{"as it should be", func(*sigv4Call) {}, 200, ""},
		{"any Region", func(c *sigv4Call) { c.region = "mars-north-1" }, 200, ""},
		{"a role's session", func(c *sigv4Call) {
			c.id, c.secret, c.token = role.AccessKeyID, role.SecretAccessKey, role.SessionToken
		}, 200, ""},
		{"a query", func(c *sigv4Call) { c.query = "?b=2&a=x%20y&a=%2B&c" }, 200, ""},
		{"a query in another order", func(c *sigv4Call) {
			c.query, c.tamper = "?a=1&a=2&b=3", func(r *http.Request) { r.URL.RawQuery = "b=3&a=2&a=1" }
		}, 200, ""},
		{"a header with spaces in it", func(c *sigv4Call) { c.header = http.Header{"X-Note": {"  two   spaces "}} }, 200, ""},
		{"a header twice", func(c *sigv4Call) { c.header = http.Header{"X-Note": {"one", "two"}} }, 200, ""},
		{"a header nobody signed", func(c *sigv4Call) { c.tamper = func(r *http.Request) { r.Header.Set("X-Note", "new") } }, 200, ""},

		{"no signature", func(c *sigv4Call) { c.tamper = func(r *http.Request) { r.Header.Del("Authorization") } }, 403, "MissingAuthenticationToken"},
		{"a bearer token", func(c *sigv4Call) {
			c.tamper = func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }
		}, 400, "IncompleteSignature"},
		{"no Signature", func(c *sigv4Call) { c.tamper = authorization("Signature=", "Sign=") }, 400, "IncompleteSignature"},
		{"no SignedHeaders", func(c *sigv4Call) { c.tamper = authorization("SignedHeaders=", "Signed=") }, 400, "IncompleteSignature"},
		{"a scope cut short", func(c *sigv4Call) { c.tamper = authorization("/aws4_request", "") }, 400, "IncompleteSignature"},

		{"unknown key", func(c *sigv4Call) { c.id = "AKIAAAAAAAAAAAAAAAAA" }, 403, unknown},
		{"a session without its token", func(c *sigv4Call) { c.id, c.secret = role.AccessKeyID, role.SecretAccessKey }, 403, unknown},
		{"a user with a token", func(c *sigv4Call) { c.token = role.SessionToken }, 403, unknown},

		{"wrong secret", func(c *sigv4Call) { c.secret += "x" }, 403, mismatch},
		{"changed body", func(c *sigv4Call) {
			c.tamper = func(r *http.Request) {
				r.Body = io.NopCloser(strings.NewReader(strings.Replace(sigv4WhoAmI, "2011", "2012", 1)))
			}
		}, 403, mismatch},
		{"changed header", func(c *sigv4Call) {
			c.tamper = func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
		}, 403, mismatch},
		{"changed query", func(c *sigv4Call) { c.tamper = func(r *http.Request) { r.URL.RawQuery = "a=1" } }, 403, mismatch},
		{"changed Region", func(c *sigv4Call) { c.tamper = authorization("eu-west-1", "eu-west-2") }, 403, mismatch},
		{"changed date of the scope", func(c *sigv4Call) {
			c.tamper = authorization(w.now().UTC().Format("20060102"), "20200101")
		}, 403, mismatch},
		{"another service's signature", func(c *sigv4Call) { c.service = "ssm" }, 403, mismatch},
		{"x-amz header nobody signed", func(c *sigv4Call) {
			c.tamper = func(r *http.Request) { r.Header.Set("X-Amz-Note", "new") }
		}, 403, mismatch},
		{"host not signed", func(c *sigv4Call) { c.tamper = authorization(";host;", ";") }, 403, mismatch},
		{"date that is none", func(c *sigv4Call) { c.tamper = func(r *http.Request) { r.Header.Set("X-Amz-Date", "today") } }, 403, mismatch},

		{"15 minutes ago", func(c *sigv4Call) { c.at = c.at.Add(-15 * time.Minute).Add(time.Second) }, 200, ""},
		{"more than 15 minutes ago", func(c *sigv4Call) { c.at = c.at.Add(-15*time.Minute - time.Second) }, 403, mismatch},
		{"15 minutes ahead", func(c *sigv4Call) { c.at = c.at.Add(15 * time.Minute) }, 200, ""},
		{"more than 15 minutes ahead", func(c *sigv4Call) { c.at = c.at.Add(15*time.Minute + time.Second) }, 403, mismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := sigv4Call{form: sigv4WhoAmI, id: w.User.AccessKeyID, secret: w.User.SecretAccessKey, service: "sts", region: "eu-west-1", at: w.now()}
			tt.change(&c)
			status, code, blame := c.send(t, w)
			if status != tt.status || code != tt.code {
				t.Errorf("%d %q, want %d %q", status, code, tt.status, tt.code)
			}
			if code != "" && blame != "Sender" {
				t.Errorf("type %q", blame)
			}
		})
	}
}

// TestAssumeRoleIntegers has what no SDK would send.
func TestAssumeRoleIntegers(t *testing.T) {
	w := newAWSWorld(t)
	tests := []struct {
		parameter string
		status    int
		code      string
	}{
		{"DurationSeconds=900", 200, ""},
		{"DurationSeconds=", 200, ""},
		{"DurationSeconds=15m", 400, "MalformedInput"},
		{"DurationSeconds=18446744073709552516", 400, "MalformedInput"}, // 900, if 64 bits wrapped
		{"MinimumSessionTokenSize=many", 400, "MalformedInput"},
		{"MinimumSessionTokenSize=-1", 400, "ValidationError"},
	}
	for _, tt := range tests {
		t.Run(tt.parameter, func(t *testing.T) {
			status, code, _ := sigv4Call{
				form: "Action=AssumeRole&Version=2011-06-15&RoleSessionName=alice&RoleArn=" + awsRole + "&" + tt.parameter,
				id:   w.User.AccessKeyID, secret: w.User.SecretAccessKey, service: "sts", region: "eu-west-1", at: w.now(),
			}.send(t, w)
			if status != tt.status || code != tt.code {
				t.Errorf("%d %q, want %d %q", status, code, tt.status, tt.code)
			}
		})
	}
}

// The sandbox's clock may be far from the SDK's, which takes it from the Date
// of the first answer.
func TestSDKFollowsTheClock(t *testing.T) {
	for _, d := range []time.Duration{-300 * 24 * time.Hour, 300 * 24 * time.Hour} {
		w := newAWSWorld(t)
		w.advance(d)
		client := sts.NewFromConfig(w.skewed(w.User.AccessKeyID, w.User.SecretAccessKey, ""))
		if _, err := client.GetCallerIdentity(t.Context(), nil); err != nil {
			t.Errorf("%v away: %v", d, err)
		}
	}
}
