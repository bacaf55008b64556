package story

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// MainJob is the main job, end to end: a signed command over HTTP becomes
// credentials that work, in a message that only the requester sees, with the
// trail in the log, the store and the channel.
func MainJob(h *House) {
	t := h.T
	ack := h.Types("U0ALICE", "prod-readonly 1h INC-4711 checking queue depth")
	if ack.Status != http.StatusOK || len(ack.Body) != 0 {
		t.Fatalf("the command was answered %d %q", ack.Status, ack.Body)
	}
	keys := Pasted(t, h.Answer("U0ALICE", 1))

	// Only she sees it.
	for _, other := range []string{"U0BOB", "U0CAROL"} {
		for _, m := range h.Slack.Seen(other) {
			if strings.Contains(string(m.Blocks)+m.Text, keys["AWS_SECRET_ACCESS_KEY"]) {
				t.Errorf("%s sees the credentials", other)
			}
		}
	}

	// The trail names one Session everywhere.
	asked, issued := h.WaitForTrail("request.asked", 1)[0], h.WaitForTrail("session.issued", 1)[0]
	if issued.Actor != "alice" || issued.Role != "prod-readonly" || issued.AccountID != "111122223333" || issued.Ticket != "INC-4711" ||
		issued.Reason != "checking queue depth" || issued.Decision != "allow" || issued.Outcome != "ok" || issued.AccessKeyID != keys["AWS_ACCESS_KEY_ID"] ||
		issued.PolicyVersion == 0 || issued.ExpiresAt == "" || issued.SessionID == "" || asked.SessionID != issued.SessionID || asked.RequestID != issued.RequestID {
		t.Errorf("the trail says\n%+v\n%+v", asked, issued)
	}
	h.knownAs(keys, regexp.MustCompile(`^arn:aws:sts::111122223333:assumed-role/(starback/)?ReadOnly/alice@`+issued.SessionID+`$`))

	// The audit channel tells of it, without being able to use it.
	told := h.Channel(Audit, issued.SessionID)
	if strings.Contains(told, keys["AWS_SECRET_ACCESS_KEY"]) || !strings.Contains(told, "checking queue depth") {
		t.Errorf("the audit channel says\n%s", told)
	}

	// The very same bytes again: answered, and nothing minted.
	if again, err := ack.Request.Send(t.Context()); err != nil || again.Status != http.StatusOK {
		t.Errorf("the replay was answered %d, %v", again.Status, err)
	}
	h.Answer("U0ALICE", 2)
	if n := h.Assumed(); n != 1 {
		t.Errorf("AWS was asked for %d sessions for one command", n)
	}
	if h.AWS != nil { // no other engine has a sign-in endpoint
		h.consoleWorks()
	}

	h.Stop()
	if h.AWS != nil {
		h.TrueTrail()
	}
	h.NoLeaks(keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"][:100])
}

// knownAs asks AWS, with keys, whose they are: by the SDK, and where the machine
// has it, by the AWS CLI.
func (h *House) knownAs(keys Keys, want *regexp.Regexp) {
	h.T.Run("SDK", func(t *testing.T) {
		out, err := sts.NewFromConfig(h.Client(keys)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatal(err)
		}
		if !want.MatchString(aws.ToString(out.Arn)) {
			t.Errorf("AWS knows the caller as %s, want %s", aws.ToString(out.Arn), want)
		}
	})
	h.T.Run("CLI", func(t *testing.T) {
		if testing.Short() {
			t.Skip("unit tests run no AWS CLI")
		}
		cli, err := exec.LookPath("aws")
		if err != nil {
			t.Skip("the AWS CLI is not on this machine; the SDK has made the same call")
		}
		cmd := exec.CommandContext(t.Context(), cli, "sts", "get-caller-identity", "--output", "json", "--region", "eu-west-1", "--endpoint-url", h.AWSWire.URL)
		// The machine's own environment: the CLI may need it to run.
		cmd.Env = append(os.Environ(), "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
		for name, value := range keys {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		out, err := cmd.CombinedOutput()
		var who struct{ Arn string }
		if err != nil || json.Unmarshal(out, &who) != nil || !want.MatchString(who.Arn) {
			t.Errorf("aws sts get-caller-identity: %v, %s, want %s", err, out, want)
		}
	})
}

// consoleWorks follows the console link of a message.
func (h *House) consoleWorks() {
	h.T.Helper()
	h.Types("U0BOB", "prod-console")
	link := consoleLink(h.T, h.Answer("U0BOB", 1))
	res, err := http.Get(link)
	if err != nil {
		h.T.Fatal("the console link cannot be followed")
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(page), "bob@"+h.WaitForTrail("session.issued", 2)[1].SessionID) {
		h.T.Errorf("the console answered %d %s", res.StatusCode, page)
	}
}

// Replays delivers one command many times at once: one set of credentials is
// made and shown.
func Replays(h *House) {
	t := h.T
	ack := h.Types("U0ALICE", "prod-readonly 1h INC-1 looking")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if again, err := ack.Request.Send(t.Context()); err != nil || again.Status != http.StatusOK {
				t.Errorf("a replay was answered %d, %v", again.Status, err)
			}
		})
	}
	wg.Wait()
	h.Hears(SaysIssued, 1)
	h.Stop()
	if asked, shown := h.Assumed(), h.Shown("U0ALICE"); asked != 1 || len(shown) != 1 {
		t.Errorf("AWS was asked for %d sessions, and the keys %q were shown", asked, shown)
	}
	if n := len(h.Trail("session.issued")); n != 1 {
		t.Errorf("the trail has %d sessions", n)
	}
	h.TrueTrail()
}
