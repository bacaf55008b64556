package storetest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// testWhole tests that nothing of an item is lost, whatever fields it has.
func testWhole(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"of a Request", func(t *testing.T, s Store) {
			want := filled[broker.Request](t)
			want.Version = 0
			want = must(s.PutRequest(t.Context(), want))(t)
			wantSame(t, must(s.Request(t.Context(), want.ID))(t), want)
		}},
		{"of a User", func(t *testing.T, s Store) {
			want := filled[broker.User](t)
			want.Version, want.Removed = 0, false // a tombstone has no address
			want = must(s.PutUser(t.Context(), want))(t)
			wantSame(t, must(s.User(t.Context(), want.Name))(t), want)
			wantSame(t, must(s.UsersByEmail(t.Context(), want.Email))(t), []broker.User{want})
		}},
		{"of an Identity", func(t *testing.T, s Store) {
			want := filled[broker.Identity](t)
			want.Version = 0
			want = must(s.PutIdentity(t.Context(), want))(t)
			wantSame(t, must(s.Identity(t.Context(), want.Slack))(t), want)
		}},
		{"of a Proposal", func(t *testing.T, s Store) {
			want := filled[broker.Proposal](t)
			want.Version = 0
			want = must(s.PutProposal(t.Context(), want))(t)
			wantSame(t, must(s.Proposal(t.Context(), want.ID))(t), want)
		}},
		{"of a Fence", func(t *testing.T, s Store) {
			want := filled[broker.Fence](t)
			want.Version = 0
			want = must(s.PutFence(t.Context(), want))(t)
			wantSame(t, must(s.Fence(t.Context(), want.RoleARN))(t), want)
		}},
		{"of a Pace", func(t *testing.T, s Store) {
			want := filled[broker.Pace](t)
			want.Version = 0
			want = must(s.PutPace(t.Context(), want))(t)
			wantSame(t, must(s.Pace(t.Context(), want.Role))(t), want)
		}},
		{"of a version of the Policy, the newest or not", func(t *testing.T, s Store) {
			first, second := aDocument("first"), aDocument("second")
			want := filled[broker.Head](t)
			want.Version, want.Digest = 1, first.Digest()
			wantNoErr(t, s.PutPolicy(t.Context(), want, first))
			got, _, err := s.Head(t.Context())
			wantNoErr(t, err)
			wantSame(t, got, want)
			wantNoErr(t, apply(s, 2, second))
			got, _, err = s.Policy(t.Context(), 1)
			wantNoErr(t, err)
			wantSame(t, got, want)
		}},
		{"of an Event", func(t *testing.T, s Store) {
			want := filled[broker.Event](t)
			wantNoErr(t, s.Append(t.Context(), []broker.Event{want}))
			wantEvents(t, s, broker.EventQuery{}, []broker.Event{want})
		}},
		{"after its Trail was settled", func(t *testing.T, s Store) {
			user, request, proposal := filled[broker.User](t), filled[broker.Request](t), filled[broker.Proposal](t)
			user.Version, request.Version, proposal.Version = 0, 0, 0
			user = must(s.PutUser(t.Context(), user))(t)
			request = must(s.PutRequest(t.Context(), request))(t)
			proposal = must(s.PutProposal(t.Context(), proposal))(t)
			for ref, trail := range map[broker.Ref]*broker.Trail{
				{Kind: broker.RefUser, Key: string(user.Name)}: &user.Trail,
				{Kind: broker.RefRequest, Key: request.ID}:     &request.Trail,
				{Kind: broker.RefProposal, Key: proposal.ID}:   &proposal.Trail,
			} {
				settlement := broker.Settlement{Indexed: []string{trail.Events[0].ID}, Told: []string{trail.Notices[0].ID}}
				wantNoErr(t, s.Settle(t.Context(), ref, settlement))
				*trail = settlement.Apply(*trail)
			}
			user.Version, request.Version, proposal.Version = 2, 2, 2
			wantSame(t, must(s.User(t.Context(), user.Name))(t), user)
			wantSame(t, must(s.Request(t.Context(), request.ID))(t), request)
			wantSame(t, must(s.Proposal(t.Context(), proposal.ID))(t), proposal)
		}},
	})
}

// filled returns a T in which every field is set, no two alike where that is
// possible, down to the last.
func filled[T any](t *testing.T) (item T) {
	t.Helper()
	n := 0
	fill(t, reflect.ValueOf(&item).Elem(), &n)
	return item
}

// fill sets v, and everything in it, to values made of *n, which it counts up.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(clock.Add(time.Duration(*n) * time.Microsecond)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("検査 %d <&\">", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key, n)
			fill(t, value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	default:
		t.Fatalf("there is no value yet for a field of type %v", v.Type())
	}
}
