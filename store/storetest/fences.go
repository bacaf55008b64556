package storetest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// fenceARN is the IAM role of aFence.
const fenceARN = "arn:aws:iam::111122223333:role/starback/ReadOnly"

// testFences tests what keeps ended Sessions out of IAM roles.
func testFences(t *testing.T, open func(*testing.T) Store) {
	testKind(t, open, func(s Store) kind[broker.Fence] {
		return kind[broker.Fence]{
			put: s.PutFence,
			get: func(ctx context.Context) (broker.Fence, error) {
				f, err := s.Fence(ctx, fenceARN)
				if err == nil && reflect.ValueOf(f).IsZero() {
					err = broker.ErrNotFound // as of all other kinds
				}
				return f, err
			},
			fresh: func() broker.Fence { return aFence(fenceARN) },
			mark:  func(f *broker.Fence, w string) { f.Ended = append(f.Ended, broker.Ended{SessionID: w}) },
			marks: func(f broker.Fence) (words []string) {
				for _, ended := range f.Ended[2:] {
					words = append(words, ended.SessionID)
				}
				return words
			},
			version: func(f *broker.Fence) *int64 { return &f.Version },
		}
	})
	cases(t, open, []promise{
		{"one that is not there is zero", func(t *testing.T, s Store) {
			for _, arn := range []string{fenceARN, ""} {
				wantSame(t, must(s.Fence(t.Context(), arn))(t), broker.Fence{})
			}
		}},
		{"each role has its own", func(t *testing.T, s Store) {
			ctx := t.Context()
			arns := []string{fenceARN, fenceARN + "2", "arn:aws:iam::111122223333:role/ReadOnly", "arn:aws-cn:iam::111122223333:role/starback/ReadOnly"}
			for i, arn := range arns {
				f := aFence(arn)
				f.Published = i + 1
				must(s.PutFence(ctx, f))(t)
			}
			for i, arn := range arns {
				if f := must(s.Fence(ctx, arn))(t); f.RoleARN != arn || f.Published != i+1 {
					t.Errorf("%s reads as %s, with %d published", arn, f.RoleARN, f.Published)
				}
			}
			near := "arn:aws:iam::111122223333:role/starback/readonly"
			wantSame(t, must(s.Fence(ctx, near))(t), broker.Fence{})
		}},
		{"needs no attention", func(t *testing.T, s Store) {
			must(s.PutFence(t.Context(), aFence(fenceARN)))(t)
			putTrail(t, s, "REQ1", notices(clock))
			wantDue(t, s, clock.Add(24*time.Hour), trailed{ref: broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}})
		}},
	})
}

// aFence denies one Session, and is to deny another.
func aFence(roleARN string) broker.Fence {
	return broker.Fence{
		RoleARN: roleARN,
		Ended: []broker.Ended{
			{SessionID: "01JBXQ5A3M8V6T4E2R0Z9YSSSS", Until: clock.Add(time.Hour)},
			{SessionID: "01JBXQ5A3M8V6T4E2R0Z9YTTTT", Until: clock.Add(30 * time.Minute)},
		},
		Published: 1, Holder: "worker-1", Lease: clock.Add(time.Minute),
	}
}
