package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/starback/starback/sandbox"
)

const signinHome = "https://console.aws.amazon.com/"

// federation asks the sign-in endpoint.
func (w *awsWorld) federation(t *testing.T, query url.Values) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/federation?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
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
	return answer.StatusCode, string(b)
}

func signinSession(c sandbox.Credentials) string {
	b, err := json.Marshal(map[string]string{"sessionId": c.AccessKeyID, "sessionKey": c.SecretAccessKey, "sessionToken": c.SessionToken})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// signinToken gets a sign-in token, or "" and the status of the refusal.
func (w *awsWorld) signinToken(t *testing.T, session, duration string) (token string, status int) {
	t.Helper()
	q := url.Values{"Action": {"getSigninToken"}, "Session": {session}}
	if duration != "" {
		q.Set("SessionDuration", duration)
	}
	status, body := w.federation(t, q)
	if status != http.StatusOK {
		return "", status
	}
	var answer struct{ SigninToken string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return answer.SigninToken, status
}

func (w *awsWorld) login(t *testing.T, token, destination string) (status int, page string) {
	t.Helper()
	return w.federation(t, url.Values{
		"Action": {"login"}, "Issuer": {"https://issuer.example/?a=<b>"}, "Destination": {destination}, "SigninToken": {token},
	})
}

// sessions are the user's session of the role, and the Base role's.
func (w *awsWorld) sessions(t *testing.T) (direct, chained sandbox.Credentials) {
	t.Helper()
	assume := func(client *sts.Client) sandbox.Credentials {
		out, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(awsRole), RoleSessionName: aws.String("alice@1")})
		if err != nil {
			t.Fatal(err)
		}
		return stsCredentials(out)
	}
	return assume(w.stsAsUser()), assume(w.stsAs(w.baseCredentials(t)))
}

func TestSigninToken(t *testing.T) {
	w := newAWSWorld(t)
	direct, chained := w.sessions(t)
	with := func(change func(*sandbox.Credentials)) string {
		c := direct
		change(&c)
		return signinSession(c)
	}
	tests := []struct {
		name     string
		session  string
		duration string
		ok       bool
	}{
		{"a session", signinSession(direct), "", true},
		{"a chained session", signinSession(chained), "", true},
		{"the base role's own session", signinSession(w.baseCredentials(t)), "3600", true},
		{"900 seconds", signinSession(direct), "900", true},
		{"12 hours", signinSession(direct), "43200", true},
		{"less than 900 seconds", signinSession(direct), "899", false},
		{"more than 12 hours", signinSession(direct), "43201", false},
		{"a duration that is none", signinSession(direct), "1h", false},
		{"a duration for a chained session", signinSession(chained), "900", false},
		{"a user's key", signinSession(sandbox.Credentials{AccessKeyID: w.User.AccessKeyID, SecretAccessKey: w.User.SecretAccessKey}), "", false},
		{"no session", "", "", false},
		{"not JSON", "sessionId=x", "", false},
		{"unknown key", with(func(c *sandbox.Credentials) { c.AccessKeyID = "ASIAAAAAAAAAAAAAAAAA" }), "", false},
		{"wrong secret", with(func(c *sandbox.Credentials) { c.SecretAccessKey += "x" }), "", false},
		{"wrong token", with(func(c *sandbox.Credentials) { c.SessionToken += "x" }), "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, status := w.signinToken(t, tt.session, tt.duration)
			want := http.StatusBadRequest
			if tt.ok {
				want = http.StatusOK
			}
			if status != want || strings.Contains(token, sandbox.Marker) != tt.ok {
				t.Errorf("status %d, token %q", status, token)
			}
		})
	}
	w.advance(time.Hour)
	if _, status := w.signinToken(t, signinSession(direct), ""); status != http.StatusBadRequest {
		t.Errorf("an expired session: status %d", status)
	}
}

func TestLogin(t *testing.T) {
	w := newAWSWorld(t)
	direct, _ := w.sessions(t)
	in := func(partition string) sandbox.Credentials {
		arn := "arn:" + partition + ":iam::" + awsAccount + ":role/Abroad"
		w.AddRole(sandbox.Role{ARN: arn})
		c, err := w.RoleCredentials(arn, "alice", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	token := func(c sandbox.Credentials) string {
		token, status := w.signinToken(t, signinSession(c), "")
		if status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		return token
	}
	inAWS, inChina, inEurope, inSecret := token(direct), token(in("aws-cn")), token(in("aws-eusc")), token(in("aws-iso"))
	tests := []struct {
		name        string
		token       string
		destination string
		status      int
	}{
		{"home", inAWS, signinHome, 200},
		{"home without a slash", inAWS, "https://console.aws.amazon.com", 200},
		{"a Region's console", inAWS, "https://eu-west-1.console.aws.amazon.com/sqs/v3/home?region=eu-west-1#/queues", 200},
		{"China", inChina, "https://console.amazonaws.cn/", 200},
		{"China's, from elsewhere", inAWS, "https://console.amazonaws.cn/", 400},
		{"elsewhere, from China", inChina, signinHome, 400},
		{"Europe's own", inEurope, "https://eusc-de-east-1.console.amazonaws-eusc.eu/console/home?region=eusc-de-east-1", 200},
		{"where no console is known", inSecret, signinHome, 400},
		{"no host, where no console is known", inSecret, "https:///", 400},
		{"no destination", inAWS, "", 400},
		{"plain http", inAWS, "http://console.aws.amazon.com/", 400},
		{"a host that ends alike", inAWS, "https://evilconsole.aws.amazon.com/", 400},
		{"a host that begins alike", inAWS, "https://console.aws.amazon.com.example/", 400},
		{"a host behind a user name", inAWS, "https://console.aws.amazon.com@example.com/", 400},
		{"a user name", inAWS, "https://user@console.aws.amazon.com/", 400},
		{"another port", inAWS, "https://console.aws.amazon.com:8443/", 400},
		{"unknown token", strings.ToUpper(inAWS), signinHome, 400},
		{"no token", "", signinHome, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if status, page := w.login(t, tt.token, tt.destination); status != tt.status {
				t.Errorf("status %d, want %d: %s", status, tt.status, page)
			}
		})
	}
}

func TestLoginPage(t *testing.T) {
	tests := []struct {
		name     string
		duration string
		until    time.Duration // from the login, a minute after the session began
	}{
		{"until the credentials end", "", 59 * time.Minute},
		{"for as long as asked", "7200", 2 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newAWSWorld(t)
			direct, _ := w.sessions(t)
			token, _ := w.signinToken(t, signinSession(direct), tt.duration)
			w.advance(time.Minute)
			_, page := w.login(t, token, signinHome)
			for _, want := range []string{
				"This is the sandbox", "Nothing here is real", "alice@1", "ReadOnly", awsAccount,
				w.now().Add(tt.until).UTC().Format(time.RFC1123), "a=&lt;b&gt;",
			} {
				if !strings.Contains(page, want) {
					t.Errorf("no %q in %s", want, page)
				}
			}
			if strings.Contains(page, sandbox.Marker) {
				t.Errorf("a secret in %s", page)
			}
		})
	}
}

func TestSigninTokenExpires(t *testing.T) {
	w := newAWSWorld(t)
	direct, _ := w.sessions(t)
	token, _ := w.signinToken(t, signinSession(direct), "")
	w.advance(15*time.Minute - time.Second)
	if status, _ := w.login(t, token, signinHome); status != http.StatusOK {
		t.Errorf("just before 15 minutes: status %d", status)
	}
	w.advance(time.Second)
	if status, _ := w.login(t, token, signinHome); status != http.StatusBadRequest {
		t.Errorf("at 15 minutes: status %d", status)
	}
}

func TestSigninTokenEndsWithItsSession(t *testing.T) {
	w := newAWSWorld(t)
	direct, _ := w.sessions(t)
	w.advance(55 * time.Minute)
	token, _ := w.signinToken(t, signinSession(direct), "")
	w.advance(5*time.Minute - time.Second)
	if status, _ := w.login(t, token, signinHome); status != http.StatusOK {
		t.Errorf("just before the session ends: status %d", status)
	}
	w.advance(time.Second)
	if status, _ := w.login(t, token, signinHome); status != http.StatusBadRequest {
		t.Errorf("when the session ends: status %d", status)
	}
}

// A sign-in token holds the session token, and a link grows with both.
func TestSigninTokenGrows(t *testing.T) {
	w := newAWSWorld(t)
	w.SetTokenSize(4096)
	direct, _ := w.sessions(t)
	if token, _ := w.signinToken(t, signinSession(direct), ""); len(token) != 4096 {
		t.Errorf("a sign-in token of %d characters", len(token))
	}
}

func TestUnknownSigninAction(t *testing.T) {
	w := newAWSWorld(t)
	if status, _ := w.federation(t, url.Values{"Action": {"logout"}}); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
}
