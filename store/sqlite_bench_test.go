package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func BenchmarkIdentify(b *testing.B) {
	s := open(b, newPath(b))
	fill(b, s)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Identify(b.Context(), bobID); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkIdentifyToken(b *testing.B) {
	s := open(b, newPath(b))
	fill(b, s)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if facts, err := s.IdentifyToken(b.Context(), bobToken); err != nil || facts.User.Name != "bob" {
				b.Error(facts.User.Name, err)
			}
		}
	})
}

func BenchmarkPutRequest(b *testing.B) {
	s := open(b, newPath(b))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, err := s.PutRequest(b.Context(), broker.Request{ID: fmt.Sprint(n), Role: "prod-readonly"}); err != nil {
			b.Fatal(err)
		}
	}
}

// aUser is a User as most are: a person with an address, two Groups, and a
// Notice that is due in a month.
func aUser(name policy.UserName) broker.User {
	at := time.Date(2026, time.November, 5, 9, 30, 0, 0, time.UTC)
	return broker.User{
		Name: name, ID: "01JBXQ5A3M8V6T4E2R0Z9YAAAA", Enabled: true, Expires: at.AddDate(0, 2, 0),
		Groups: []policy.GroupName{"dev", "sre"}, Email: string(name) + "@example.com", Slack: bobID, CreatedAt: at,
		Trail: broker.Trail{Notices: []broker.Notice{{ID: "n", Kind: broker.NoticeAudit, Due: at.AddDate(0, 1, 0)}}},
	}
}

func BenchmarkPutUser(b *testing.B) {
	s := open(b, newPath(b))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, err := s.PutUser(b.Context(), aUser(policy.UserName(fmt.Sprintf("user-%06d", n)))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkManyUsers looks at 100,000 Users, one of whom has something due.
func BenchmarkManyUsers(b *testing.B) {
	const many = 100_000
	path := newPath(b)
	s := open(b, path)
	if _, err := s.PutUser(b.Context(), aUser("user-000000")); err != nil {
		b.Fatal(err)
	}
	rawExec(b, path, fmt.Sprintf(`
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d - 1)
		INSERT INTO users (name, version, email, team, person, due, body)
		SELECT printf('user-%%06d', i), version, replace(email, '000000', printf('%%06d', i)), team, person, due,
			replace(body, '000000', printf('%%06d', i)) FROM users, n`, many))
	due, err := s.User(b.Context(), "user-050000")
	if err != nil {
		b.Fatal(err)
	}
	due.Trail.Notices = append(due.Trail.Notices, broker.Notice{ID: "now", Due: due.CreatedAt})
	if _, err := s.PutUser(b.Context(), due); err != nil {
		b.Fatal(err)
	}
	b.Run("Users", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			err := s.Users(b.Context(), func(broker.User) bool { n++; return true })
			if err != nil || n != many {
				b.Fatalf("%d users (%v)", n, err)
			}
		}
	})
	b.Run("Pending", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if pending, err := s.Pending(b.Context(), due.CreatedAt, 50); err != nil || len(pending) != 1 {
				b.Fatalf("%d are pending (%v), want 1", len(pending), err)
			}
		}
	})
}
