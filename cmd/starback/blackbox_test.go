package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/sandbox"
)

// An engine answers as AWS: STS with a role for the test policy, and SSM with
// Starback's key.
type engine struct {
	wire    *faultproxy.Proxy // in front of it
	env     []string
	secrets []string // what must not be found anywhere
	console bool     // it has a sign-in endpoint
}

var engines = map[string]func(*testing.T) engine{"sandbox": sandboxEngine, "moto": motoEngine}

func sandboxEngine(t *testing.T) engine {
	cloud := sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now, TokenSize: 4096})
	server := httptest.NewServer(cloud)
	t.Cleanup(server.Close)
	wire := faultproxy.New(t, server.URL, faultproxy.Action)
	return engine{wire: wire, env: useSandbox(t, cloud, wire.URL), secrets: []string{sandbox.Marker}, console: true}
}

// useSandbox puts the test policy's roles and Starback's key into a sandbox's
// AWS, and returns the environment that points there.
func useSandbox(t *testing.T, cloud *sandbox.AWS, url string) []string {
	t.Helper()
	key := cloud.AddUser("999988887777", "starback")
	for _, name := range []string{"ReadOnly", "Console"} {
		cloud.AddRole(sandbox.Role{
			ARN: "arn:aws:iam::111122223333:role/starback/" + name, MaxSessionDuration: 12 * time.Hour,
			Trust: sandbox.Trust{Principals: []string{key.ARN}, TagSession: true, SetSourceIdentity: true},
		})
	}
	value := fmt.Sprintf(`{"access_key_id":%q,"secret_access_key":%q}`, key.AccessKeyID, key.SecretAccessKey)
	cloud.PutParameter("/starback/base", value, true)
	return awsEnvironment(url, key.AccessKeyID, key.SecretAccessKey)
}

// awsEnvironment points the SDK at an engine. Starback's base credentials are
// in SSM; the key in the environment reads them.
func awsEnvironment(url, id, secret string) []string {
	return []string{
		"AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL=" + url, "AWS_ACCESS_KEY_ID=" + id, "AWS_SECRET_ACCESS_KEY=" + secret,
		"STARBACK_BASE=ssm:/starback/base", "STARBACK_SIGNIN_URL=" + url + "/federation",
	}
}

// motoEngine is moto, where the machine has it.
func motoEngine(t *testing.T) engine {
	if testing.Short() {
		t.Skip("unit tests start no engines")
	}
	moto, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("moto_server is not on this machine; the sandbox's AWS stands in for it")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	server := exec.Command(moto, "-H", "127.0.0.1", "-p", port)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	address := "127.0.0.1:" + port
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("moto does not listen")
		}
	}
	wire := faultproxy.New(t, "http://"+address, faultproxy.Action)
	cfg := awsClient(t, wire.URL, "AKIAEXAMPLEEXAMPLE00", "moto-accepts-any-secret", "")
	secret := "moto-base-secret-not-to-be-seen"
	_, err = ssm.NewFromConfig(cfg).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String("/starback/base"), Type: "SecureString",
		Value: aws.String(fmt.Sprintf(`{"access_key_id":"AKIAEXAMPLEEXAMPLE00","secret_access_key":%q}`, secret)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return engine{
		wire: wire, env: awsEnvironment(wire.URL, "AKIAEXAMPLEEXAMPLE00", "moto-accepts-any-secret"),
		secrets: []string{secret, sandbox.Marker},
	}
}

func awsClient(t *testing.T, endpoint, id, secret, token string) aws.Config {
	t.Helper()
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(),
		awsconfig.WithRegion("eu-west-1"), awsconfig.WithBaseEndpoint(endpoint),
		awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(id, secret, token)))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestMainJob is the main job, end to end, on the built binary: a signed
// command over HTTP becomes credentials that work, in a message only the
// requester sees, with the trail in the log, the store and the channel.
func TestMainJob(t *testing.T) {
	t.Parallel()
	for name, newEngine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachStore(t, func(t *testing.T, k *keeper) { mainJob(t, newEngine(t), k) })
		})
	}
}

// mainJob is TestMainJob with one AWS and one store.
func mainJob(t *testing.T, e engine, k *keeper) {
	slack, slackURL := newSlack(t)
	env := append(append(slackEnvironment(slack, slackURL), e.env...), k.env...)
	if err := apply(env); err != nil {
		t.Fatal(err)
	}
	p := start(t, env)
	slack.SetApp("http://" + p.addr)

	if status, body := p.get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d %s", status, body)
	}
	if status, body := p.get("/readyz"); status != 200 || !strings.Contains(body, `"aws":"ok"`) {
		t.Errorf("/readyz: %d %s", status, body)
	}

	ack, err := slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h INC-4711 checking queue depth")
	if err != nil || ack.Status != 200 || len(ack.Body) != 0 {
		t.Fatalf("the command was answered %d %q, %v", ack.Status, ack.Body, err)
	}
	message := answer(t, slack, "U0ALICE", 1)
	keys := pasted(t, message)

	// Only she sees it.
	for _, other := range []string{"U0BOB", "U0CAROL"} {
		for _, m := range slack.Seen(other) {
			if strings.Contains(string(m.Blocks)+m.Text, keys["AWS_SECRET_ACCESS_KEY"]) {
				t.Errorf("%s sees the credentials", other)
			}
		}
	}

	// The trail names one Session everywhere.
	asked, issued := p.waitForTrail("request.asked", 1)[0], p.waitForTrail("session.issued", 1)[0]
	if issued.Actor != "alice" || issued.Role != "prod-readonly" || issued.AccountID != "111122223333" || issued.Ticket != "INC-4711" ||
		issued.Reason != "checking queue depth" || issued.Decision != "allow" || issued.Outcome != "ok" || issued.AccessKeyID != keys["AWS_ACCESS_KEY_ID"] ||
		issued.PolicyVersion != 2 || issued.ExpiresAt == "" || issued.SessionID == "" || asked.SessionID != issued.SessionID || asked.RequestID != issued.RequestID {
		t.Errorf("the trail says\n%+v\n%+v", asked, issued)
	}
	want := regexp.MustCompile(`^arn:aws:sts::111122223333:assumed-role/(starback/)?ReadOnly/alice@` + issued.SessionID + `$`)

	t.Run("SDK", func(t *testing.T) {
		cfg := awsClient(t, e.wire.URL, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"])
		out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatal(err)
		}
		if !want.MatchString(aws.ToString(out.Arn)) {
			t.Errorf("AWS knows the caller as %s, want %s", aws.ToString(out.Arn), want)
		}
	})
	t.Run("CLI", func(t *testing.T) {
		if testing.Short() {
			t.Skip("unit tests run no AWS CLI")
		}
		cli, err := exec.LookPath("aws")
		if err != nil {
			t.Skip("the AWS CLI is not on this machine; the SDK has made the same call")
		}
		cmd := exec.Command(cli, "sts", "get-caller-identity", "--output", "json", "--region", "eu-west-1", "--endpoint-url", e.wire.URL)
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

	// The audit channel tells of it, without being able to use it.
	told := waitForChannel(t, slack, audit, issued.SessionID)
	if strings.Contains(told, keys["AWS_SECRET_ACCESS_KEY"]) || !strings.Contains(told, "checking queue depth") {
		t.Errorf("the audit channel says\n%s", told)
	}

	// The very same bytes again: answered, and nothing minted.
	if again, err := ack.Request.Send(t.Context()); err != nil || again.Status != 200 {
		t.Errorf("the replay was answered %d, %v", again.Status, err)
	}
	answer(t, slack, "U0ALICE", 2)
	if n := sessionsAsked(e.wire); n != 1 {
		t.Errorf("AWS was asked for %d sessions for one command", n)
	}

	if e.console {
		consoleWorks(t, slack, p)
	}

	p.stop()
	k.dump(t)
	secrets := append([]string{keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"][:100], slack.SigningSecret(), slack.BotToken(), slackURL + "/commands/"}, e.secrets...)
	if found := leaks(t, k.folder, p.output(), secrets...); len(found) > 0 {
		t.Errorf("a secret is in %s", strings.Join(found, ", "))
	}
	// The search does find what is there.
	planted := filepath.Join(k.folder, "planted")
	if err := os.WriteFile(planted, []byte("x"+secrets[0]+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := leaks(t, k.folder, "", secrets...); len(found) != 1 || found[0] != "planted" {
		t.Errorf("the search for secrets found %q, not the planted one", found)
	}
}

// consoleWorks follows the console link that a message holds.
func consoleWorks(t *testing.T, slack *sandbox.Slack, p *process) {
	t.Helper()
	if _, err := slack.Command(t.Context(), "U0BOB", general, "prod-console"); err != nil {
		t.Fatal(err)
	}
	link := consoleLink(t, answer(t, slack, "U0BOB", 1))
	res, err := http.Get(link)
	if err != nil {
		t.Fatal("the console link cannot be followed")
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(page), "bob@"+p.waitForTrail("session.issued", 2)[1].SessionID) {
		t.Errorf("the console answered %d %s", res.StatusCode, page)
	}
}

// texts returns the text of each block of a message, and the URLs of its
// buttons.
func texts(t *testing.T, m sandbox.Message) (sections, links []string) {
	t.Helper()
	var blocks []struct {
		Type     string
		Text     struct{ Text string }
		Elements []struct{ URL string }
	}
	if err := json.Unmarshal(m.Blocks, &blocks); err != nil {
		t.Fatalf("%v in a message", err)
	}
	for _, b := range blocks {
		if b.Type == "section" {
			sections = append(sections, strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(b.Text.Text))
		}
		for _, e := range b.Elements {
			if e.URL != "" {
				links = append(links, e.URL)
			}
		}
	}
	return sections, links
}

// codeBlocks returns what a message holds to copy.
func codeBlocks(t *testing.T, m sandbox.Message) []string {
	t.Helper()
	sections, _ := texts(t, m)
	var out []string
	for _, s := range sections {
		if inner, ok := strings.CutPrefix(s, "```\n"); ok {
			out = append(out, strings.TrimSuffix(inner, "\n```"))
		}
	}
	return out
}

// pasted pastes a message's blocks into a shell, one after the other, and
// returns the environment that they make.
func pasted(t *testing.T, m sandbox.Message) map[string]string {
	t.Helper()
	blocks := codeBlocks(t, m)
	if len(blocks) == 0 {
		t.Fatalf("no credentials in the message %q", m.Text)
	}
	shell := exec.Command("bash", "--norc", "--noprofile", "-s")
	shell.Env = []string{"PATH=" + os.Getenv("PATH")}
	shell.Stdin = strings.NewReader(strings.Join(blocks, "\n") + "\nenv\n")
	out, err := shell.Output()
	if err != nil {
		t.Fatal("the blocks cannot be pasted into bash")
	}
	keys := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if strings.HasPrefix(name, "AWS_") {
			keys[name] = value
		}
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		if keys[name] == "" {
			t.Fatalf("pasting sets no %s", name)
		}
	}
	return keys
}

// consoleLink returns the console link of a message: on a button, or in parts.
func consoleLink(t *testing.T, m sandbox.Message) string {
	t.Helper()
	_, links := texts(t, m)
	if len(links) == 1 {
		return links[0]
	}
	var link strings.Builder
	for _, block := range codeBlocks(t, m) {
		if strings.HasPrefix(block, "export ") {
			break
		}
		link.WriteString(block)
	}
	if link.Len() == 0 {
		t.Fatalf("no console link in the message %q", m.Text)
	}
	return link.String()
}

// waitForChannel waits until a channel says something, and returns all that it
// says.
func waitForChannel(t *testing.T, slack *sandbox.Slack, channel, something string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var all string
	_, err := slack.WaitFor(ctx, "U0CAROL", func([]sandbox.Message) bool {
		all = ""
		for _, m := range slack.Channel(channel) {
			all += sandbox.Text(m, sandbox.RenderOptions{Width: 1000}) + "\n"
		}
		return strings.Contains(all, something)
	})
	if err != nil {
		t.Fatalf("%s does not tell of %s:\n%s", channel, something, all)
	}
	return all
}
