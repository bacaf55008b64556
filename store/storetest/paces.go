package storetest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// testPaces tests how long people took to answer.
func testPaces(t *testing.T, open func(*testing.T) Store) {
	testKind(t, open, func(s Store) kind[broker.Pace] {
		return kind[broker.Pace]{
			put: s.PutPace,
			get: func(ctx context.Context) (broker.Pace, error) {
				p, err := s.Pace(ctx, "prod-admin")
				if err == nil && reflect.ValueOf(p).IsZero() {
					err = broker.ErrNotFound // as of all other kinds
				}
				return p, err
			},
			fresh: func() broker.Pace { return aPace("prod-admin") },
			mark:  func(p *broker.Pace, w string) { p.Answers = append(p.Answers, broker.PaceAnswer{RequestID: w}) },
			marks: func(p broker.Pace) (words []string) {
				for _, a := range p.Answers[1:] {
					words = append(words, a.RequestID)
				}
				return words
			},
			version: func(p *broker.Pace) *int64 { return &p.Version },
		}
	})
	cases(t, open, []promise{
		{"one that is not there is zero", func(t *testing.T, s Store) {
			for _, role := range []policy.RoleName{"prod-admin", ""} {
				wantSame(t, must(s.Pace(t.Context(), role))(t), broker.Pace{})
			}
		}},
		{"each role has its own", func(t *testing.T, s Store) {
			ctx := t.Context()
			roles := []policy.RoleName{"prod-admin", "prod-admin2", "prod", "admin"}
			for i, role := range roles {
				p := aPace(role)
				p.Answers[0].Took = time.Duration(i)
				must(s.PutPace(ctx, p))(t)
			}
			for i, role := range roles {
				if p := must(s.Pace(ctx, role))(t); p.Role != role || p.Answers[0].Took != time.Duration(i) {
					t.Errorf("%s reads as %+v", role, p)
				}
			}
		}},
		{"needs no attention", func(t *testing.T, s Store) {
			must(s.PutPace(t.Context(), aPace("prod-admin")))(t)
			putTrail(t, s, "REQ1", notices(clock))
			wantDue(t, s, clock.Add(24*time.Hour), trailed{ref: broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}})
		}},
	})
}

// aPace is of one answer.
func aPace(role policy.RoleName) broker.Pace {
	return broker.Pace{Role: role, Answers: []broker.PaceAnswer{{RequestID: "REQ1", At: clock, Took: 6 * time.Minute}}}
}
