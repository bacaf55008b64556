package store_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

var bobID = broker.SlackID{Team: "T012AB", User: "U0789"}

// fenceARN is the IAM role of a Fence.
const fenceARN = "arn:aws:iam::111122223333:role/starback/ReadOnly"

// bobToken is the ID of bob's Token.
const bobToken = "token0000001"

// fill stores one item of each kind.
func fill(t testing.TB, s *store.SQLite) {
	t.Helper()
	ctx := t.Context()
	trail := broker.Trail{Events: []broker.Event{{ID: "01A", Event: broker.EventAsked}}}
	if err := s.NameToken(ctx, bobToken, "bob"); err != nil {
		t.Fatal(err)
	}
	_, err := s.PutUser(ctx, broker.User{
		Name: "bob", ID: "01B", Email: "bob@example.com", Slack: bobID, Tokens: []broker.Token{{ID: bobToken}}, Trail: trail,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutProposal(ctx, broker.Proposal{ID: "01P", Author: "bob", Trail: trail}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutIdentity(ctx, broker.Identity{Slack: bobID, User: "bob"}); err != nil {
		t.Fatal(err)
	}
	request := broker.Request{ID: "REQ1", User: "bob", Role: "prod-readonly", State: broker.StatePending, Trail: trail}
	if _, err := s.PutRequest(ctx, request); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutFence(ctx, broker.Fence{RoleARN: fenceARN, Ended: []broker.Ended{{SessionID: "01S"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutPace(ctx, broker.Pace{Role: "prod-admin"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, trail.Events); err != nil {
		t.Fatal(err)
	}
	doc := document()
	if err := s.PutPolicy(ctx, broker.Head{Version: 1, Digest: doc.Digest(), Author: "ops", Trail: trail}, doc); err != nil {
		t.Fatal(err)
	}
}

// document is a small Policy.
func document() *policy.Document {
	return &policy.Document{
		Groups:   map[policy.GroupName]policy.Group{"sre": {Name: "sre"}},
		Admins:   []policy.GroupName{"sre"},
		Settings: policy.Settings{UserLifetime: 365 * 24 * time.Hour},
	}
}

// An item that cannot be read is an error that names it and tells nothing of
// what is in it, whatever reads it.
func TestSQLiteDamagedItem(t *testing.T) {
	pending := func(ctx context.Context, s *store.SQLite) (any, error) { return s.Pending(ctx, time.Unix(1, 0), 10) }
	identify := func(ctx context.Context, s *store.SQLite) (any, error) {
		facts, err := s.Identify(ctx, bobID)
		return facts.User.Name != "" || facts.Policy != nil, err
	}
	identifyToken := func(ctx context.Context, s *store.SQLite) (any, error) {
		facts, err := s.IdentifyToken(ctx, bobToken)
		return facts.User.Name != "" || facts.Policy != nil, err
	}
	head := func(ctx context.Context, s *store.SQLite) (any, error) {
		_, doc, err := s.Head(ctx)
		return doc != nil, err
	}
	// Every case damages a copy of this file.
	whole := newPath(t)
	s := open(t, whole)
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	type reads map[string]func(context.Context, *store.SQLite) (any, error)
	for _, c := range []struct {
		table, says string
		reads       reads
	}{
		{"requests", `request "REQ1"`, reads{
			"Request": func(ctx context.Context, s *store.SQLite) (any, error) { return s.Request(ctx, "REQ1") },
			"OpenRequests": func(ctx context.Context, s *store.SQLite) (any, error) {
				return s.OpenRequests(ctx, "bob", time.Unix(1, 0))
			},
			"Pending": pending,
			"Settle": func(ctx context.Context, s *store.SQLite) (any, error) {
				return nil, s.Settle(ctx, broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}, broker.Settlement{})
			},
			"PutRequest": func(ctx context.Context, s *store.SQLite) (any, error) {
				return s.PutRequest(ctx, broker.Request{ID: "REQ1"})
			},
		}},
		{"users", `user "bob"`, reads{
			"User":         func(ctx context.Context, s *store.SQLite) (any, error) { return s.User(ctx, "bob") },
			"UsersByEmail": func(ctx context.Context, s *store.SQLite) (any, error) { return s.UsersByEmail(ctx, "bob@example.com") },
			"Users": func(ctx context.Context, s *store.SQLite) (any, error) {
				return nil, s.Users(ctx, func(broker.User) bool { return true })
			},
			"Identify":      identify,
			"IdentifyToken": identifyToken,
			"Pending":       pending,
		}},
		{"identities", `identity "T012AB/U0789"`, reads{
			"Identity":      func(ctx context.Context, s *store.SQLite) (any, error) { return s.Identity(ctx, bobID) },
			"Identify":      identify,
			"IdentifyToken": identifyToken,
		}},
		{"proposals", `proposal "01P"`, reads{
			"Proposal": func(ctx context.Context, s *store.SQLite) (any, error) { return s.Proposal(ctx, "01P") },
			"Proposals": func(ctx context.Context, s *store.SQLite) (any, error) {
				return nil, s.Proposals(ctx, func(broker.Proposal) bool { return true })
			},
			"Pending": pending,
			"Walk": func(ctx context.Context, s *store.SQLite) (any, error) {
				return nil, s.Walk(ctx, store.Visitor{Proposal: func(broker.Proposal) error { return nil }})
			},
		}},
		{"fences", `fence "` + fenceARN + `"`, reads{
			"Fence": func(ctx context.Context, s *store.SQLite) (any, error) { return s.Fence(ctx, fenceARN) },
			"PutFence": func(ctx context.Context, s *store.SQLite) (any, error) {
				return s.PutFence(ctx, broker.Fence{RoleARN: fenceARN})
			},
			"Walk": func(ctx context.Context, s *store.SQLite) (any, error) {
				return nil, s.Walk(ctx, store.Visitor{Fence: func(broker.Fence) error { return nil }})
			},
		}},
		{"paces", `pace "prod-admin"`, reads{
			"Pace": func(ctx context.Context, s *store.SQLite) (any, error) { return s.Pace(ctx, "prod-admin") },
			"PutPace": func(ctx context.Context, s *store.SQLite) (any, error) {
				return s.PutPace(ctx, broker.Pace{Role: "prod-admin"})
			},
			"Walk": func(ctx context.Context, s *store.SQLite) (any, error) {
				return nil, s.Walk(ctx, store.Visitor{Pace: func(broker.Pace) error { return nil }})
			},
		}},
		{"policies", `policy "1"`, reads{"Head": head, "Pending": pending}},
		{"documents", `document "` + document().Digest() + `"`, reads{"Head": head, "Identify": identify, "IdentifyToken": identifyToken}},
		{"events", `event "01A"`, reads{
			"Events": func(ctx context.Context, s *store.SQLite) (any, error) { return s.Events(ctx, broker.EventQuery{}) },
		}},
	} {
		for damage, body := range map[string]string{
			"garbage":           `'hunter2'`,
			"nothing":           `''`,
			"cut short":         `substr(CAST(body AS TEXT), 1, length(body) / 2)`,
			"more after it":     `body || '{"hunter2":1}'`,
			"a newer field":     `json_set(iif(json_valid(body), body, '{}'), '$.hunter2', 1)`,
			"another type":      `'{"name":["hunter2"],"id":7,"slack":"hunter2","version":"hunter2"}'`,
			"an unreadable day": `'{"created_at":"hunter2","asked_at":"hunter2","bound_at":"hunter2","made_at":"hunter2","lease":"hunter2","time":"hunter2"}'`,
		} {
			t.Run(c.table+"/"+damage, func(t *testing.T) {
				path := newPath(t)
				if err := os.WriteFile(path, read(t, whole), 0o600); err != nil {
					t.Fatal(err)
				}
				kind := "TEXT"
				if c.table == "documents" {
					kind = "BLOB"
				}
				rawExec(t, path, `DROP TRIGGER events_same`,
					`UPDATE `+c.table+` SET body = CAST(`+body+` AS `+kind+`)`)
				s := open(t, path)
				for name, read := range c.reads {
					got, err := read(t.Context(), s)
					if !errors.Is(err, broker.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
						t.Errorf("%s: error: %v, want ErrUnavailable that names %s", name, err, c.says)
					} else if strings.Contains(err.Error(), "hunter2") {
						t.Errorf("%s: the error tells what is stored: %v", name, err)
					}
					if found, ok := got.(bool); ok && found {
						t.Errorf("%s returned part of what it read", name)
					}
				}
			})
		}
	}
}

// A version whose document is missing is damaged, not absent.
func TestSQLiteMissingDocument(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rawExec(t, path, `DELETE FROM documents`)
	_, _, err := open(t, path).Head(t.Context())
	if !errors.Is(err, broker.ErrUnavailable) || errors.Is(err, broker.ErrNotFound) {
		t.Errorf("error: %v, want ErrUnavailable", err)
	}
}
