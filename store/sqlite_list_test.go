package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/starback/starback/broker"
)

// However many items there are, listing them shows each once, in order.
func TestListPages(t *testing.T) {
	ctx := t.Context()
	for _, many := range []int{0, 1, listPage - 1, listPage, listPage + 1, 2 * listPage} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			s := openTest(t)
			for _, statement := range []string{
				`INSERT INTO users (name, version, body) SELECT printf('x%05d', i), 1, printf('{"name":"x%05d"}', i) FROM n`,
				`INSERT INTO proposals (id, version, body) SELECT printf('x%05d', i), 1, printf('{"id":"x%05d"}', i) FROM n`,
			} {
				numbers := `WITH RECURSIVE n (i) AS (SELECT 0 WHERE ?1 > 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1) `
				if _, err := s.exec(ctx, "filling", numbers+statement, many); err != nil {
					t.Fatal(err)
				}
			}
			wantListed(t, many, s.Users, func(u broker.User) string { return string(u.Name) })
			wantListed(t, many, s.Proposals, func(p broker.Proposal) string { return p.ID })
		})
	}
}

// wantListed fails the test unless list shows as many items as were stored, in
// order.
func wantListed[T any](t *testing.T, many int, list func(context.Context, func(T) bool) error, key func(T) string) {
	t.Helper()
	n := 0
	err := list(t.Context(), func(item T) bool {
		if want := fmt.Sprintf("x%05d", n); key(item) != want {
			t.Fatalf("%s is shown, want %s", key(item), want)
		}
		n++
		return true
	})
	if err != nil || n != many {
		t.Errorf("%d were shown (%v), want %d", n, err, many)
	}
}
