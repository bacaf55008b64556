//go:build !nosqlite

package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A document is a Policy document under its digest.
type document struct {
	digest string
	*policy.Document
}

// A policyRow is one version of the Policy as it is stored. Its revision counts
// the writes of the row, as a Version does elsewhere.
type policyRow struct {
	broker.Head
	revision int64
}

// policies creates a version only on top of the one before it. Versions are
// never deleted, so that creating the row is the compare-and-swap of the head.
var policies = table[policyRow]{
	kind: "policy",
	create: `INSERT INTO policies (version, digest, due, body, revision)
		SELECT ?1, ?2, ?3, ?4, ?5 + 1 WHERE ?1 = 1 + (SELECT coalesce(max(version), 0) FROM policies)
		ON CONFLICT (version) DO NOTHING`,
	replace: `UPDATE policies SET digest = ?2, due = ?3, body = ?4, revision = ?5 + 1
		WHERE version = ?1 AND revision = ?5`,
	read:    `SELECT revision, body FROM policies WHERE version = ?`,
	key:     func(p policyRow) []any { return []any{p.Version} },
	columns: func(p policyRow) []any { return []any{p.Digest, due(p.Trail)} },
	version: func(p *policyRow) *int64 { return &p.revision },
}

// PutPolicy implements broker.PolicyBook. A doc that cannot be encoded, and a
// Head whose Digest is not doc's, are broker.ErrInvalid. A document whose
// version then loses the race stays behind unused.
func (s *SQLite) PutPolicy(ctx context.Context, h broker.Head, doc *policy.Document) error {
	body, err := pack(doc)
	if err != nil {
		return invalid("policy", name([]any{h.Version}), "its document cannot be encoded")
	}
	if h.Digest != doc.Digest() {
		return invalid("policy", name([]any{h.Version}), "its digest is not the document's")
	}
	_, err = s.exec(ctx, "writing document "+h.Digest,
		`INSERT INTO documents (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING`, h.Digest, body)
	if err != nil {
		return err
	}
	_, err = put(ctx, s, &policies, policyRow{Head: h})
	return err
}

// Head implements broker.PolicyBook.
func (s *SQLite) Head(ctx context.Context) (broker.Head, *policy.Document, error) {
	var newest sql.Null[int64]
	err := s.reader.QueryRowContext(ctx, `SELECT max(version) FROM policies`).Scan(&newest)
	if err != nil {
		return broker.Head{}, nil, unavailable("reading the policy's head", err)
	}
	if !newest.Valid {
		return broker.Head{}, nil, nil
	}
	row, err := get(ctx, s, &policies, newest.V)
	if err != nil {
		return broker.Head{}, nil, err
	}
	doc, err := s.headDocument(ctx, row.Digest)
	if err != nil {
		return broker.Head{}, nil, err
	}
	return row.Head, doc, nil
}

// Policy implements broker.PolicyBook.
func (s *SQLite) Policy(ctx context.Context, version int64) (broker.Head, *policy.Document, error) {
	row, err := get(ctx, s, &policies, version)
	if err != nil {
		return broker.Head{}, nil, err
	}
	doc, err := s.document(ctx, row.Digest)
	if err != nil {
		return broker.Head{}, nil, err
	}
	return row.Head, doc, nil
}

// Versions implements broker.PolicyBook.
func (s *SQLite) Versions(ctx context.Context, before int64, limit int) ([]broker.Head, error) {
	const doing = "reading the policy's versions"
	rows, err := s.reader.QueryContext(ctx,
		`SELECT version, revision, body FROM policies WHERE ?1 = 0 OR version < ?1 ORDER BY version DESC LIMIT ?2`, before, max(limit, 0))
	if err != nil {
		return nil, unavailable(doing, err)
	}
	defer rows.Close()
	var heads []broker.Head
	for rows.Next() {
		var version, revision int64
		var body []byte
		if err := rows.Scan(&version, &revision, &body); err != nil {
			return nil, unavailable(doing, err)
		}
		row, err := policies.item(name([]any{version}), revision, body)
		if err != nil {
			return nil, err
		}
		heads = append(heads, row.Head)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(doing, err)
	}
	return heads, nil
}

// headDocument returns the document of the head, whose digest the caller has
// just read.
func (s *SQLite) headDocument(ctx context.Context, digest string) (*policy.Document, error) {
	if known := s.newest.Load(); known != nil && known.digest == digest {
		return known.Document, nil
	}
	doc, err := s.document(ctx, digest)
	if err != nil {
		return nil, err
	}
	s.newest.Store(&document{digest, doc})
	return doc, nil
}

// document reads the document with the digest.
func (s *SQLite) document(ctx context.Context, digest string) (*policy.Document, error) {
	var body []byte
	err := s.reader.QueryRowContext(ctx, `SELECT body FROM documents WHERE digest = ?`, digest).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, damaged("document", digest) // a version names it
	}
	if err != nil {
		return nil, unavailable("reading document "+digest, err)
	}
	doc, err := unpack(body)
	if err != nil {
		return nil, damaged("document", digest)
	}
	return doc, nil
}
