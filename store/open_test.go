package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/store"
)

func TestParseSpec(t *testing.T) {
	for spec, want := range map[string]store.Spec{
		"file:starback.db":         {Engine: store.EngineSQLite, Name: "starback.db"},
		"file:/var/lib/a:b.db":     {Engine: store.EngineSQLite, Name: "/var/lib/a:b.db"},
		"dynamodb:starback.prod_1": {Engine: store.EngineDynamoDB, Name: "starback.prod_1"},
	} {
		got, err := store.ParseSpec(spec)
		if err != nil || got != want || got.String() != spec {
			t.Errorf("%q is %+v (%v), want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{
		"", "file", "file:", "dynamodb:", "dynamodb:a b", "dynamodb:ab", "postgres://x", "starback.db", "File:x", " file:x",
	} {
		_, err := store.ParseSpec(spec)
		if !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", spec, err)
		}
	}
}

func TestOpen(t *testing.T) {
	w := newWire(t)
	if _, err := store.CreateTable(t.Context(), w.cfg, w.table, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	path := newPath(t)
	for _, c := range []struct {
		spec string
		aws  error // of reading the configuration
		want error
	}{
		{"file:" + path, errCut, nil},
		{"dynamodb:" + w.table, nil, nil},
		{"dynamodb:" + w.table, errCut, errCut},
		{"dynamodb:", nil, broker.ErrInvalid},
		{"file:" + t.TempDir(), nil, broker.ErrUnavailable},
	} {
		s, err := store.Open(t.Context(), c.spec, store.Options{
			AWS: func(context.Context) (aws.Config, error) { return w.cfg, c.aws },
			Now: time.Now, Entropy: rand.Reader,
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.spec, err, c.want)
		}
		if err != nil {
			if s != nil {
				t.Errorf("%s: a store beside an error", c.spec)
			}
			continue
		}
		if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
			t.Errorf("%s: %v", c.spec, err)
		}
	}
}
