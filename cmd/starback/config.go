package main

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
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
)

// Names of the environment.
const (
	envSigningSecret = "SLACK_SIGNING_SECRET"
	envBotToken      = "SLACK_BOT_TOKEN"
	envAppToken      = "SLACK_APP_TOKEN"
	envSlackAPI      = "SLACK_API_URL"
	envTeams         = "STARBACK_SLACK_TEAMS"
	envHosts         = "STARBACK_RESPONSE_HOSTS"
	envStore         = "STARBACK_STORE"
	envBase          = "STARBACK_BASE"
	envAudit         = "STARBACK_AUDIT_CHANNEL"
	envSignIn        = "STARBACK_SIGNIN_URL"
)

// settings are what serve is told, each by a name of the environment. A value
// file:PATH is read from that file, and ssm:/path from that SSM parameter.
type settings map[string]string

// flagOf gives the settings that a flag overrides. Secrets have none: a command
// line is seen by everybody on the machine.
var flagOf = map[string]struct{ flag, usage string }{
	envStore:    {"store", "where everything is kept: file:PATH"},
	envBase:     {"base", `base credentials: "default" for the AWS chain, or "ssm:/path"`},
	envTeams:    {"slack-teams", "comma-separated Slack team or enterprise ids that are ours"},
	envAudit:    {"audit-channel", "Slack channel id that the audit trail is posted to"},
	envHosts:    {"response-hosts", "comma-separated hosts a response_url may point to"},
	envSlackAPI: {"slack-api-url", "another Slack Web API base (loopback only)"},
	envSignIn:   {"signin-url", "another console sign-in endpoint (loopback only)"},
}

var settingNames = []string{
	envSigningSecret, envBotToken, envAppToken, envSlackAPI, envTeams, envHosts, envStore, envBase, envAudit, envSignIn,
}

// readSettings takes settings from the environment.
func readSettings(getenv func(string) string) settings {
	s := settings{}
	for _, name := range settingNames {
		s[name] = strings.TrimSpace(getenv(name))
	}
	return s
}

// resolve reads the values that are kept in files and in SSM. STARBACK_STORE
// and STARBACK_BASE are not looked into: there the prefix is part of the value.
func (s settings) resolve(ctx context.Context, cfg aws.Config) error {
	var problems []error
	for _, name := range settingNames {
		if name == envStore || name == envBase {
			continue
		}
		if path, ok := strings.CutPrefix(s[name], "file:"); ok {
			b, err := os.ReadFile(path)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
			s[name] = strings.TrimSpace(string(b))
		} else if path, ok := strings.CutPrefix(s[name], "ssm:"); ok {
			value, err := cloud.Parameter(ctx, cfg, path)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
			s[name] = strings.TrimSpace(value.Reveal())
		}
	}
	return errors.Join(problems...)
}

// A config is settings that make sense.
type config struct {
	signingSecret, botToken, appToken broker.Secret
	slackAPI                          string
	teams, hosts                      []string
	storePath                         string
	base                              string
	auditChannel                      string
	signIn                            string
}

var (
	teamWord    = regexp.MustCompile(`^[TE][A-Z0-9]{1,31}$`)
	channelWord = regexp.MustCompile(`^[CG][A-Z0-9]{1,31}$`)
)

// check makes a config of settings, without touching the network. All that is
// wrong is said at once, a line each.
func (s settings) check() (config, error) {
	var problems []error
	wrong := func(name, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: "+format, append([]any{name}, args...)...))
	}
	c := config{
		signingSecret: broker.NewSecret(s[envSigningSecret]),
		botToken:      broker.NewSecret(s[envBotToken]),
		appToken:      broker.NewSecret(s[envAppToken]),
		base:          s[envBase],
		auditChannel:  s[envAudit],
		teams:         list(s[envTeams]),
		hosts:         list(s[envHosts]),
	}
	if s[envSigningSecret] == "" {
		wrong(envSigningSecret, "not set; it stands under Basic Information in the Slack app's settings")
	}
	if !strings.HasPrefix(s[envBotToken], "xoxb-") {
		wrong(envBotToken, "want a bot token, which begins with xoxb-; it stands under OAuth & Permissions")
	}
	if s[envAppToken] != "" && !strings.HasPrefix(s[envAppToken], "xapp-") {
		wrong(envAppToken, "want an app-level token, which begins with xapp-")
	}
	if len(c.teams) == 0 {
		wrong(envTeams, "not set; name the Slack team ids (T…) or the enterprise id (E…) to serve")
	}
	for _, team := range c.teams {
		if !teamWord.MatchString(team) {
			wrong(envTeams, "%q is not a team or enterprise id such as T012AB", team)
		}
	}
	if len(c.hosts) == 0 {
		c.hosts = []string{"hooks.slack.com"}
	}
	for _, host := range c.hosts {
		if host != "hooks.slack.com" && !loopbackHost(host) {
			wrong(envHosts, "%q is neither hooks.slack.com nor on this machine", host)
		}
	}
	var err error
	if c.storePath, err = storePath(s[envStore]); err != nil {
		wrong(envStore, "%v", err)
	}
	switch {
	case c.base == "":
		c.base = "default"
	case c.base != "default" && !strings.HasPrefix(c.base, "ssm:/"):
		wrong(envBase, `%q is neither "default" nor "ssm:/path"`, c.base)
	}
	if c.auditChannel != "" && !channelWord.MatchString(c.auditChannel) {
		wrong(envAudit, "%q is not a channel id such as C012AB; a name will not do", c.auditChannel)
	}
	if c.slackAPI = s[envSlackAPI]; c.slackAPI != "" {
		if err := onLoopback(c.slackAPI); err != nil {
			wrong(envSlackAPI, "%v", err)
		}
		c.slackAPI = strings.TrimSuffix(c.slackAPI, "/") + "/"
	}
	if c.signIn = s[envSignIn]; c.signIn != "" {
		if err := onLoopback(c.signIn); err != nil {
			wrong(envSignIn, "%v", err)
		}
	}
	return c, errors.Join(problems...)
}

// storePath reads STARBACK_STORE.
func storePath(value string) (string, error) {
	path, ok := strings.CutPrefix(value, "file:")
	switch {
	case value == "":
		return "", errors.New("not set; say where to keep everything, as in file:/var/lib/starback/starback.db")
	case !ok || path == "":
		return "", fmt.Errorf("%q is not file:PATH", value)
	}
	return path, nil
}

// checkEndpoints refuses AWS endpoints that are neither AWS's nor on this
// machine: whoever answers there is given credentials.
func checkEndpoints(environ []string) error {
	var problems []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "AWS_ENDPOINT_URL") || value == "" {
			continue
		}
		u, err := url.Parse(value)
		vendor := err == nil && u.Scheme == "https" &&
			slices.ContainsFunc([]string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"}, func(suffix string) bool { return strings.HasSuffix(u.Hostname(), suffix) })
		if !vendor && onLoopback(value) != nil {
			problems = append(problems, fmt.Errorf("%s: an endpoint must be AWS's own over https, or on this machine", name))
		}
	}
	return errors.Join(problems...)
}

// onLoopback refuses URLs that lead off this machine.
func onLoopback(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || !loopbackHost(u.Host) {
		return fmt.Errorf("%q is not an http URL on this machine, as in http://127.0.0.1:8000/", raw)
	}
	return nil
}

// loopbackHost says whether HOST or HOST:PORT is this machine itself.
func loopbackHost(hostport string) bool {
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

// loadAWS returns the SDK's configuration, from its own environment and files.
// It does not touch the network.
func loadAWS(ctx context.Context) (aws.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return aws.Config{}, fmt.Errorf("the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return aws.Config{}, errors.New("AWS_REGION: not set; say in which Region to call AWS, as in eu-west-1")
	}
	return cfg, nil
}

// httpClient is what everything but the SDK calls out with.
func httpClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &http.Client{Timeout: 15 * time.Second, Transport: transport}
}
