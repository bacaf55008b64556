package cloud_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

func TestAssumeRole(t *testing.T) {
	w := newWorld(t)
	m := newMinter(t, w.config())
	a := assumption(readOnly)
	a.SourceIdentity = "alice"
	a.Tags = map[string]string{"starback:user": "alice", "starback:request": "R", "starback:role": "r"}
	a.Role.SessionPolicy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	a.Role.SessionPolicyARNs = []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"}
	got, err := m.AssumeRole(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	calls := w.Calls()
	c := calls[len(calls)-1]
	want := sandbox.Call{
		Time: c.Time, Service: "sts", Action: "AssumeRole", AccessKeyID: w.user.AccessKeyID, RoleARN: readOnly, SessionName: "alice@01K",
		SourceIdentity: "alice", Tags: a.Tags, Duration: 2 * time.Hour, Policy: a.Role.SessionPolicy, PolicyARNs: a.Role.SessionPolicyARNs,
		IssuedAccessKeyID: got.AccessKeyID, AssumedRoleID: got.AssumedRoleID,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("AWS was asked for (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(got.AssumedRoleID, ":alice@01K") || !got.ExpiresAt.Equal(began.Add(2*time.Hour)) || got.Chained ||
		!strings.Contains(got.SecretKey.Reveal(), sandbox.Marker) || !strings.Contains(got.SessionToken.Reveal(), sandbox.Marker) {
		t.Errorf("got %+v", got)
	}
}

// A role that takes neither tags nor a source identity is assumed without
// them, and with the external id that it wants.
func TestAssumeRoleWithoutTags(t *testing.T) {
	w := newWorld(t)
	m := newMinter(t, w.config())
	a := assumption(untagged)
	if _, err := m.AssumeRole(t.Context(), a); code(err) != broker.FaultAccess {
		t.Errorf("without the external id: %v", err)
	}
	a.Role.ExternalID = "shared-words"
	if _, err := m.AssumeRole(t.Context(), a); err != nil {
		t.Error(err)
	}
	a.Tags = map[string]string{"starback:user": "alice"}
	if _, err := m.AssumeRole(t.Context(), a); code(err) != broker.FaultAccess {
		t.Errorf("with a tag: %v", err)
	}
}

// AWS caps sessions issued to a role at one hour. Whether it does is asked of
// AWS, once.
func TestChainedSessionsAreCapped(t *testing.T) {
	tests := []struct {
		name    string
		role    bool
		asked   time.Duration
		want    time.Duration
		chained bool
	}{
		{"a user's key", false, 2 * time.Hour, 2 * time.Hour, false},
		{"a role's session", true, 2 * time.Hour, time.Hour, true},
		{"a role's session, and less than an hour", true, 15 * time.Minute, 15 * time.Minute, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			config := w.config()
			if tt.role {
				config = w.asRole(t)
			}
			m := newMinter(t, config)
			for range 3 {
				a := assumption(readOnly)
				a.Duration = tt.asked
				got, err := m.AssumeRole(t.Context(), a)
				if err != nil || got.Chained != tt.chained || !got.ExpiresAt.Equal(began.Add(tt.want)) {
					t.Errorf("chained: %v, for %v, err = %v", got.Chained, got.ExpiresAt.Sub(began), err)
				}
			}
			want := []string{"GetCallerIdentity", "AssumeRole", "AssumeRole", "AssumeRole"}
			if diff := cmp.Diff(want, w.actions()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// Who Starback is stays unknown until AWS has said so.
func TestCallerUnknown(t *testing.T) {
	w := newWorld(t)
	m := newMinter(t, w.config())
	down := sandbox.Fault{Status: 503}
	w.SetFault(func(_, action string) *sandbox.Fault {
		if action == "GetCallerIdentity" {
			return &down
		}
		return nil
	})
	if _, err := m.AssumeRole(t.Context(), assumption(readOnly)); code(err) != broker.FaultAWS {
		t.Errorf("err = %v", err)
	}
	if w.count("AssumeRole") != 0 {
		t.Error("a role was assumed without knowing whether the session is chained")
	}
	if err := m.Ready(t.Context()); err == nil {
		t.Error("ready while AWS is down")
	}
	w.SetFault(nil)
	if err := m.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := m.AssumeRole(t.Context(), assumption(readOnly)); err != nil {
		t.Error(err)
	}
}

// STS is called where the role says, and otherwise where Starback is.
func TestRegionalSTS(t *testing.T) {
	w := newWorld(t)
	var scopes []string
	c := w.config()
	c.AWS.HTTPClient = roundTripper(func(r *http.Request) (*http.Response, error) {
		_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential="+w.user.AccessKeyID+"/")
		scopes = append(scopes, strings.Split(scope, "/")[1])
		return httpClient.Do(r)
	})
	m := newMinter(t, c)
	for _, region := range []string{"", "ap-southeast-2", ""} {
		a := assumption(readOnly)
		a.Role.Region = region
		if _, err := m.AssumeRole(t.Context(), a); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"eu-west-1", "eu-west-1", "ap-southeast-2", "eu-west-1"}, scopes); diff != "" {
		t.Errorf("Regions (-want +got):\n%s", diff)
	}
}

// An answer that lacks anything is no answer.
func TestHalfAnswers(t *testing.T) {
	whole := `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>` +
		`<AssumedRoleUser><AssumedRoleId>AROAX:alice</AssumedRoleId><Arn>arn:aws:sts::1:x</Arn></AssumedRoleUser>` +
		`<Credentials><AccessKeyId>ASIAX</AccessKeyId><SecretAccessKey>SandboxSecretKey</SecretAccessKey>` +
		`<SessionToken>SandboxSecretToken</SessionToken><Expiration>` + began.Add(time.Hour).Format(time.RFC3339) + `</Expiration></Credentials>` +
		`</AssumeRoleResult></AssumeRoleResponse>`
	tests := []struct{ name, old, now string }{
		{"no access key id", "ASIAX", ""},
		{"no secret key", "SandboxSecretKey", ""},
		{"no session token", "SandboxSecretToken", ""},
		{"no assumed role id", "AROAX:alice", ""},
		{"expired already", began.Add(time.Hour).Format(time.RFC3339), began.Format(time.RFC3339)},
		{"no credentials", whole, `<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>`},
		{"nothing", whole, ``},
	}
	var answer string
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/xml")
		if r.FormValue("Action") == "GetCallerIdentity" {
			_, _ = rw.Write([]byte(`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
				`<Arn>arn:aws:iam::111122223333:user/x</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`))
			return
		}
		_, _ = rw.Write([]byte(answer))
	}))
	defer server.Close()
	c := newWorld(t).config()
	c.AWS.BaseEndpoint = aws.String(server.URL)
	m := newMinter(t, c)
	answer = whole
	if _, err := m.AssumeRole(t.Context(), assumption(readOnly)); err != nil {
		t.Fatalf("the whole answer: %v", err)
	}
	for _, tt := range tests {
		answer = strings.Replace(whole, tt.old, tt.now, 1)
		got, err := m.AssumeRole(t.Context(), assumption(readOnly))
		if code(err) != broker.FaultAWS || got != (broker.Credentials{}) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), sandbox.Marker) {
			t.Errorf("%s: a secret in %v", tt.name, err)
		}
	}
}

// A caller who leaves is told that there was no time.
func TestAssumeRoleCanceled(t *testing.T) {
	w := newWorld(t)
	m := newMinter(t, w.config())
	ctx, cancel := context.WithCancel(t.Context())
	w.SetFault(func(string, string) *sandbox.Fault {
		cancel()
		return &sandbox.Fault{Delay: time.Hour}
	})
	if _, err := m.AssumeRole(ctx, assumption(readOnly)); code(err) != broker.FaultTimeout {
		t.Errorf("err = %v", err)
	}
}
