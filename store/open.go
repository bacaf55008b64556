package store

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/starback/starback/broker"
)

// A Store is everything that every store does.
type Store interface {
	broker.Ledger
	broker.Registry
	broker.IdentityBook
	broker.RequestBook
	broker.FenceBook
	broker.PaceBook
	broker.TokenBook
	broker.ProposalBook
	broker.PolicyBook
	broker.Archive
	broker.Outbox
	broker.Queue

	// Claim takes the oldest Job that may be seen at now and hides it until
	// now+lease; ok is false if there is none.
	Claim(ctx context.Context, now time.Time, lease time.Duration) (job broker.Job, ok bool, err error)
	// Retry lets a Job be claimed again at the given time.
	Retry(ctx context.Context, id string, at time.Time) error
	// Done removes a Job, if it is there.
	Done(ctx context.Context, id string) error
	// Waiting returns how many Jobs there are, claimed ones included.
	Waiting(ctx context.Context) (int, error)

	// Walk shows v everything that is stored, but for Policies, Jobs and whose
	// the Tokens are, which their Users say too, in any order. It need not be a
	// snapshot. An error of v ends it, and is returned.
	Walk(ctx context.Context, v Visitor) error
	// Schema checks the form in which everything is stored, and returns its
	// number. A form that is not a store's, or of a newer Starback, is
	// broker.ErrInvalid.
	Schema(ctx context.Context) (int, error)
	// Ping reads from the store.
	Ping(ctx context.Context) error
	Close() error
}

var _ Store = (*DynamoDB)(nil)

// A Visitor is shown items, one at a time. A kind for which it has no function
// is left out.
type Visitor struct {
	User     func(broker.User) error
	Identity func(broker.Identity) error
	Request  func(broker.Request) error
	Proposal func(broker.Proposal) error
	Fence    func(broker.Fence) error
	Pace     func(broker.Pace) error
	Event    func(broker.Event) error
}

// An Engine is what keeps a store.
type Engine string

// The engines, as a Spec names them.
const (
	EngineSQLite   Engine = "file"
	EngineDynamoDB Engine = "dynamodb"
)

// A Spec says where a store is.
type Spec struct {
	Engine Engine
	Name   string // the path of the file, or the name of the table
}

// String writes s as ParseSpec reads it.
func (s Spec) String() string { return string(s.Engine) + ":" + s.Name }

// ParseSpec reads file:PATH or dynamodb:TABLE. Everything else is
// broker.ErrInvalid.
func ParseSpec(spec string) (Spec, error) {
	engine, name, _ := strings.Cut(spec, ":")
	s := Spec{Engine: Engine(engine), Name: name}
	switch {
	case name == "", s.Engine != EngineSQLite && s.Engine != EngineDynamoDB:
		return Spec{}, fmt.Errorf("%q is not file:PATH or dynamodb:TABLE: %w", spec, broker.ErrInvalid)
	case s.Engine == EngineDynamoDB:
		return s, checkTableName(name)
	}
	return s, nil
}

// Options are what opening a store needs.
type Options struct {
	// AWS returns the configuration of AWS. It is called for DynamoDB alone.
	AWS func(context.Context) (aws.Config, error)
	// Now and Entropy are DynamoDBOptions' own. SQLite needs neither.
	Now     func() time.Time
	Entropy io.Reader
	// MaxJobs is how many Jobs may wait before Enqueue refuses more; 0: 1,000.
	MaxJobs int
}

// Open opens the store that spec names, as ParseSpec reads it. A file that is
// not there is created; a table is not.
func Open(ctx context.Context, spec string, opts Options) (Store, error) {
	s, err := ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	if s.Engine == EngineSQLite {
		return openFile(ctx, s.Name, opts)
	}
	cfg, err := opts.AWS(ctx)
	if err != nil {
		return nil, err
	}
	db, err := OpenDynamoDB(cfg, s.Name, DynamoDBOptions{MaxJobs: opts.MaxJobs, Now: opts.Now, Entropy: opts.Entropy})
	if err != nil {
		return nil, err
	}
	return db, nil
}
