// Package config is how Starback's programs are told what to do: by the
// environment, by flags, and by files and SSM parameters that those name.
package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/store"
)

// Names of the environment.
const (
	SigningSecret = "SLACK_SIGNING_SECRET"
	BotToken      = "SLACK_BOT_TOKEN"
	AppToken      = "SLACK_APP_TOKEN"
	SlackAPI      = "SLACK_API_URL"
	Teams         = "STARBACK_SLACK_TEAMS"
	Hosts         = "STARBACK_RESPONSE_HOSTS"
	Store         = "STARBACK_STORE"
	Base          = "STARBACK_BASE"
	Audit         = "STARBACK_AUDIT_CHANNEL"
	Approvals     = "STARBACK_APPROVALS_CHANNEL"
	SignIn        = "STARBACK_SIGNIN_URL"
)

// Settings are what a program is told, each by a name of the environment. A value
// file:PATH is read from that file, and ssm:/path from that SSM parameter.
type Settings map[string]string

// Flags gives the settings that a flag overrides. Secrets have none: a command
// line is seen by everybody on the machine.
var Flags = map[string]struct{ Flag, Usage string }{
	Store:     {"store", "where everything is kept: file:PATH or dynamodb:TABLE"},
	Base:      {"base", `base credentials: "default" for the AWS chain, or "ssm:/path"`},
	Teams:     {"slack-teams", "comma-separated Slack team or enterprise ids that are ours"},
	Audit:     {"audit-channel", "Slack channel id that the audit trail is posted to"},
	Approvals: {"approvals-channel", "Slack channel id in which approvers are asked"},
	Hosts:     {"response-hosts", "comma-separated hosts a response_url may point to"},
	SlackAPI:  {"slack-api-url", "another Slack Web API base (loopback only)"},
	SignIn:    {"signin-url", "another console sign-in endpoint (loopback only)"},
}

// Names are all settings, in the order in which they are looked at.
var Names = []string{
	SigningSecret, BotToken, AppToken, SlackAPI, Teams, Hosts, Store, Base, Audit, Approvals, SignIn,
}

// Read takes Settings from the environment.
func Read(getenv func(string) string) Settings {
	s := Settings{}
	for _, name := range Names {
		s[name] = strings.TrimSpace(getenv(name))
	}
	return s
}

// Resolve reads the values that are kept in files and in SSM. STARBACK_STORE
// and STARBACK_BASE are not looked into: there the prefix is part of the value.
func (s Settings) Resolve(ctx context.Context, cfg aws.Config) error {
	var problems []error
	for _, name := range Names {
		if name == Store || name == Base {
			continue
		}
		if path, ok := strings.CutPrefix(s[name], "file:"); ok {
			b, err := os.ReadFile(path)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
				continue
			}
			s[name] = strings.TrimSpace(string(b))
		} else if path, ok := strings.CutPrefix(s[name], "ssm:"); ok {
			value, err := cloud.Parameter(ctx, cfg, path)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
				continue
			}
			s[name] = strings.TrimSpace(value.Reveal())
		}
	}
	return errors.Join(problems...)
}

// A Config is Settings that make sense.
type Config struct {
	SigningSecret, BotToken, AppToken broker.Secret
	SlackAPI                          string   // ends in a slash; empty: Slack's own
	Teams, Hosts                      []string // Slack's ids that are ours; hosts of response URLs
	Store                             string   // where everything is kept, as store.Open reads it
	Table                             string   // its name, if that is a DynamoDB table
	Base                              string
	AuditChannel                      string // empty: no audit is posted
	ApprovalsChannel                  string // empty: nobody can be asked to approve
	SignIn                            string // empty: AWS's own
}

// slackID says whether s is an id of Slack's that begins with one of first: of
// a team or enterprise, T or E; of a channel, C or G.
func slackID(s, first string) bool {
	const most = 32 // bytes, our own limit
	return len(s) > 1 && len(s) <= most && strings.ContainsRune(first, rune(s[0])) &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// Check makes a Config of Settings for a program that does everything, without
// touching the network. All that is wrong is said at once, a line each.
func (s Settings) Check() (Config, error) {
	return s.check(SigningSecret, BotToken, Teams, Store)
}

// CheckFront is Check for a program that only takes in what Slack sends, and
// opens forms that show what the store says.
func (s Settings) CheckFront() (Config, error) { return s.check(SigningSecret, BotToken, Teams, Store) }

// CheckJanitor is Check for a program that only passes on what is due.
func (s Settings) CheckJanitor() (Config, error) { return s.check(BotToken, Store) }

// check makes a Config in which the settings needed are there, and the others
// make sense if they are.
func (s Settings) check(needed ...string) (Config, error) {
	need := func(name string) bool { return slices.Contains(needed, name) }
	var problems []error
	wrong := func(name, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: "+format, append([]any{name}, args...)...))
	}
	c := Config{
		SigningSecret:    broker.NewSecret(s[SigningSecret]),
		BotToken:         broker.NewSecret(s[BotToken]),
		AppToken:         broker.NewSecret(s[AppToken]),
		Base:             s[Base],
		AuditChannel:     s[Audit],
		ApprovalsChannel: s[Approvals],
		Teams:            list(s[Teams]),
		Hosts:            list(s[Hosts]),
	}
	if need(SigningSecret) && s[SigningSecret] == "" {
		wrong(SigningSecret, "not set; it stands under Basic Information in the Slack app's settings")
	}
	if need(BotToken) && !strings.HasPrefix(s[BotToken], "xoxb-") {
		wrong(BotToken, "want a bot token, which begins with xoxb-; it stands under OAuth & Permissions")
	}
	if s[AppToken] != "" && !strings.HasPrefix(s[AppToken], "xapp-") {
		wrong(AppToken, "want an app-level token, which begins with xapp-")
	}
	if need(Teams) && len(c.Teams) == 0 {
		wrong(Teams, "not set; name the Slack team ids (T…) or the enterprise id (E…) to serve")
	}
	for _, team := range c.Teams {
		if !slackID(team, "TE") {
			wrong(Teams, "%q is not a team or enterprise id such as T012AB", team)
		}
	}
	if len(c.Hosts) == 0 {
		c.Hosts = []string{"hooks.slack.com"}
	}
	for _, host := range c.Hosts {
		if host != "hooks.slack.com" && !LoopbackHost(host) {
			wrong(Hosts, "%q is neither hooks.slack.com nor on this machine", host)
		}
	}
	if spec, err := StoreSpec(s[Store]); !need(Store) {
		c.Store = ""
	} else if err != nil {
		wrong(Store, "%v", err)
	} else if c.Store = spec.String(); spec.Engine == store.EngineDynamoDB {
		c.Table = spec.Name
	}
	switch {
	case c.Base == "":
		c.Base = "default"
	case c.Base != "default" && !strings.HasPrefix(c.Base, "ssm:/"):
		wrong(Base, `neither "default" nor "ssm:/path"`) // not shown: it could be a key, pasted here by mistake
	}
	for _, name := range []string{Audit, Approvals} {
		if s[name] != "" && !slackID(s[name], "CG") {
			wrong(name, "%q is not a channel id such as C012AB; a name will not do", s[name])
		}
	}
	if c.SlackAPI = s[SlackAPI]; c.SlackAPI != "" {
		if err := OnLoopback(c.SlackAPI); err != nil {
			wrong(SlackAPI, "%v", err)
		}
		c.SlackAPI = strings.TrimSuffix(c.SlackAPI, "/") + "/"
	}
	if c.SignIn = s[SignIn]; c.SignIn != "" {
		if err := OnLoopback(c.SignIn); err != nil {
			wrong(SignIn, "%v", err)
		}
	}
	return c, errors.Join(problems...)
}

// StoreSpec reads STARBACK_STORE.
func StoreSpec(value string) (store.Spec, error) {
	if value == "" {
		return store.Spec{}, errors.New("not set; say where to keep everything, as in file:/var/lib/starback/starback.db or dynamodb:starback")
	}
	return store.ParseSpec(value)
}

// vendorHost are the hosts of the services that Starback calls: AWS's names for
// them, and none that a customer could have AWS answer on.
var vendorHost = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:vpce-[a-z0-9-]+\.)?(?:sts|iam|ssm|dynamodb|sqs)(?:-fips)?\.(?:[a-z0-9-]+\.)?(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)$`)
})

// CheckEndpoints refuses AWS endpoints that are neither AWS's nor on this
// machine: whoever answers there is given credentials.
func CheckEndpoints(environ []string) error {
	var problems []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "AWS_ENDPOINT_URL") || value == "" {
			continue
		}
		u, err := url.Parse(value)
		vendor := err == nil && u.Scheme == "https" && u.User == nil && vendorHost().MatchString(u.Hostname())
		if !vendor && OnLoopback(value) != nil {
			problems = append(problems, fmt.Errorf("%s: an endpoint must be AWS's own over https, or on this machine", name))
		}
	}
	return errors.Join(problems...)
}

// OnLoopback refuses URLs that lead off this machine.
func OnLoopback(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || !LoopbackHost(u.Host) {
		return fmt.Errorf("%q is not an http URL on this machine, as in http://127.0.0.1:8000/", raw)
	}
	return nil
}

// LoopbackHost says whether HOST or HOST:PORT is this machine itself.
func LoopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// list splits a comma-separated value.
func list(value string) []string {
	var out []string
	for word := range strings.SplitSeq(value, ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	return out
}

// awsPatience is how long AWS may take to answer one try of one call. The SDK
// itself would wait for ever.
const awsPatience = 10 * time.Second

// LoadAWS returns the SDK's configuration, from its own environment and files.
// It does not touch the network.
func LoadAWS(ctx context.Context) (aws.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(awsPatience)))
	if err != nil {
		return aws.Config{}, fmt.Errorf("the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return aws.Config{}, errors.New("AWS_REGION: not set; say in which Region to call AWS, as in eu-west-1")
	}
	return cfg, nil
}

// HTTPClient is what everything but the SDK calls out with.
func HTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &http.Client{Timeout: 15 * time.Second, Transport: transport}
}
