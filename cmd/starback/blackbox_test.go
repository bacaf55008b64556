package main

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/motolocal"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// The stories, told of serve, on each store.

func TestPeopleWhoAreRefused(t *testing.T)    { tell(t, story.PeopleWhoAreRefused) }
func TestRequestsThatAreRefused(t *testing.T) { tell(t, story.RequestsThatAreRefused) }
func TestReplays(t *testing.T)                { tell(t, story.Replays) }
func TestForms(t *testing.T)                  { long(t); tell(t, story.Forms) }
func TestApproval(t *testing.T)               { tell(t, story.Approval) }
func TestShortcuts(t *testing.T)              { tell(t, story.Shortcuts) }
func TestLess(t *testing.T)                   { tell(t, story.Less) }
func TestVoid(t *testing.T)                   { tell(t, story.Void) }
func TestReminders(t *testing.T)              { long(t); tell(t, story.Reminders) }

// TestMainJob is told also of moto, where the machine has it.
func TestMainJob(t *testing.T) {
	t.Run("sandbox", func(t *testing.T) { tell(t, story.MainJob) })
	t.Run("moto", func(t *testing.T) {
		t.Parallel()
		onEachStore(t, func(t *testing.T, k *keeper) { story.MainJob(motoHouse(t, k).House) })
	})
}

// TestApplications is told also of moto, where the machine has it.
func TestApplications(t *testing.T) {
	long(t)
	t.Run("sandbox", func(t *testing.T) {
		t.Parallel()
		onEachStore(t, func(t *testing.T, k *keeper) { applications(newHouse(t, k)) })
	})
	t.Run("moto", func(t *testing.T) {
		t.Parallel()
		onEachStore(t, func(t *testing.T, k *keeper) { applications(motoHouse(t, k)) })
	})
}

// applications tells of an application, whose token the binary makes.
func applications(h *house) {
	story.Applications(h.House, func(args ...string) string {
		h.T.Helper()
		cmd := exec.Command(binary, args...)
		cmd.Env = h.env
		out, err := cmd.Output()
		if err != nil {
			h.T.Fatalf("starback %s %s: %v", args[0], args[1], err)
		}
		return string(out)
	})
}

func TestSessions(t *testing.T) {
	long(t)
	tell(t, func(h *story.House) {
		story.AddBoundary(h.AWS, "Console")
		story.Sessions(h)
	})
}

func TestEnd(t *testing.T) {
	long(t)
	tell(t, func(h *story.House) {
		story.AddBoundary(h.AWS, "ReadOnly")
		story.End(h)
	})
}

func TestWindows(t *testing.T) {
	long(t)
	tell(t, func(h *story.House) {
		story.AddBoundary(h.AWS, "ReadOnly")
		story.Windows(h)
	})
}

func TestUnshown(t *testing.T) {
	long(t)
	tell(t, func(h *story.House) {
		story.AddBoundary(h.AWS, "ReadOnly")
		story.Unshown(h)
	})
}

// tell tells a story on each store.
func tell(t *testing.T, story func(*story.House)) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) { story(newHouse(t, k).House) })
}

// awsEnvironment points the SDK at an engine. Starback's base credentials are
// in SSM; the key in the environment reads them.
func awsEnvironment(url string, key sandbox.Key) []string {
	return []string{
		"AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL=" + url, "AWS_ACCESS_KEY_ID=" + key.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + key.SecretAccessKey,
		"STARBACK_BASE=ssm:" + baseParameter, "STARBACK_SIGNIN_URL=" + url + "/federation",
	}
}

// motoHouse is a house with moto for AWS.
func motoHouse(t *testing.T, k *keeper) *house {
	t.Helper()
	url := motolocal.Start(t)
	key := sandbox.Key{AccessKeyID: "AKIAEXAMPLEEXAMPLE00", SecretAccessKey: "moto-accepts-any-secret"}
	const secret = "moto-base-secret-not-to-be-seen"
	_, err := ssm.NewFromConfig(story.Client(t, url, key.AccessKeyID, key.SecretAccessKey, "")).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String(baseParameter), Type: "SecureString",
		Value: aws.String(fmt.Sprintf(`{"access_key_id":%q,"secret_access_key":%q}`, key.AccessKeyID, secret)),
	})
	if err != nil {
		t.Fatal(err)
	}
	wire := faultproxy.New(t, url, faultproxy.Action)
	h := newHouse(t, k, awsEnvironment(wire.URL, key)...) // the last of a name holds
	h.AWS, h.AWSWire, h.Secrets = nil, wire, []string{secret}
	return h
}
