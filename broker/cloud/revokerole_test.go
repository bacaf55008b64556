package cloud_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// The revoker's credentials are made when they are needed first, and again when
// less than a minute is left of their fifteen.
func TestRevokerCredentials(t *testing.T) {
	tests := []struct {
		name string
		left time.Duration // by the machine's clock, by which the SDK keeps credentials
		once bool
	}{
		{"fresh", 15 * time.Minute, true},
		{"with two minutes left", 2 * time.Minute, true},
		{"with half a minute left", 30 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFencedWorld(t)
			w.clock = time.Since(began) + tt.left - 15*time.Minute
			r := newRevoker(t, w.config())
			for n := range 3 {
				if err := r.Publish(t.Context(), ended(n)); err != nil {
					t.Fatal(err)
				}
			}
			if made := w.count("AssumeRole"); made < 1 || tt.once != (made == 1) {
				t.Errorf("made %d times in three uses", made)
			}
		})
	}
}

// Assuming the revoker role is asked for as its trust policy wants it.
func TestRevokerAssumption(t *testing.T) {
	w := newFencedWorld(t)
	if _, err := newRevoker(t, w.asRole(t)).Check(t.Context(), admin()); err != nil {
		t.Fatal(err)
	}
	got := w.Calls()[0]
	want := sandbox.Call{
		Time: got.Time, Service: "sts", Action: "AssumeRole", AccessKeyID: got.AccessKeyID, RoleARN: revoker, SessionName: "starback-revoker",
		Duration: 15 * time.Minute, IssuedAccessKeyID: got.IssuedAccessKeyID, AssumedRoleID: got.AssumedRoleID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("AWS was asked for (-want +got):\n%s", diff)
	}
}

// Credentials that AWS does not know any more are made again: the base's, and
// the revoker's own.
func TestRevokerHeals(t *testing.T) {
	tests := []struct {
		name    string
		happens func(*testing.T, *world)
		made    int // times the revoker role was assumed, after it happened
	}{
		{"nothing", func(*testing.T, *world) {}, 0},
		{"the revoker was made anew", func(t *testing.T, w *world) { w.RemoveRole(revoker); w.addRevoker(t) }, 1},
		{"and the base key rotated", func(t *testing.T, w *world) {
			w.RemoveRole(revoker)
			w.addRevoker(t)
			w.keep(t, w.RotateKey(w.user.ARN))
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFencedWorld(t)
			w.keep(t, w.user)
			r := newRevoker(t, w.fromSSM(t))
			if err := r.Publish(t.Context(), ended(1)); err != nil {
				t.Fatal(err)
			}
			tt.happens(t, w)
			w.ResetCalls()
			if err := r.Publish(t.Context(), ended(2)); err != nil {
				t.Fatal(err)
			}
			if made := w.count("AssumeRole"); made != tt.made {
				t.Errorf("assumed %d times", made)
			}
		})
	}
}

// Each account has its own revoker, and each Region its own session of it.
func TestRevokerPerAccount(t *testing.T) {
	w := newFencedWorld(t)
	r := newRevoker(t, w.config())
	const other = "444455556666"
	w.AddRole(sandbox.Role{ARN: strings.Replace(adminARN, account, other, 1)})
	w.AddRole(sandbox.Role{
		ARN: strings.Replace(revoker, account, other, 1), Permissions: allowAll, Trust: sandbox.Trust{Principals: []string{w.user.ARN}},
	})
	tests := []struct {
		role    *policy.Role
		carries bool
	}{
		{&policy.Role{ARN: adminARN}, true},
		{&policy.Role{ARN: adminARN, Region: "eu-central-1"}, true},
		{&policy.Role{ARN: strings.Replace(adminARN, account, other, 1)}, false},
	}
	for range 2 {
		for _, tt := range tests {
			if carries, err := r.Check(t.Context(), tt.role); carries != tt.carries || err != nil {
				t.Errorf("%s %s: %v, %v", tt.role.ARN, tt.role.Region, carries, err)
			}
		}
	}
	if made := w.count("AssumeRole"); made != len(tests) {
		t.Errorf("assumed %d times", made)
	}
}

// hosts lets calls to AWS's own endpoints arrive in the sandbox, and notes
// where they went and for which Region they were signed.
type hosts struct {
	to *url.URL

	mu   sync.Mutex
	seen []string
}

func (h *hosts) Do(r *http.Request) (*http.Response, error) {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "/")
	h.mu.Lock()
	h.seen = append(h.seen, r.URL.Host+" "+strings.Split(scope, "/")[1])
	h.mu.Unlock()
	r = r.Clone(r.Context())
	r.Host = r.URL.Host // as it was signed
	r.URL.Scheme, r.URL.Host = h.to.Scheme, h.to.Host
	return httpClient.Do(r)
}

// STS is called in the role's Region, and IAM where its partition has it.
func TestRevokerEndpoints(t *testing.T) {
	tests := []struct {
		partition, region string
		want              []string
	}{
		{"aws", "eu-west-1", []string{"sts.eu-west-1.amazonaws.com eu-west-1", "iam.amazonaws.com us-east-1"}},
		{"aws", "ap-south-1", []string{"sts.ap-south-1.amazonaws.com ap-south-1", "iam.amazonaws.com us-east-1"}},
		{"aws-cn", "cn-northwest-1", []string{"sts.cn-northwest-1.amazonaws.com.cn cn-northwest-1", "iam.cn-north-1.amazonaws.com.cn cn-north-1"}},
		{"aws-us-gov", "us-gov-east-1", []string{"sts.us-gov-east-1.amazonaws.com us-gov-east-1", "iam.us-gov.amazonaws.com us-gov-west-1"}},
		{"aws-eusc", "eusc-de-east-1", []string{"sts.eusc-de-east-1.amazonaws.eu eusc-de-east-1", "iam.eusc-de-east-1.amazonaws.eu eusc-de-east-1"}},
		{"aws-iso", "us-iso-west-1", []string{"sts.us-iso-west-1.c2s.ic.gov us-iso-west-1", "iam.us-iso-east-1.c2s.ic.gov us-iso-east-1"}},
		{"aws-iso-b", "us-isob-east-1", []string{"sts.us-isob-east-1.sc2s.sgov.gov us-isob-east-1", "iam.us-isob-east-1.sc2s.sgov.gov us-isob-east-1"}},
		{"aws-iso-e", "eu-isoe-west-1", []string{"sts.eu-isoe-west-1.cloud.adc-e.uk eu-isoe-west-1", "iam.eu-isoe-west-1.cloud.adc-e.uk eu-isoe-west-1"}},
		{"aws-iso-f", "us-isof-east-1", []string{"sts.us-isof-east-1.csp.hci.ic.gov us-isof-east-1", "iam.us-isof-south-1.csp.hci.ic.gov us-isof-south-1"}},
	}
	for _, tt := range tests {
		w := newFencedWorld(t)
		of := func(arn string) string { return strings.Replace(arn, "arn:aws:", "arn:"+tt.partition+":", 1) }
		w.AddRole(sandbox.Role{ARN: of(revoker), Permissions: allowAll, Trust: sandbox.Trust{Principals: []string{w.user.ARN}}})
		to, err := url.Parse(w.url)
		if err != nil {
			t.Fatal(err)
		}
		h := &hosts{to: to}
		c := w.config()
		c.AWS.BaseEndpoint, c.AWS.HTTPClient = nil, h
		if _, err := newRevoker(t, c).Check(t.Context(), &policy.Role{ARN: of(adminARN), Region: tt.region}); err != nil {
			t.Errorf("%s: %v", tt.partition, err)
		}
		if diff := cmp.Diff(tt.want, h.seen); diff != "" {
			t.Errorf("%s, %s: called (-want +got):\n%s", tt.partition, tt.region, diff)
		}
	}
}
