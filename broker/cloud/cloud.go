// Package cloud is AWS behind broker's interfaces: STS, the console's sign-in
// endpoint, and the base credentials that Starback itself acts with.
//
// It promises that its errors are *broker.Fault, that no error or log line of
// its making holds a credential or a sign-in link, and that AWS's one-hour cap
// on sessions issued to a role is found out, not guessed.
package cloud

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/starback/starback/broker"
)

// Config is what a Minter works with.
type Config struct {
	// AWS is the SDK's configuration: Region, endpoints and the default
	// credential chain.
	AWS aws.Config
	// Base says where the base credentials come from: "default" for the SDK's
	// chain, or "ssm:/path" for a SecureString parameter, read with that chain.
	Base string
	// SignInURL stands in for AWS's console sign-in endpoint; empty for AWS's
	// own, which then follows each role's partition and Region.
	SignInURL string
	// Issuer is the page the console sends people to when their session ends.
	Issuer string
	// HTTP calls the sign-in endpoint.
	HTTP *http.Client
	Now  func() time.Time
}

// A Minter makes credentials at AWS. It implements broker.Minter and is safe
// for concurrent use.
type Minter struct {
	Config
	base   *aws.CredentialsCache
	signIn *http.Client

	mu      sync.Mutex
	clients map[string]*sts.Client // by Region
	caller  caller
}

// New returns a Minter. It does not touch the network. A Base that is neither
// form is broker.ErrInvalid.
func New(c Config) (*Minter, error) {
	base, err := newBase(c)
	if err != nil {
		return nil, err
	}
	// A redirect would carry the session's credentials to another host.
	signIn := *c.HTTP
	signIn.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Minter{Config: c, base: base, signIn: &signIn, clients: map[string]*sts.Client{}}, nil
}

// Ready asks AWS who Starback is: it fails unless the base credentials work.
func (m *Minter) Ready(ctx context.Context) error {
	_, err := m.callerOf(ctx, m.AWS.Region)
	return err
}

// sts returns the client for a Region. STS is always called on its regional
// endpoint.
func (m *Minter) sts(region string) *sts.Client {
	if region == "" {
		region = m.AWS.Region
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	client := m.clients[region]
	if client == nil {
		client = sts.NewFromConfig(m.AWS, func(o *sts.Options) {
			o.Region = region
			o.Credentials = m.base
		})
		m.clients[region] = client
	}
	return client
}

var _ broker.Minter = (*Minter)(nil)
