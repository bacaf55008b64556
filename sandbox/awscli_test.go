package sandbox_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/starback/starback/sandbox"
)

// TestAWSCLI drives the sandbox with the AWS command line, which signs its
// calls with other code than the SDK's.
func TestAWSCLI(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests run no AWS command line")
	}
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS command line is not on PATH")
	}
	w := newAWSWorld(t)
	w.PutParameter("/starback/base", "hidden", true)
	nowhere := filepath.Join(t.TempDir(), "none")
	run := func(c sandbox.Credentials, out any, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), path, append([]string{"--endpoint-url", w.URL, "--region", "eu-west-1", "--output", "json"}, args...)...)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
			"AWS_CONFIG_FILE=" + nowhere, "AWS_SHARED_CREDENTIALS_FILE=" + nowhere, "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1",
			"AWS_ACCESS_KEY_ID=" + c.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + c.SecretAccessKey,
		}
		if c.SessionToken != "" {
			cmd.Env = append(cmd.Env, "AWS_SESSION_TOKEN="+c.SessionToken)
		}
		cmd.Stderr = t.Output()
		b, err := cmd.Output()
		if err != nil {
			t.Fatalf("aws %v: %v", args, err)
		}
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("aws %v: %v in %s", args, err, b)
		}
	}
	user := sandbox.Credentials{AccessKeyID: w.User.AccessKeyID, SecretAccessKey: w.User.SecretAccessKey}

	var assumed struct {
		Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	}
	run(user, &assumed, "sts", "assume-role", "--role-arn", awsRole, "--role-session-name", "alice@1",
		"--source-identity", "alice", "--tags", "Key=team,Value=équipe 1", "--policy", stsPolicy(300))
	session := sandbox.Credentials{
		AccessKeyID:     assumed.Credentials.AccessKeyID,
		SecretAccessKey: assumed.Credentials.SecretAccessKey,
		SessionToken:    assumed.Credentials.SessionToken,
	}
	var who struct{ Arn string }
	run(session, &who, "sts", "get-caller-identity")
	if want := "arn:aws:sts::" + awsAccount + ":assumed-role/ReadOnly/alice@1"; who.Arn != want {
		t.Errorf("the session is %s, want %s", who.Arn, want)
	}
	var parameter struct{ Parameter struct{ Value string } }
	run(session, &parameter, "ssm", "get-parameter", "--name", "/starback/base", "--with-decryption")
	if parameter.Parameter.Value != "hidden" {
		t.Errorf("the parameter is %q", parameter.Parameter.Value)
	}
}
