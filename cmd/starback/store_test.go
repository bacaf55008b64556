package main

import (
	"context"
	"crypto/rand"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/cmd/internal/config"
	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/store"
)

// What serve puts together works on a table as on a file.
func TestServiceOnDynamoDB(t *testing.T) {
	ctx, awsCfg, table := t.Context(), dynamolocal.Config(t), dynamolocal.TableName()
	if _, err := store.CreateTable(ctx, awsCfg, table, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	cfg := config.Config{Store: "dynamodb:" + table, Base: "default", SigningSecret: broker.NewSecret("an example"), Hosts: []string{"hooks.slack.com"}}
	s, err := newService(ctx, cfg, awsCfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer s.store.Close()
	if err := s.jobs.Enqueue(ctx, broker.Job{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, cfg.Store, store.Options{
		AWS: func(context.Context) (aws.Config, error) { return awsCfg, nil }, Now: time.Now, Entropy: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n, err := db.Waiting(ctx); err != nil || n != 1 {
		t.Errorf("%d jobs are waiting in the table (%v), want 1", n, err)
	}
}

// TestDynamoDBStories plays the stories whose store is a DynamoDB table.
func TestDynamoDBStories(t *testing.T) {
	cfg := dynamolocal.Config(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/dynamodb",
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"HOME": env.WorkDir, "AWS_CONFIG_FILE": filepath.Join(env.WorkDir, "none"), "AWS_EC2_METADATA_DISABLED": "true",
				"AWS_REGION": cfg.Region, "AWS_ENDPOINT_URL_DYNAMODB": aws.ToString(cfg.BaseEndpoint),
				"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "TABLE": dynamolocal.TableName(),
			} {
				env.Setenv(name, value)
			}
			return nil
		},
	})
}
