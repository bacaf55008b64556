package bench_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// An instant is a broker.Minter that answers at once.
type instant struct{}

func (instant) AssumeRole(context.Context, broker.Assumption) (broker.Credentials, error) {
	return broker.Credentials{
		AccessKeyID: "ASIAZZZZZZZZZZZZZZZZ", SecretKey: broker.NewSecret("secret"), SessionToken: broker.NewSecret("token"),
		ExpiresAt: time.Now().Add(time.Hour), AssumedRoleID: "AROAZZZZZZZZZZZZZZZZ:user",
	}, nil
}

func (instant) SignIn(context.Context, broker.Credentials, *policy.Role) (broker.Secret, error) {
	return broker.NewSecret("https://signin.aws.amazon.com/federation"), nil
}

// cannedSTS answers every AssumeRole alike, and says whose the base
// credentials are. It verifies nothing, so that little of what is measured is
// its own.
func cannedSTS() http.Handler {
	const namespace = `xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`
	role := fmt.Appendf(nil, `<AssumeRoleResponse %s><AssumeRoleResult><AssumedRoleUser>
<AssumedRoleId>AROAZZZZZZZZZZZZZZZZ:user</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/Plain/user</Arn>
</AssumedRoleUser><Credentials><AccessKeyId>ASIAZZZZZZZZZZZZZZZZ</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
		namespace, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	caller := fmt.Appendf(nil, `<GetCallerIdentityResponse %s><GetCallerIdentityResult>
<Arn>arn:aws:iam::999988887777:user/starback</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`, namespace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		if r.FormValue("Action") == "GetCallerIdentity" {
			_, _ = w.Write(caller)
			return
		}
		_, _ = w.Write(role)
	})
}

// An issuer asks a Broker for credentials, again and again.
type issuer struct {
	config broker.Config
	broker *broker.Broker
	asked  int
}

// issue asks once: Identify, ask, AssumeRole and outcome, for a role without a
// console link.
func (i *issuer) issue(t testing.TB) broker.Issued {
	// A Broker limits how often a User may ask; a new one has forgotten.
	if i.asked%(10*people) == 0 {
		i.broker = broker.New(i.config)
	}
	i.asked++
	issued, err := i.broker.Issue(t.Context(), broker.Ask{
		Caller: broker.SlackID{Team: team, User: person(i.asked)}, Surface: broker.SurfaceCommand, Key: rand.Text(),
		Role: "plain", Duration: time.Hour, Words: "checking queue depth", Deadline: time.Now().Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// newIssuer returns an issuer on a store.
func newIssuer(s *store.SQLite, minter broker.Minter) *issuer {
	return &issuer{config: broker.Config{
		Ledger: s, Identities: s, Users: s, Archive: s, Outbox: s, Minter: minter,
		Journal: broker.NewJournal(io.Discard), Now: time.Now, Entropy: rand.Reader,
	}}
}

// newMinter returns the Minter of production, for an AWS at url.
func newMinter(t testing.TB, awsConfig aws.Config) *cloud.Minter {
	t.Helper()
	m, err := cloud.New(cloud.Config{AWS: awsConfig, Base: "default", HTTP: newHTTPClient(t, 16), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// issuing compares Issue with one bare AssumeRole by the SDK: without any STS,
// which shows Starback's own work, and with the STS that the SDK calls.
func issuing(t testing.TB, e effort) []figure {
	awsConfig := awsAt(serve(t, cannedSTS()).URL, "AKIAZZZZZZZZZZZZZZZZ", "secret")
	client := sts.NewFromConfig(awsConfig)
	in := &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::111122223333:role/starback/Plain"), RoleSessionName: aws.String("user"),
		DurationSeconds: aws.Int32(3600),
	}
	bare := func() cost {
		return measure(t, e.ops, func() {
			if _, err := client.AssumeRole(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		})
	}
	own, whole := newIssuer(openStore(t), instant{}), newIssuer(openStore(t), newMinter(t, awsConfig))
	whole.issue(t) // the first of a process makes more calls
	alone := compare(e.rounds, func() cost { return measure(t, e.ops, func() { own.issue(t) }) }, bare)
	called := compare(e.rounds, func() cost { return measure(t, e.ops, func() { whole.issue(t) }) }, bare)
	return []figure{
		newFigure("Issue with an instant STS ÷ bare AssumeRole, processor", alone, cpu, perCore),
		newFigure("Issue over HTTP ÷ bare AssumeRole, processor", called, cpu, perCore),
		newFigure("Issue over HTTP ÷ bare AssumeRole, clock", called, wall, rate),
	}
}

func BenchmarkIssue(b *testing.B) {
	i := newIssuer(openStore(b), instant{})
	b.ReportAllocs()
	for b.Loop() {
		i.issue(b)
	}
}
