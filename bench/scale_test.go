package bench_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

func init() {
	all = append(all, []struct {
		name    string
		measure func(testing.TB, effort) []figure
	}{
		{"users", amongUsers},
		{"large policy", largePolicy},
	}...)
}

// A size is how much an installation holds.
type size struct{ users, groups, roles int }

// sizes returns what is compared. Without -figures it is less than the figures'
// names say, so as to be quick.
func sizes() (large, small size) {
	if *full {
		return size{100_000, 2000, 10_000}, size{1000, 5, 50}
	}
	return size{1000, 20, 100}, size{100, 5, 50}
}

// policy returns a policy of so many groups and roles. The roles are in cascades of
// ten, and each group grants the tops of two.
func (n size) policy() *policy.Document {
	d := &policy.Document{
		Accounts: map[policy.AccountName]policy.Account{"prod": {Name: "prod", ID: "111122223333", Partition: "aws"}},
		Groups:   map[policy.GroupName]policy.Group{},
		Roles:    map[policy.RoleName]*policy.Role{},
		Admins:   []policy.GroupName{groupName(0)},
		Settings: policy.Settings{UserLifetime: 90 * 24 * time.Hour},
	}
	for i := range n.roles {
		r := &policy.Role{
			Name: roleName(i), Account: "prod", AccountID: "111122223333", Partition: "aws",
			ARN:         "arn:aws:iam::111122223333:role/starback/" + string(roleName(i)),
			Description: "Look after the part of the plant that has the number " + fmt.Sprint(i),
			MaxDuration: 4 * time.Hour, DefaultDuration: time.Hour,
		}
		if i%deep < deep-1 {
			r.Includes = []policy.RoleName{roleName(i + 1)}
		}
		d.Roles[r.Name] = r
	}
	for i := range n.groups {
		d.Groups[groupName(i)] = policy.Group{Name: groupName(i), Grants: []policy.Grant{
			{Role: roleName(i * deep % n.roles)}, {Role: roleName((i + 1) * deep % n.roles)},
		}}
	}
	return d
}

func groupName(i int) policy.GroupName { return policy.GroupName(fmt.Sprintf("group-%04d", i)) }
func roleName(i int) policy.RoleName   { return policy.RoleName(fmt.Sprintf("role-%05d", i)) }

// question is put by someone in five of the groups, who asks for the lowest role
// of a cascade that the last of them grants.
func (n size) question(d *policy.Document, now time.Time) policy.Input {
	s := policy.Subject{Name: "alice", Enabled: true, Expires: now.AddDate(1, 0, 0)}
	for i := range 5 {
		s.Groups = append(s.Groups, groupName(i*(n.groups-1)/4))
	}
	last := d.Groups[s.Groups[4]].Grants[1].Role
	for len(d.Roles[last].Includes) > 0 {
		last = d.Roles[last].Includes[0]
	}
	return policy.Input{Policy: d, Now: now, Subject: s, Asked: policy.Asked{Role: last}}
}

// populated is a store with so many users, and when they were made.
type populated struct {
	*store.SQLite
	file string
	now  time.Time
	size
}

// populate makes a store of a size. One user is put into it as any is, and then
// copied, all in one statement: thousands of writes a second would take long.
func populate(t testing.TB, n size) populated {
	t.Helper()
	p := populated{file: filepath.Join(t.TempDir(), "starback.db"), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), size: n}
	var err error
	if p.SQLite, err = store.OpenSQLite(t.Context(), p.file, store.SQLiteOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	d := n.policy()
	head := broker.Head{Version: 1, Digest: d.Digest(), Author: "bench", AppliedAt: p.now}
	if err := p.PutPolicy(t.Context(), head, d); err != nil {
		t.Fatal(err)
	}
	slack := broker.SlackID{Team: team, User: "U000000"}
	if _, err := p.PutUser(t.Context(), broker.User{
		Name: "user-000000", ID: "id-000000", Enabled: true, Expires: p.now.AddDate(1, 0, 0), CreatedAt: p.now,
		Groups: n.question(d, p.now).Subject.Groups, Slack: slack,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.PutIdentity(t.Context(), broker.Identity{
		Slack: slack, User: "user-000000", UserID: "id-000000", Standing: broker.Active, SeenAt: p.now, BoundAt: p.now, BoundBy: "bench",
	}); err != nil {
		t.Fatal(err)
	}
	db := p.open(t)
	const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) `
	for _, copied := range []string{
		`INSERT INTO users (name, version, body) ` + numbers + `
			SELECT replace(name, '000000', printf('%06d', i)), version, replace(body, '000000', printf('%06d', i)) FROM users, n`,
		`INSERT INTO identities (team, person, version, user, body) ` + numbers + `
			SELECT team, replace(person, '000000', printf('%06d', i)), version, replace(user, '000000', printf('%06d', i)),
				replace(body, '000000', printf('%06d', i)) FROM identities, n`,
	} {
		if _, err := db.ExecContext(t.Context(), copied, n.users); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// open opens the file of the store beside it.
func (p populated) open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+p.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// amongUsers compares finding out who a caller is and deciding on what they
// ask for among many users, groups and roles with doing so among few. Each
// time it is another user's turn, and the median decision counts.
func amongUsers(t testing.TB, e effort) []figure {
	large, small := sizes()
	turn := 0
	deciding := func(n size) func() time.Duration {
		p := populate(t, n)
		role := n.question(n.policy(), p.now).Asked.Role
		return func() time.Duration {
			return measureMedian(10*e.ops, func() {
				turn++
				slack := broker.SlackID{Team: team, User: fmt.Sprintf("U%06d", turn*7919%n.users)}
				facts, err := p.Identify(t.Context(), slack)
				if err != nil {
					t.Fatal(err)
				}
				decide(t, policy.Input{
					Policy: facts.Policy, Subject: facts.User.Subject(facts.Owner), Now: p.now, Asked: policy.Asked{Role: role},
				})
			})
		}
	}
	ours, yardstick := deciding(large), deciding(small)
	return []figure{newFigure("Identify and Decide among 100,000 users ÷ among 1,000", compare(e.rounds, ours, yardstick), time.Duration.Seconds, micros)}
}

// largePolicy measures what a policy of 2,000 groups and 10,000 roles costs:
// to decide on, to load and to keep.
func largePolicy(t testing.TB, e effort) []figure {
	large, small := sizes()
	p := populate(t, size{users: 1, groups: large.groups, roles: large.roles})
	big, few := large.question(large.policy(), p.now), small.question(small.policy(), p.now)
	deciding := compare(e.rounds,
		func() cost { return measure(t, 20*e.ops, func() { decide(t, big) }) },
		func() cost { return measure(t, 20*e.ops, func() { decide(t, few) }) })

	plain, err := big.Policy.Encode()
	if err != nil {
		t.Fatal(err)
	}
	loading := compare(e.rounds, func() cost {
		return measure(t, 1, func() {
			if _, _, err := p.Policy(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		})
	}, func() cost {
		return measure(t, 1, func() {
			var d policy.Document
			if err := json.Unmarshal(plain, &d); err != nil {
				t.Fatal(err)
			}
		})
	})

	stored := 0
	row := p.open(t).QueryRowContext(t.Context(), `SELECT sum(length(body)) FROM documents`)
	if err := row.Scan(&stored); err != nil {
		t.Fatal(err)
	}
	heap, disk := make([]pair[int], e.rounds), make([]pair[int], e.rounds)
	for i := range e.rounds {
		heap[i] = pair[int]{ours: heapOf(t, p), yardstick: len(plain)}
		disk[i] = pair[int]{ours: stored, yardstick: len(plain)}
	}
	bytes := func(n int) float64 { return float64(n) }
	return []figure{
		newFigure("policy: Decide among 2,000 groups, 10,000 roles ÷ among few", deciding, wall, micros),
		newFigure("loading 2,000 groups, 10,000 roles ÷ reading their JSON", loading, wall, millis),
		newFigure("memory of 2,000 groups, 10,000 roles ÷ their JSON", heap, bytes, megabytes),
		newFigure("storing 2,000 groups, 10,000 roles ÷ their JSON", disk, bytes, megabytes),
	}
}

// heapOf returns how many bytes of heap the policy takes once it is loaded.
func heapOf(t testing.TB, p populated) int {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, d, err := p.Policy(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(d)
	return int(after.HeapAlloc) - int(before.HeapAlloc)
}

// megabytes writes a number of bytes down.
func megabytes(n float64) string { return fmt.Sprintf("%.2f MB", n/1e6) }
