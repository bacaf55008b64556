package sandbox_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/starback/starback/sandbox"
)

const (
	awsAccount = "111122223333"
	awsOther   = "444455556666"
	awsRole    = "arn:aws:iam::" + awsAccount + ":role/starback/ReadOnly"
	awsBase    = "arn:aws:iam::" + awsAccount + ":role/Base"
)

// awsWorld is a sandbox with a user, a role that trusts the user and the Base
// role fully, and a clock that starts with the SDK's and moves when told.
type awsWorld struct {
	*sandbox.AWS
	URL  string
	User sandbox.Key

	mu    sync.Mutex
	clock time.Time
}

func newAWSWorld(t *testing.T) *awsWorld {
	t.Helper()
	w := &awsWorld{clock: time.Now()}
	w.AWS = sandbox.NewAWS(sandbox.AWSConfig{Now: w.now})
	w.User = w.AddUser(awsAccount, "starback")
	w.AddRole(sandbox.Role{ARN: awsBase, MaxSessionDuration: 12 * time.Hour})
	w.AddRole(sandbox.Role{
		ARN:                awsRole,
		Trust:              sandbox.Trust{Principals: []string{w.User.ARN, awsBase}, TagSession: true, SetSourceIdentity: true},
		MaxSessionDuration: 8 * time.Hour,
	})
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

func (w *awsWorld) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *awsWorld) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// config is an SDK configuration that tries once.
func (w *awsWorld) config(id, secret, token string) aws.Config {
	return aws.Config{
		Region:           "eu-west-1",
		BaseEndpoint:     aws.String(w.URL),
		Credentials:      credentials.NewStaticCredentialsProvider(id, secret, token),
		RetryMaxAttempts: 1,
	}
}

// skewed is config for a client whose clock is not the sandbox's: it tries
// twice, at once, so as to correct itself.
func (w *awsWorld) skewed(id, secret, token string) aws.Config {
	c := w.config(id, secret, token)
	c.RetryMaxAttempts = 2
	c.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = 2
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	return c
}

func (w *awsWorld) stsAsUser() *sts.Client {
	return sts.NewFromConfig(w.config(w.User.AccessKeyID, w.User.SecretAccessKey, ""))
}

func (w *awsWorld) ssmAsUser() *ssm.Client {
	return ssm.NewFromConfig(w.config(w.User.AccessKeyID, w.User.SecretAccessKey, ""))
}

func (w *awsWorld) stsAs(c sandbox.Credentials) *sts.Client {
	return sts.NewFromConfig(w.config(c.AccessKeyID, c.SecretAccessKey, c.SessionToken))
}

// baseCredentials is a session of the Base role.
func (w *awsWorld) baseCredentials(t *testing.T) sandbox.Credentials {
	t.Helper()
	c, err := w.RoleCredentials(awsBase, "instance", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// awsCode is the code of an SDK error, "" for none.
func awsCode(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("not an answer of the API: %v", err)
	}
	return api.ErrorCode()
}

func awsMustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("did not panic")
		}
	}()
	f()
}

func TestGetCallerIdentity(t *testing.T) {
	w := newAWSWorld(t)
	user, err := w.stsAsUser().GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(user.Arn) != w.User.ARN || aws.ToString(user.Account) != awsAccount ||
		!regexp.MustCompile(`^AIDA[A-Z2-7]{16}$`).MatchString(aws.ToString(user.UserId)) {
		t.Errorf("as the user: %s, %s, %s", aws.ToString(user.Arn), aws.ToString(user.Account), aws.ToString(user.UserId))
	}

	role, err := w.stsAs(w.baseCredentials(t)).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(role.Arn) != "arn:aws:sts::"+awsAccount+":assumed-role/Base/instance" || aws.ToString(role.Account) != awsAccount ||
		!regexp.MustCompile(`^AROA[A-Z2-7]{16}:instance$`).MatchString(aws.ToString(role.UserId)) {
		t.Errorf("as the role: %s, %s, %s", aws.ToString(role.Arn), aws.ToString(role.Account), aws.ToString(role.UserId))
	}
}

func TestKeysAndSecrets(t *testing.T) {
	w := newAWSWorld(t)
	w.SetTokenSize(4096)
	c := w.baseCredentials(t)
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(w.User.AccessKeyID) ||
		!regexp.MustCompile(`^ASIA[A-Z2-7]{16}$`).MatchString(c.AccessKeyID) {
		t.Errorf("access key ids %s and %s", w.User.AccessKeyID, c.AccessKeyID)
	}
	for _, s := range []struct {
		secret string
		size   int
	}{{w.User.SecretAccessKey, 40}, {c.SecretAccessKey, 40}, {c.SessionToken, 4096}} {
		if len(s.secret) != s.size || !strings.Contains(s.secret, sandbox.Marker) {
			t.Errorf("a secret of %d characters, want %d with the marker: %s", len(s.secret), s.size, s.secret)
		}
	}
}

func TestDeadCredentials(t *testing.T) {
	tests := []struct {
		name string
		kill func(*awsWorld)
		role bool // the caller is a session of the Base role, not the user
		want string
	}{
		{"the user's key lives", func(*awsWorld) {}, false, ""},
		{"the user's key was rotated", func(w *awsWorld) { w.RotateKey(w.User.ARN) }, false, "InvalidClientTokenId"},
		{"the session lives", func(w *awsWorld) { w.advance(time.Hour - time.Second) }, true, ""},
		{"the session expired", func(w *awsWorld) { w.advance(time.Hour) }, true, "ExpiredToken"},
		{"the role changed", func(w *awsWorld) { w.AddRole(sandbox.Role{ARN: awsBase}) }, true, ""},
		{"the role was removed", func(w *awsWorld) { w.RemoveRole(awsBase) }, true, "InvalidClientTokenId"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newAWSWorld(t)
			config := w.skewed(w.User.AccessKeyID, w.User.SecretAccessKey, "")
			if tt.role {
				c := w.baseCredentials(t)
				config = w.skewed(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
			}
			tt.kill(w)
			_, err := sts.NewFromConfig(config).GetCallerIdentity(t.Context(), nil)
			if got := awsCode(t, err); got != tt.want {
				t.Errorf("code %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRotateKeyKeepsTheUser(t *testing.T) {
	w := newAWSWorld(t)
	before, err := w.stsAsUser().GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.User = w.RotateKey(w.User.ARN)
	after, err := w.stsAsUser().GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(before.UserId) != aws.ToString(after.UserId) {
		t.Errorf("the user's id was %s and is %s", aws.ToString(before.UserId), aws.ToString(after.UserId))
	}
}

// A role that changes stays the same role. One that is made again does not.
func TestRoleID(t *testing.T) {
	w := newAWSWorld(t)
	id := func() string {
		who, err := w.stsAs(w.baseCredentials(t)).GetCallerIdentity(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(who.UserId)
	}
	first := id()
	w.AddRole(sandbox.Role{ARN: awsBase})
	if changed := id(); changed != first {
		t.Errorf("the changed role is %s, it was %s", changed, first)
	}
	w.RemoveRole(awsBase)
	w.AddRole(sandbox.Role{ARN: awsBase})
	if again := id(); again == first {
		t.Errorf("the role made again is %s, as before", again)
	}
}

func TestRoleCredentialsRefused(t *testing.T) {
	w := newAWSWorld(t)
	tests := []struct {
		name    string
		role    string
		session string
		d       time.Duration
		ok      bool
	}{
		{"the longest", awsRole, "instance", 8 * time.Hour, true},
		{"the shortest", awsRole, "instance", 15 * time.Minute, true},
		{"too long", awsRole, "instance", 8*time.Hour + 1, false},
		{"too short", awsRole, "instance", 15*time.Minute - 1, false},
		{"no such role", awsRole + "2", "instance", time.Hour, false},
		{"session name of one character", awsRole, "i", time.Hour, false},
		{"session name of 65 characters", awsRole, strings.Repeat("i", 65), time.Hour, false},
		{"session name with a space", awsRole, "in stance", time.Hour, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := w.RoleCredentials(tt.role, tt.session, tt.d); (err == nil) != tt.ok {
				t.Errorf("err = %v, want ok: %v", err, tt.ok)
			}
		})
	}
}

func TestSetUpPanics(t *testing.T) {
	tests := []struct {
		name string
		set  func(*awsWorld)
	}{
		{"account of eleven digits", func(w *awsWorld) { w.AddUser("11112222333", "x") }},
		{"user with a slash", func(w *awsWorld) { w.AddUser(awsAccount, "a/b") }},
		{"user twice", func(w *awsWorld) { w.AddUser(awsAccount, "starback") }},
		{"rotation of nobody's key", func(w *awsWorld) { w.RotateKey("arn:aws:iam::111122223333:user/nobody") }},
		{"role by its name", func(w *awsWorld) { w.AddRole(sandbox.Role{ARN: "ReadOnly"}) }},
		{"role that trusts a star", func(w *awsWorld) {
			w.AddRole(sandbox.Role{ARN: awsRole, Trust: sandbox.Trust{Principals: []string{"*"}}})
		}},
		{"role of less than 1 h", func(w *awsWorld) { w.AddRole(sandbox.Role{ARN: awsRole, MaxSessionDuration: time.Minute}) }},
		{"role of more than 12 h", func(w *awsWorld) { w.AddRole(sandbox.Role{ARN: awsRole, MaxSessionDuration: 13 * time.Hour}) }},
		{"token without a marker", func(w *awsWorld) { w.SetTokenSize(len(sandbox.Marker) - 1) }},
		{"token beyond STS's limit", func(w *awsWorld) { w.SetTokenSize(4097) }},
		{"parameter without a slash in front", func(w *awsWorld) { w.PutParameter("a/b", "v", false) }},
		{"parameter of more than 4 KB", func(w *awsWorld) { w.PutParameter("/a", strings.Repeat("v", 4097), true) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newAWSWorld(t)
			awsMustPanic(t, func() { tt.set(w) })
		})
	}
}

func TestElsewhere(t *testing.T) {
	w := newAWSWorld(t)
	tests := []struct {
		name, method, path, body string
		status                   int
	}{
		{"STS by GET", http.MethodGet, "/", "", 404},
		{"sign-in by POST", http.MethodPost, "/federation", "", 404},
		{"another path", http.MethodPost, "/elsewhere", "Action=GetCallerIdentity", 404},
		{"no form", http.MethodPost, "/", "Action=%zz", 404},
		{"more than 1 MB", http.MethodPost, "/", strings.Repeat("x", 1<<20+1), 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			w.ServeHTTP(answer, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
			if answer.Code != tt.status {
				t.Errorf("status %d, want %d", answer.Code, tt.status)
			}
		})
	}
	if calls := w.Calls(); len(calls) != 0 {
		t.Errorf("recorded %d calls", len(calls))
	}
}
