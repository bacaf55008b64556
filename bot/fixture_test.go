package bot

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// failer is what *testing.T and *rapid.T share.
type failer interface {
	Helper()
	Fatal(...any)
}

// noon is the moment at which everything in these tests happens.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// alice is the Slack account that asks in these tests.
var alice = broker.SlackID{Team: "T012AB", User: "U0456"}

// longName is the longest name of a role, an account or a group: 63
// characters. The longest user's name has 32.
func longName(first string) string { return first + strings.Repeat("n", 63-len(first)) }

// sessionToken is a session token of n characters, of AWS's alphabet, without a
// period: a part that is lost or doubled changes it.
func sessionToken(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	random := rand.New(rand.NewPCG(1, 2))
	for range n {
		b.WriteByte(alphabet[random.IntN(len(alphabet))])
	}
	return b.String()
}

// link is a console link of n characters.
func link(n int) string {
	const base = "https://us-east-1.signin.aws.amazon.com/federation?Action=login&SigninToken="
	return base + strings.Repeat("Tk%2B", n/5)[:n-len(base)]
}

// readonly is a plain role with a console.
func readonly() *policy.Role {
	return &policy.Role{
		Name: "prod-readonly", Account: "prod", AccountID: "111122223333", Partition: "aws", Region: "eu-central-1",
		ARN:         "arn:aws:iam::111122223333:role/starback/ReadOnly",
		MaxDuration: 8 * time.Hour, DefaultDuration: time.Hour, Console: true,
	}
}

// strict is a role with every rule there is.
func strict(t failer) *policy.Role {
	t.Helper()
	ticket, err := policy.NewPattern("[A-Z]+-[0-9]+")
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Role{
		Name: "prod-admin", Account: "prod", AccountID: "111122223333", Partition: "aws",
		Description: "Everything in production, <for> incidents & *nothing* else, whatever it takes",
		ARN:         "arn:aws:iam::111122223333:role/starback/Admin",
		MaxDuration: 90 * time.Minute, DefaultDuration: time.Hour, ReasonRequired: true, Ticket: ticket,
		Approval: &policy.Approval{By: []policy.GroupName{"sre-leads", "security"}, Count: 1, Within: time.Hour, ClaimWithin: time.Hour},
	}
}

// longest is a role with the longest names and the longest description shown.
func longest(t failer, name string) *policy.Role {
	t.Helper()
	r := strict(t)
	r.Name, r.Account, r.Region = policy.RoleName(longName(name)), policy.AccountName(longName("account-")), "us-gov-northwest-1"
	r.Description = strings.Repeat("<&>🔑", 100)
	r.Approval.By = []policy.GroupName{
		policy.GroupName(longName("g1-")), policy.GroupName(longName("g2-")), policy.GroupName(longName("g3-")), policy.GroupName(longName("g4-")),
	}
	return r
}

// issued is what the broker hands out for role: a token and a console link of
// the given lengths, no link for 0.
func issued(role *policy.Role, shell broker.Shell, tokenSize, linkSize int) broker.Issued {
	request := openRequest(role.Name)
	i := broker.Issued{
		Request: request, Session: request.Sessions[0], Role: role, User: broker.User{Name: "alice", Shell: shell}, Began: noon,
		Credentials: broker.Credentials{
			AccessKeyID: "ASIAZZZZZZZZZZZZZZZZ", SecretKey: broker.NewSecret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
			SessionToken: broker.NewSecret(sessionToken(tokenSize)), ExpiresAt: noon.Add(time.Hour),
		},
	}
	if linkSize > 0 {
		i.Console = broker.NewSecret(link(linkSize))
	}
	return i
}

// capped is an answer to which AWS gave an hour of the four asked for.
func capped() broker.Issued {
	i := issued(readonly(), broker.Bash, 100, 0)
	i.Request.Duration, i.Request.WindowEnd, i.Credentials.Chained = 4*time.Hour, noon.Add(4*time.Hour), true
	return i
}

// unlinked is an answer without the console link there should be.
func unlinked() broker.Issued {
	i := issued(readonly(), broker.Bash, 100, 0)
	i.ConsoleErr = errors.New("sign-in is down")
	return i
}

// again is a further session of the same window.
func again() broker.Issued {
	i := issued(readonly(), broker.Fish, 100, 200)
	i.Again = true
	return i
}

// anew is what is revealed once more, since it was not shown before.
func anew() broker.Issued {
	i := issued(readonly(), broker.Fish, 100, 200)
	before := i.Session
	before.UndeliveredAt = noon.Add(-time.Minute)
	i.Request.Sessions = []broker.Session{before, i.Session}
	return i
}

// quarter is what somebody gets who asks for as little as there is.
func quarter() broker.Issued {
	i := issued(readonly(), broker.Fish, 100, 200)
	i.Request.Duration, i.Request.WindowEnd = 15*time.Minute, noon.Add(15*time.Minute)
	i.Session.ExpiresAt = i.Request.WindowEnd
	return i
}

// openRequest is a Request with one Session issued.
func openRequest(role policy.RoleName) broker.Request {
	return broker.Request{
		ID: "0123456789ABCDEFGHJK", Slack: alice, User: "alice", UserID: "01ALICE", Role: role,
		Duration: time.Hour, Words: "INC-4711 checking queue depth", Ticket: "INC-4711", Reason: "checking queue depth",
		State: broker.StateOpen, AskedAt: noon, OpenedAt: noon, WindowEnd: noon.Add(time.Hour),
		AccountID: "111122223333", RoleARN: "arn:aws:iam::111122223333:role/starback/ReadOnly", Rule: policy.RuleGranted, PolicyVersion: 7,
		Sessions: []broker.Session{{
			ID: "01JDCKQ0000000000000000000", State: broker.SessionIssued, BeganAt: noon, AccessKeyID: "ASIAZZZZZZZZZZZZZZZZ",
			AssumedRoleID: "AROAZZZZZZZZZZZZZZZZ:alice@01JDCKQ0000000000000000000", ExpiresAt: noon.Add(time.Hour), Outcome: broker.OutcomeOK,
		}},
	}
}

// inState is a Request in another state.
func inState(state broker.State, change func(*broker.Request)) broker.Request {
	r := openRequest("prod-readonly")
	r.State = state
	change(&r)
	return r
}

// me is somebody who may ask for roles.
func me(roles ...*policy.Role) broker.Me {
	return broker.Me{
		User:  broker.User{Name: "alice", ID: "01ALICE", Expires: noon.AddDate(0, 3, 0), Groups: []policy.GroupName{"dev", "sre"}},
		Slack: alice, Roles: roles, PolicyVersion: 7,
	}
}
