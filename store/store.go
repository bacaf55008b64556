// Package store keeps what Starback knows: Users with their Tokens, Identities,
// Requests, Proposals, Fences, Paces, the versions of the Policy, the audit
// index and the Jobs that wait.
//
// A store promises, beyond what package broker's interfaces say:
//
//   - Every change of an aggregate is one conditional write of one item, so a
//     change is there whole or not at all, and no update is lost.
//   - Reads on which a decision depends see every write that was acknowledged
//     before. OpenRequests, Events, Pending, Claim and Waiting may lag, and say
//     so.
//   - A write that was acknowledged survives the death of the process and, as
//     far as the disk or DynamoDB keeps its word, of the machine. One that
//     failed with broker.ErrUnavailable may or may not have happened: read
//     before trying again, or rely on the condition to refuse the second.
//   - Events are never changed and never deleted, and Users never disappear.
//   - An item that this Starback does not understand whole is an error, never
//     a half-read item.
//   - No error holds the contents of an item. An error names the kind of item
//     and its key.
//
// Times are kept and compared in whole milliseconds where the store itself
// looks at them: when a Trail is due, when an Event happened, when a Job may be
// seen.
//
// SQLite keeps everything in a file, DynamoDB in a table. Package storetest
// holds the promises as tests, and docs/data-model.md describes both.
package store

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// defaultMaxJobs is how many Jobs may wait where the options say 0.
const defaultMaxJobs = 1000

// eventsPage is how many Events a query returns that names no limit, as
// broker.EventQuery says.
const eventsPage = 100

// settleTries is how often Settle starts again because somebody else changed
// the aggregate meanwhile. Each time somebody else has made progress, so that
// even a crowd of this many writers is outlasted.
const settleTries = 100

// unavailable says that doing what failed because of the engine, the disk or
// the caller's context. It wraps broker.ErrUnavailable and the cause.
func unavailable(doing string, cause error) error {
	return fmt.Errorf("store: %s: %w: %w", doing, broker.ErrUnavailable, cause)
}

// conflict says that the item with the key is not what a Put expected.
func conflict(kind, key string) error {
	return fmt.Errorf("store: %s %q: %w", kind, key, broker.ErrConflict)
}

// notFound says that there is no item with the key.
func notFound(kind, key string) error {
	return fmt.Errorf("store: %s %q: %w", kind, key, broker.ErrNotFound)
}

// invalid says that an item or a question makes no sense to the store.
func invalid(kind, key, why string) error {
	return fmt.Errorf("store: %s %q: %s: %w", kind, key, why, broker.ErrInvalid)
}

// damaged says that the stored item with the key cannot be read. The cause is
// left out, because the decoders quote what they stumble over.
func damaged(kind, key string) error {
	return fmt.Errorf("store: %s %q: the stored item is damaged or of a newer Starback: %w",
		kind, key, broker.ErrUnavailable)
}

// encode returns item as it is stored.
func encode(kind, key string, item any) (string, error) {
	body, err := json.Marshal(item)
	if err != nil {
		return "", invalid(kind, key, "it cannot be encoded")
	}
	return string(body), nil
}

// decode reads a stored item. A field that item does not have is refused: it
// would be ignored now and lost with the next write.
func decode(kind, key string, body []byte, item any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(item); err != nil {
		return damaged(kind, key)
	}
	if _, err := dec.Token(); err != io.EOF {
		return damaged(kind, key)
	}
	return nil
}

// due returns when t next needs attention, in Unix milliseconds, or nil for
// never.
func due(t broker.Trail) any {
	at, ok := t.Due()
	if !ok {
		return nil
	}
	return at.UnixMilli()
}

// holder returns the User among whose open Requests r may be: while it is
// pending, approved or open. Otherwise it is empty.
func holder(r broker.Request) policy.UserName {
	if r.State == broker.StateAsked || r.State.Over() {
		return ""
	}
	return r.User
}

// openOf leaves of found what broker.RequestBook promises of user at now, the
// oldest first and, of one moment, by ID.
func openOf(found []broker.Request, user policy.UserName, now time.Time) []broker.Request {
	found = slices.DeleteFunc(found, func(r broker.Request) bool {
		return holder(r) != user || r.State == broker.StateOpen && !now.Before(r.Ends())
	})
	slices.SortFunc(found, func(a, b broker.Request) int {
		return cmp.Or(a.AskedAt.Compare(b.AskedAt), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// hasToken says whether u has a Token with the ID, of use or not.
func hasToken(u broker.User, id string) bool {
	return slices.ContainsFunc(u.Tokens, func(t broker.Token) bool { return t.ID == id })
}

// owner returns the name of the User who answers for u, empty for a person.
func owner(u broker.User) policy.UserName {
	if !u.IsApp {
		return ""
	}
	return u.Owner
}

// pack returns doc, encoded and compressed.
func pack(doc *policy.Document) ([]byte, error) {
	plain, err := doc.Encode()
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// unpack reads what pack wrote. The checksum that gzip adds tells of damage.
func unpack(packed []byte) (*policy.Document, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return policy.Decode(plain)
}
