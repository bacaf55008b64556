// Package parts puts together what carries out Jobs, the same for every
// program that does: the server and the functions.
package parts

import (
	"crypto/rand"
	"io"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/cmd/internal/config"
)

// consoleIssuer is where the console sends people whose session has ended: to
// Slack, to ask again.
const consoleIssuer = "https://app.slack.com/"

// lag is broker.Config's own: the sweep comes at once, and DynamoDB's indexes
// are mostly within a second.
const lag = 3 * time.Second

// A Store is what the broker needs of one.
type Store interface {
	broker.Ledger
	broker.IdentityBook
	broker.Registry
	broker.PolicyBook
	broker.RequestBook
	broker.FenceBook
	broker.PaceBook
	broker.ProposalBook
	broker.TokenBook
	broker.Archive
	broker.Outbox
}

// Parts work together on one installation.
type Parts struct {
	Minter *cloud.Minter
	Slack  *bot.Client
	Broker *broker.Broker
	Log    *slog.Logger

	cfg config.Config
}

// New puts the parts together. It touches no network. Audit lines and logs go
// to out.
func New(cfg config.Config, awsCfg aws.Config, db Store, out io.Writer) (*Parts, error) {
	client := config.HTTPClient()
	minter, err := cloud.New(cloud.Config{
		AWS: awsCfg, Base: cfg.Base, SignInURL: cfg.SignIn, Issuer: consoleIssuer, HTTP: client, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	slack := bot.NewClient(cfg.BotToken, cfg.SlackAPI, cfg.AuditChannel, client)
	slack.Approvals = cfg.ApprovalsChannel
	return &Parts{
		Minter: minter, Slack: slack, Log: slog.New(slog.NewJSONHandler(out, nil)), cfg: cfg,
		Broker: broker.New(broker.Config{
			Ledger: db, Identities: db, Users: db, Policies: db, Requests: db, Fences: db, Paces: db, Proposals: db, Tokens: db, Archive: db, Outbox: db,
			Minter: minter, Revoker: cloud.NewRevoker(minter), Directory: slack, Teller: slack,
			Journal: broker.NewJournal(out), Now: time.Now, Entropy: rand.Reader, Lag: lag,
		}),
	}, nil
}

// Worker returns what carries out Jobs.
func (p *Parts) Worker() (*bot.Worker, error) {
	sealer, err := bot.NewSealer(p.cfg.SigningSecret, rand.Reader)
	if err != nil {
		return nil, err
	}
	return &bot.Worker{
		Broker: p.Broker, Sealer: sealer, Courier: bot.NewCourier(p.cfg.Hosts, config.HTTPClient()), Client: p.Slack,
		Now: time.Now, Log: p.Log,
	}, nil
}

// Front returns what takes in Slack's requests and puts Jobs on queue. Forms are
// opened where there is a bot token, and show what facts knows, which may be nil.
func Front(cfg config.Config, queue broker.Queue, facts broker.Reader, version string, out io.Writer) (*bot.Front, error) {
	sealer, err := bot.NewSealer(cfg.SigningSecret, rand.Reader)
	if err != nil {
		return nil, err
	}
	front := &bot.Front{
		SigningSecret: cfg.SigningSecret, Teams: cfg.Teams, Queue: queue, Sealer: sealer,
		Version: version, Now: time.Now, Log: slog.New(slog.NewJSONHandler(out, nil)),
	}
	if !cfg.BotToken.IsZero() {
		front.Views = bot.NewClient(cfg.BotToken, cfg.SlackAPI, "", config.HTTPClient())
	}
	if facts != nil {
		front.View = &broker.View{Reader: facts, Now: time.Now}
	}
	return front, nil
}
