package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// chunkSize is the most bytes of a document in one item, with room for its key
// in the 400 KB that DynamoDB allows an item.
const chunkSize = 350 << 10

// headName names the policy's head in errors.
const headName = "head"

// A policyVersion is one version of the Policy. Its document is what the chunks
// hold, put together and uncompressed; each is named by the SHA-256 of what it
// holds, in hexadecimal.
type policyVersion struct {
	broker.Head
	Chunks []string `json:"chunks"`
}

// A policyHead is the item that says which version is the newest. Every Trail
// that needs attention is on it, so that one write settles it: the newest
// version's own, and those of the versions that were superseded before they
// were settled.
type policyHead struct {
	policyVersion
	Earlier map[int64]broker.Trail `json:"earlier,omitempty"`

	revision int64 // counts the writes of the item, as a Version does elsewhere
}

var headShape = shape[policyHead]{
	kind:    "policy",
	key:     func(policyHead) key { return headKey },
	name:    func(policyHead) string { return headName },
	version: func(h *policyHead) *int64 { return &h.revision },
	due:     policyHead.due,
}

// due returns when the first Trail on h needs attention.
func (h policyHead) due() (first time.Time, ok bool) {
	first, ok = h.Trail.Due()
	for _, t := range h.Earlier {
		if at, due := t.Due(); due && (!ok || at.Before(first)) {
			first, ok = at, true
		}
	}
	return first, ok
}

// head reads the head. Before the first version it is zero.
func (s *DynamoDB) head(ctx context.Context) (policyHead, error) {
	h, err := headShape.get(ctx, s, headName, headKey)
	if errors.Is(err, broker.ErrNotFound) {
		return policyHead{}, nil
	}
	return h, err
}

// PutPolicy implements broker.PolicyBook. A doc that cannot be encoded, and a
// Head whose Digest is not doc's, are broker.ErrInvalid. The chunks of a
// document whose version then loses the race stay behind unused.
func (s *DynamoDB) PutPolicy(ctx context.Context, h broker.Head, doc *policy.Document) error {
	name := strconv.FormatInt(h.Version, 10)
	body, err := pack(doc)
	if err != nil {
		return invalid("policy", name, "its document cannot be encoded")
	}
	if h.Digest != doc.Digest() {
		return invalid("policy", name, "its digest is not the document's")
	}
	was, err := s.head(ctx)
	if err != nil {
		return err
	}
	if was.Version != h.Version-1 {
		return conflict("policy", name)
	}
	chunks, err := s.putChunks(ctx, body)
	if err != nil {
		return err
	}
	mark := s.mark()
	for range settleTries {
		next := policyHead{policyVersion: policyVersion{h, chunks}, Earlier: map[int64]broker.Trail{}, revision: was.revision}
		maps.Copy(next.Earlier, was.Earlier)
		if was.Version > 0 {
			left, err := s.keepVersion(ctx, was.policyVersion)
			if err != nil {
				return err
			}
			if !left.IsZero() {
				next.Earlier[was.Version] = left
			}
		}
		stored, by, err := headShape.write(ctx, s, next, mark)
		switch {
		case err == nil, by == mark:
			return nil
		case !errors.Is(err, broker.ErrConflict):
			return err
		case stored.Version != was.Version:
			return conflict("policy", name)
		}
		was = stored // somebody settled a Trail of it
	}
	return unavailable("writing policy "+name, errChanging)
}

// keepVersion writes a version that is about to be superseded into the history,
// and returns the Trail that the head must go on carrying: one that needs
// attention; and where an attempt before this one has written the version,
// whatever has become of its Trail since.
func (s *DynamoDB) keepVersion(ctx context.Context, v policyVersion) (left broker.Trail, err error) {
	if _, due := v.Trail.Due(); due {
		left, v.Trail = v.Trail, broker.Trail{}
	}
	name := strconv.FormatInt(v.Version, 10)
	body, err := encode("policy", name, v)
	if err != nil {
		return broker.Trail{}, err
	}
	attrs := versionKey(v.Version).item()
	attrs["body"] = text(body)
	created, err := s.create(ctx, "policy", name, attrs)
	if err == nil && !created && left.IsZero() {
		left = v.Trail
	}
	return left, err
}

// putChunks writes a packed document and returns the names of its chunks.
func (s *DynamoDB) putChunks(ctx context.Context, body []byte) (digests []string, err error) {
	for len(body) > 0 {
		chunk := body[:min(len(body), chunkSize)]
		body = body[len(chunk):]
		digest := chunkDigest(chunk)
		attrs := chunkKey(digest).item()
		attrs["data"] = binary(chunk)
		if _, err := s.create(ctx, "document", digest, attrs); err != nil {
			return nil, err
		}
		digests = append(digests, digest)
	}
	return digests, nil
}

func chunkDigest(chunk []byte) string {
	sum := sha256.Sum256(chunk)
	return hex.EncodeToString(sum[:])
}

// Head implements broker.PolicyBook.
func (s *DynamoDB) Head(ctx context.Context) (broker.Head, *policy.Document, error) {
	h, err := s.head(ctx)
	if err != nil || h.Version == 0 {
		return broker.Head{}, nil, err
	}
	return s.withDocument(ctx, h.policyVersion)
}

// Policy implements broker.PolicyBook. The head is read first: once it is past
// a version, that one is in the history.
func (s *DynamoDB) Policy(ctx context.Context, version int64) (broker.Head, *policy.Document, error) {
	name := strconv.FormatInt(version, 10)
	h, err := s.head(ctx)
	switch {
	case err != nil:
		return broker.Head{}, nil, err
	case version < 1 || version > h.Version:
		return broker.Head{}, nil, notFound("policy", name)
	case version == h.Version:
		return s.withDocument(ctx, h.policyVersion)
	}
	attrs, err := s.getItem(ctx, "policy", name, versionKey(version))
	if errors.Is(err, broker.ErrNotFound) {
		err = damaged("policy", name)
	}
	if err != nil {
		return broker.Head{}, nil, err
	}
	var v policyVersion
	if err := decode("policy", name, []byte(textOf(attrs["body"])), &v); err != nil {
		return broker.Head{}, nil, err
	}
	if t, carried := h.Earlier[version]; carried {
		v.Trail = t
	}
	return s.withDocument(ctx, v)
}

// Versions implements broker.PolicyBook. The head is read first: every version
// before it is in the history.
func (s *DynamoDB) Versions(ctx context.Context, before int64, limit int) ([]broker.Head, error) {
	h, err := s.head(ctx)
	if err != nil || h.Version == 0 || limit < 1 {
		return nil, err
	}
	var heads []broker.Head
	if before == 0 || before > h.Version {
		heads, before = append(heads, h.Head), h.Version
	}
	if len(heads) == limit || before <= 1 {
		return heads, nil
	}
	in := &dynamodb.QueryInput{
		KeyConditionExpression: aws.String("pk = :pk AND sk BETWEEN :first AND :last"),
		ExpressionAttributeValues: attributes{
			":pk": text(policyPartition), ":first": text(versionKey(1).sk), ":last": text(versionKey(before - 1).sk),
		},
		ConsistentRead:   aws.Bool(true),
		ScanIndexForward: aws.Bool(false),
		Limit:            aws.Int32(int32(min(limit, 100))),
	}
	err = s.query(ctx, "reading the policy's versions", in, func(attrs attributes) (bool, error) {
		var v policyVersion
		if err := decode("policy", keyOf(attrs).sk, []byte(textOf(attrs["body"])), &v); err != nil {
			return false, err
		}
		if t, carried := h.Earlier[v.Version]; carried {
			v.Trail = t
		}
		heads = append(heads, v.Head)
		return len(heads) < limit, nil
	})
	return heads, err
}

// withDocument returns what v says and the document it names.
func (s *DynamoDB) withDocument(ctx context.Context, v policyVersion) (broker.Head, *policy.Document, error) {
	doc, err := s.document(ctx, v)
	if err != nil {
		return broker.Head{}, nil, err
	}
	return v.Head, doc, nil
}

// document returns the document of a version, whose digest the caller has just
// read. It never changes under its digest.
func (s *DynamoDB) document(ctx context.Context, v policyVersion) (*policy.Document, error) {
	if doc, ok := s.documents.Get(v.Digest); ok {
		return doc, nil
	}
	keys := make([]key, len(v.Chunks))
	for i, digest := range v.Chunks {
		keys[i] = chunkKey(digest)
	}
	found, err := s.getItems(ctx, "reading document "+v.Digest, keys...)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	for i, digest := range v.Chunks {
		data, ok := found[keys[i]]["data"].(*types.AttributeValueMemberB)
		if !ok || chunkDigest(data.Value) != digest {
			return nil, damaged("document", v.Digest)
		}
		body.Write(data.Value)
	}
	doc, err := unpack(body.Bytes())
	if err != nil || doc.Digest() != v.Digest {
		return nil, damaged("document", v.Digest)
	}
	s.documents.Add(v.Digest, doc)
	return doc, nil
}
