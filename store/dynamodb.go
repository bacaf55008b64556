package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// The interfaces of package broker that DynamoDB implements.
var (
	_ broker.Ledger       = (*DynamoDB)(nil)
	_ broker.Registry     = (*DynamoDB)(nil)
	_ broker.IdentityBook = (*DynamoDB)(nil)
	_ broker.RequestBook  = (*DynamoDB)(nil)
	_ broker.FenceBook    = (*DynamoDB)(nil)
	_ broker.PaceBook     = (*DynamoDB)(nil)
	_ broker.TokenBook    = (*DynamoDB)(nil)
	_ broker.ProposalBook = (*DynamoDB)(nil)
	_ broker.PolicyBook   = (*DynamoDB)(nil)
	_ broker.Archive      = (*DynamoDB)(nil)
	_ broker.Outbox       = (*DynamoDB)(nil)
	_ broker.Queue        = (*DynamoDB)(nil)
)

// How much a DynamoDB keeps in memory.
const (
	hintsKept     = 10_000 // Slack ids, and as many Tokens, with whom they led to
	documentsKept = 4      // parsed Policy documents
	daysKept      = 64     // days that are known to be listed
)

// DynamoDBOptions are choices for a DynamoDB store.
type DynamoDBOptions struct {
	// MaxJobs is how many Jobs may wait, those being worked on included,
	// before Enqueue refuses more; 0: 1,000. Jobs that come at the same moment
	// may exceed it by their number.
	MaxJobs int
	// Now is the clock by which Jobs are put in order. It is needed.
	Now func() time.Time
	// Entropy is where the marks come from by which a store knows its own
	// writes. It is needed, and read once.
	Entropy io.Reader
}

// A DynamoDB is a store in one DynamoDB table. It is safe for concurrent use,
// and any number of processes may use one table. Every change is one
// conditional write of one item; it needs neither transactions nor TTL, so the
// table may be a global one with strong consistency.
//
// docs/data-model.md describes the items and indexes.
type DynamoDB struct {
	client  *dynamodb.Client
	table   string
	maxJobs int
	now     func() time.Time

	// Each write carries a mark of its own, made of instance and writes. A
	// write whose answer was lost is known by it when it is tried again.
	instance string
	writes   atomic.Uint64

	// hints says which User a Slack id probably is: it names the key to read,
	// and what is read decides.
	hints *lru.Cache[broker.SlackID, policy.UserName]
	// tokenHints does the same for the ID of a Token, with all keys that its
	// User led to.
	tokenHints *lru.Cache[string, []key]
	// documents saves decoding. Which digest is the head's is read every time.
	documents *lru.Cache[string, *policy.Document]
	// days are those that need not be listed again.
	days *lru.Cache[string, struct{}]
	// fresh are Jobs of this process that the index may not show yet.
	fresh freshJobs
}

// OpenDynamoDB returns the store in the table of the given name, which
// CreateTable makes. It touches nothing: Ping tells whether the table is there.
// The SDK tries again as cfg says; by default it calls three times.
//
// A name that DynamoDB does not allow and missing options are
// broker.ErrInvalid.
func OpenDynamoDB(cfg aws.Config, table string, opts DynamoDBOptions) (*DynamoDB, error) {
	if err := checkTableName(table); err != nil {
		return nil, err
	}
	if opts.MaxJobs < 0 || opts.Now == nil || opts.Entropy == nil {
		return nil, invalid("table", table, "DynamoDB needs a clock, entropy, and MaxJobs of 0 or more")
	}
	var mark [12]byte
	if _, err := io.ReadFull(opts.Entropy, mark[:]); err != nil {
		return nil, unavailable("reading entropy", err)
	}
	s := &DynamoDB{
		client: dynamodb.NewFromConfig(cfg), table: table, maxJobs: opts.MaxJobs, now: opts.Now,
		instance: hex.EncodeToString(mark[:]),
	}
	if s.maxJobs == 0 {
		s.maxJobs = defaultMaxJobs
	}
	var err error
	if s.hints, err = lru.New[broker.SlackID, policy.UserName](hintsKept); err != nil {
		return nil, err
	}
	if s.tokenHints, err = lru.New[string, []key](hintsKept); err != nil {
		return nil, err
	}
	if s.documents, err = lru.New[string, *policy.Document](documentsKept); err != nil {
		return nil, err
	}
	if s.days, err = lru.New[string, struct{}](daysKept); err != nil {
		return nil, err
	}
	return s, nil
}

// checkTableName refuses names that DynamoDB does not allow: 3 to 255 letters,
// digits, dots, dashes and underscores.
func checkTableName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if len(name) < 3 || len(name) > 255 || strings.Trim(name, allowed) != "" {
		return invalid("table", name, "a table's name has 3 to 255 letters, digits, dots, dashes and underscores")
	}
	return nil
}

// Close gives nothing back: the connections are the SDK's.
func (s *DynamoDB) Close() error { return nil }

// mark returns a mark that no other write has.
func (s *DynamoDB) mark() string {
	return s.instance + "." + strconv.FormatUint(s.writes.Add(1), 36)
}

// A key is the primary key of an item. No part of it may be empty.
type key struct{ pk, sk string }

// The keys of what is stored. Items that are read together by a Query share the
// first part; all others have one of their own, so that they are spread.
func requestKey(id string) key { return key{requestPrefix + id, "request"} }
func identityKey(id broker.SlackID) key {
	return key{identityPrefix + id.String(), "user#" + id.User}
}
func userKey(name policy.UserName) key { return key{userPartition, userPrefix + string(name)} }
func versionKey(version int64) key {
	return key{policyPartition, fmt.Sprintf("version#%019d", version)}
}
func chunkKey(digest string) key            { return key{"chunk#" + digest, "chunk"} }
func eventKey(id string) key                { return key{eventPrefix + id, "event"} }
func dayKey(day string) key                 { return key{dayPartition, day} }
func jobKey(id string) key                  { return key{jobPrefix + id, "job"} }
func emailKey(address, userName string) key { return key{emailPartition(address), userName} }
func tokenKey(id string) key                { return key{"token#" + id, "token"} }
func proposalKey(id string) key             { return key{proposalPartition, proposalPrefix + id} }
func fenceKey(roleARN string) key           { return key{fencePrefix + roleARN, "fence"} }
func paceKey(role policy.RoleName) key      { return key{pacePrefix + string(role), "pace"} }

const (
	requestPrefix     = "request#"
	identityPrefix    = "identity#"
	fencePrefix       = "fence#"
	pacePrefix        = "pace#"
	eventPrefix       = "event#"
	jobPrefix         = "job#"
	userPartition     = "user"
	userPrefix        = "name#" // of the second part of the key
	policyPartition   = "policy"
	proposalPartition = "proposal"
	proposalPrefix    = "id#" // of the second part of the key
	dayPartition      = "day"
)

var (
	headKey   = key{policyPartition, "head"}
	schemaKey = key{"schema", "schema"}
)

// emailPartition keeps the look-up items of an address. The address itself is
// not in the key, which is written to logs and metrics of AWS.
func emailPartition(address string) string {
	sum := sha256.Sum256([]byte(address))
	return "email#" + hex.EncodeToString(sum[:])
}

// An attributes is an item as DynamoDB has it.
type attributes = map[string]types.AttributeValue

// item returns k as attributes, to be added to.
func (k key) item() attributes { return attributes{"pk": text(k.pk), "sk": text(k.sk)} }

// keyOf returns the key of an item.
func keyOf(item attributes) key { return key{textOf(item["pk"]), textOf(item["sk"])} }

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func integer(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// binary returns b as an attribute, which is never null.
func binary(b []byte) types.AttributeValue {
	return &types.AttributeValueMemberB{Value: append([]byte{}, b...)}
}

// textOf returns the text in v, or nothing if v is no text.
func textOf(v types.AttributeValue) string {
	s, ok := v.(*types.AttributeValueMemberS)
	if !ok {
		return ""
	}
	return s.Value
}

// integerOf returns the integer in v; ok is false if v is none.
func integerOf(v types.AttributeValue) (n int64, ok bool) {
	number, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(number.Value, 10, 64)
	return n, err == nil
}

// failed says that doing something failed. What DynamoDB refuses as invalid is
// broker.ErrInvalid, and everything else broker.ErrUnavailable. The words of a
// ValidationException are left out, because they may quote what was to be
// stored.
func (s *DynamoDB) failed(doing string, err error) error {
	var missing *types.ResourceNotFoundException
	var api smithy.APIError
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("store: %s: there is no table %q; make it with: starback store init --store dynamodb:%s: %w",
			doing, s.table, s.table, broker.ErrUnavailable)
	case !errors.As(err, &api) || api.ErrorCode() != "ValidationException":
		return unavailable(doing, err)
	case strings.Contains(api.ErrorMessage(), "Item size"):
		return fmt.Errorf("store: %s: it is larger than the 400 KB that DynamoDB allows an item: %w", doing, broker.ErrInvalid)
	default:
		return fmt.Errorf("store: %s: DynamoDB refuses its key or form: %w", doing, broker.ErrInvalid)
	}
}

// conditionFailed says whether err is the refusal of a conditional write, and
// returns the item as it is stored, nil if there is none.
func conditionFailed(err error) (stored attributes, refused bool) {
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return nil, false
	}
	return failed.Item, true
}
