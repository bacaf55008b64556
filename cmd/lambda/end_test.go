package main

import (
	"strings"
	"testing"
	"time"

	awscloud "github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

const (
	janitorRole = "arn:aws:iam::999988887777:role/starback-test-janitor"
	revoker     = "arn:aws:iam::111122223333:role/" + awscloud.RevokerRole
)

// published are the keys with which boundaries were published.
func (c *cloud) published() (keys []string) {
	for _, call := range c.aws.Calls() {
		if call.Action == "CreatePolicyVersion" && call.ErrorCode == "" {
			keys = append(keys, call.AccessKeyID)
		}
	}
	return keys
}

// TestJanitorEnds has the broker fail to end a session, and the janitor end it:
// as itself, without the base key.
func TestJanitorEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests wait for no lease")
	}
	t.Parallel()
	c := newCloud(t)
	c.aws.AddRole(sandbox.Role{ARN: janitorRole})
	story.AddBoundary(c.aws, "ReadOnly", janitorRole)
	command := func(text string, n int) sandbox.Message {
		t.Helper()
		if _, err := c.slack.Command(t.Context(), "U0ALICE", story.General, text); err != nil {
			t.Fatal(err)
		}
		return c.answer("U0ALICE", n)
	}
	command("prod-readonly 1h looking", 1)
	command("prod-readonly 1h elsewhere", 2)
	issued := c.trail("session.issued")
	if said := command("end "+issued[0].SessionID, 3).Text; !strings.Contains(said, "AWS denies it everything from now on") {
		t.Fatalf("Alice is told %q\n%s", said, c.output())
	}
	c.aws.SetFault(func(_, action string) *sandbox.Fault {
		if action == "CreatePolicyVersion" {
			return &sandbox.Fault{Status: 400, Code: "Throttling"}
		}
		return nil
	})
	if said := command("end "+issued[1].SessionID, 4).Text; !strings.Contains(said, "Starback keeps trying") {
		t.Fatalf("Alice is told %q\n%s", said, c.output())
	}
	c.queue.busy.Wait()
	c.aws.SetFault(nil)
	if n := len(c.published()); n != 1 {
		t.Fatalf("%d boundaries were published\n%s", n, c.output())
	}

	own, err := c.aws.RoleCredentials(janitorRole, "starback-test-janitor", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	j := c.start("janitor",
		"AWS_ACCESS_KEY_ID="+own.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+own.SecretAccessKey, "AWS_SESSION_TOKEN="+own.SessionToken)
	for deadline := time.Now().Add(time.Minute); len(c.published()) == 1; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("the janitor ends nothing\n%s", j.output())
		}
		if _, err := j.invoke(t.Context(), scheduled); err != nil {
			t.Fatalf("%v\n%s", err, j.output())
		}
	}
	assumed := ""
	for _, call := range c.aws.Calls() {
		if call.RoleARN == revoker && call.AccessKeyID == own.AccessKeyID {
			assumed = call.IssuedAccessKeyID
		}
	}
	if got := c.published()[1]; assumed == "" || got != assumed {
		t.Errorf("the boundary was published with %s; the janitor was given %s", got, assumed)
	}
	r, err := c.db.Request(t.Context(), issued[1].RequestID)
	if err != nil || r.Sessions[0].EndedAt.IsZero() {
		t.Errorf("the table says %+v, %v", r.Sessions, err)
	}
}
