package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/cmd/internal/config"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

//go:embed example
var exampleFiles embed.FS

// allowAll is an IAM policy. In the sandbox's AWS it gives nothing that is not
// the sandbox's.
const allowAll = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`

// Where things are in the sandbox.
const (
	sandboxRegion    = "eu-west-1"
	sandboxAccount   = "999988887777" // Starback's own
	baseParameter    = "/starback/base"
	auditChannel     = "C0AUDIT"
	approvalsChannel = "C0APPROVALS"
	generalChannel   = "C0GENERAL"
)

// people are the sandbox's, beside the policy's users: dave is in Slack and
// unknown to Starback, grace is a guest.
var people = []sandbox.SlackUser{
	{ID: "U0ALICE", Name: "alice", RealName: "Alice Ames", Email: "alice@example.com", EmailConfirmed: true, TZ: "Europe/Berlin"},
	{ID: "U0BOB", Name: "bob", RealName: "Bob Blake", Email: "bob@example.com", EmailConfirmed: true, TZ: "Europe/London"},
	{ID: "U0CAROL", Name: "carol", RealName: "Carol Chen", Email: "carol@example.com", EmailConfirmed: true, TZ: "America/New_York"},
	{ID: "U0DAVE", Name: "dave", RealName: "Dave Diaz", Email: "dave@example.com", EmailConfirmed: true, TZ: "UTC"},
	{ID: "U0ERIN", Name: "erin", RealName: "Erin East", Email: "erin@example.com", EmailConfirmed: true, TZ: "UTC"},
	{ID: "U0GRACE", Name: "grace", RealName: "Grace Gray", Email: "grace@example.com", Restricted: true, TZ: "UTC"},
}

// A world is a sandbox that runs: a stand-in AWS, a stand-in Slack, and a
// Starback that knows no other. Its code is the same as in production; only
// addresses and keys differ.
type world struct {
	slack    *sandbox.Slack
	aws      *sandbox.AWS
	service  *service
	listener net.Listener
	folder   string
	servers  []*http.Server
}

// newWorld builds a world that will serve on addr. Logs go to out.
func newWorld(ctx context.Context, addr string, out io.Writer) (w *world, err error) {
	w = &world{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.folder, err = os.MkdirTemp("", "starback-sandbox-"); err != nil {
		return nil, err
	}
	if w.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", addr); err != nil {
		return nil, err
	}
	w.slack = sandbox.NewSlack(sandbox.SlackConfig{Now: time.Now})
	slackURL, err := w.serve(ctx, w.slack)
	if err != nil {
		return nil, err
	}
	w.slack.SetURL(slackURL)
	w.slack.SetApp("http://" + w.listener.Addr().String())
	members := []string{}
	for _, person := range people {
		w.slack.AddUser(person)
		members = append(members, person.ID)
	}
	w.slack.AddChannel(sandbox.SlackChannel{ID: generalChannel, Name: "general", Members: members})
	w.slack.AddChannel(sandbox.SlackChannel{ID: approvalsChannel, Name: "starback-approvals", Members: []string{"U0BOB", "U0CAROL"}, BotIn: true})
	w.slack.AddChannel(sandbox.SlackChannel{ID: auditChannel, Name: "starback-audit", Members: []string{"U0CAROL"}, BotIn: true})

	w.aws = sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now})
	awsURL, err := w.serve(ctx, w.aws)
	if err != nil {
		return nil, err
	}
	awsCfg, err := w.setUpAWS(ctx, awsURL)
	if err != nil {
		return nil, err
	}
	cfg := config.Config{
		SigningSecret:    broker.NewSecret(w.slack.SigningSecret()),
		BotToken:         broker.NewSecret(w.slack.BotToken()),
		SlackAPI:         slackURL + "/api/",
		Teams:            []string{"T0SANDBOX"},
		Hosts:            []string{slackURL[len("http://"):]},
		Store:            w.store(),
		Base:             "ssm:" + baseParameter,
		AuditChannel:     auditChannel,
		ApprovalsChannel: approvalsChannel,
		SignIn:           awsURL + "/federation",
	}
	if err := applyExample(ctx, w.file()); err != nil {
		return nil, err
	}
	w.service, err = newService(ctx, cfg, awsCfg, out)
	return w, err
}

// serve puts a stand-in on a port of its own.
func (w *world) serve(ctx context.Context, h http.Handler) (url string, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	w.servers = append(w.servers, server)
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), nil
}

// setUpAWS makes the accounts that the example policy speaks of, and
// Starback's own key in SSM.
func (w *world) setUpAWS(ctx context.Context, url string) (aws.Config, error) {
	key := w.aws.AddUser(sandboxAccount, "starback")
	file, err := loadExample()
	if err != nil {
		return aws.Config{}, err
	}
	bounded := map[string]bool{}
	for _, role := range file.Document.Roles {
		boundary := cloud.BoundaryARN(role)
		if !bounded[boundary] {
			w.aws.AddPolicy(boundary, allowAll)
			bounded[boundary] = true
		}
		w.aws.AddRole(sandbox.Role{
			ARN: role.ARN, MaxSessionDuration: role.MaxDuration, Permissions: allowAll, Boundary: boundary,
			Trust: sandbox.Trust{Principals: []string{key.ARN}, TagSession: true, SetSourceIdentity: true},
		})
	}
	for _, account := range file.Document.Accounts {
		w.aws.AddRole(sandbox.Role{
			ARN: "arn:aws:iam::" + account.ID + ":role/" + cloud.RevokerRole, Permissions: allowAll,
			Trust: sandbox.Trust{Principals: []string{key.ARN}},
		})
	}
	value, err := json.Marshal(map[string]string{"access_key_id": key.AccessKeyID, "secret_access_key": key.SecretAccessKey})
	if err != nil {
		return aws.Config{}, err
	}
	w.aws.PutParameter(baseParameter, string(value), true)
	return awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithRegion(sandboxRegion), awsconfig.WithBaseEndpoint(url),
		awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, "")),
		awsconfig.WithSharedConfigFiles([]string{}), awsconfig.WithSharedCredentialsFiles([]string{}))
}

// loadExample parses the example policy.
func loadExample() (*policy.File, error) {
	files, err := fs.Sub(exampleFiles, "example")
	if err != nil {
		return nil, err
	}
	return policy.Load(files, "policy.yaml")
}

// applyExample loads the example policy and people into a new store, by the
// way that `starback apply` goes.
func applyExample(ctx context.Context, path string) error {
	file, err := loadExample()
	if err != nil {
		return err
	}
	db, err := store.OpenSQLite(ctx, path, store.SQLiteOptions{})
	if err != nil {
		return err
	}
	defer db.Close()
	admin := newAdmin(db, broker.Author{Name: "sandbox"})
	plan, err := admin.Plan(ctx, file, false)
	if err != nil {
		return err
	}
	return admin.Apply(ctx, plan, broker.ApplyOptions{Message: "the sandbox's example"})
}

// run serves the world until ctx ends.
func (w *world) run(ctx context.Context) error {
	defer w.close()
	return w.service.run(ctx, w.listener, map[string]http.Handler{"/sandbox/": w.slack.Control()})
}

// file is where the store is, and store what STARBACK_STORE calls it.
func (w *world) file() string  { return filepath.Join(w.folder, "starback.db") }
func (w *world) store() string { return "file:" + w.file() }

// addr is where the world's Starback listens.
func (w *world) addr() string { return w.listener.Addr().String() }

// close ends the stand-ins and removes the store.
func (w *world) close() {
	for _, server := range w.servers {
		_ = server.Close()
	}
	if w.listener != nil {
		_ = w.listener.Close()
	}
	if w.folder != "" {
		_ = os.RemoveAll(w.folder)
	}
}

// serveSandbox is serve --sandbox.
func (p *program) serveSandbox(ctx context.Context, addr string) error {
	if !config.LoopbackHost(addr) {
		return usageError{fmt.Errorf("--addr %s: the sandbox listens on this machine only", addr)}
	}
	w, err := newWorld(ctx, addr, p.stdout)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, `
Starback runs in a sandbox on http://%[1]s. Nothing in it is real: neither its
Slack, nor its AWS, nor any credentials it hands out.

Type into it from another terminal, as alice, bob, carol, dave, erin or grace:

    %[3]s demo%[2]s --as alice '/starback prod-readonly 1h INC-1 looking'
    %[3]s demo%[2]s --as bob '/starback roles'
    %[3]s demo%[2]s --as bob '/starback prod-admin 1h INC-1 the disk is full'
    %[3]s demo%[2]s --as carol --click Approve
    %[3]s demo%[2]s --as bob --click Reveal
    %[3]s demo%[2]s --channel starback-audit

Administer it, and ask as an application:

    export STARBACK_STORE=%[4]s
    %[3]s who-can prod-admin
    TOKEN=$(%[3]s token create ci-deploy --any-role)
    curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
      http://%[1]s/v1/credentials -d '{"role": "prod-readonly"}'

Ctrl-C ends it, and its store goes with it. Its log follows.

`, w.addr(), atAddr(w.addr()), os.Args[0], w.store())
	return w.run(ctx)
}

// atAddr is the flag that finds a sandbox which is not where it usually is.
func atAddr(addr string) string {
	if addr == defaultAddr {
		return ""
	}
	return " --addr " + addr
}
