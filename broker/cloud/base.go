package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/starback/starback/broker"
)

// baseTTL is how long base credentials read from SSM are used before they are
// read again. AWS refusing them ends it sooner.
const baseTTL = 5 * time.Minute

// A baseError says that Starback has no base credentials to act with.
type baseError struct{ error }

func (e baseError) Unwrap() error { return e.error }

// newBase returns the base credentials that c.Base names.
func newBase(c Config) (*aws.CredentialsCache, error) {
	var provider aws.CredentialsProvider
	name, isSSM := strings.CutPrefix(c.Base, "ssm:")
	switch {
	case c.Base == "default":
		provider = c.AWS.Credentials
	case isSSM && strings.HasPrefix(name, "/") && len(name) > 1:
		provider = &parameter{client: ssm.NewFromConfig(c.AWS), name: name, now: c.Now}
	default:
		return nil, fmt.Errorf(`the base credentials are neither "default" nor "ssm:/path": %w`, broker.ErrInvalid)
	}
	return aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		if provider == nil {
			return aws.Credentials{}, baseError{errors.New("the SDK's default chain has no credentials")}
		}
		// All who need the credentials at once wait for one answer, whose ctx
		// ends with none of theirs: without a bound, one that never comes would
		// keep out all who ask later.
		ctx, stop := context.WithTimeout(ctx, basePatience)
		defer stop()
		c, err := provider.Retrieve(ctx)
		if err != nil {
			return aws.Credentials{}, baseError{err}
		}
		return c, nil
	})), nil
}

// basePatience is how long the base credentials are waited for.
const basePatience = 10 * time.Second

// A parameter reads an access key from an SSM SecureString holding
// {"access_key_id": …, "secret_access_key": …}.
type parameter struct {
	client *ssm.Client
	name   string
	now    func() time.Time
}

// Retrieve implements aws.CredentialsProvider. Its errors never hold the
// parameter's value.
func (p *parameter) Retrieve(ctx context.Context) (aws.Credentials, error) {
	value, err := secureString(ctx, p.client, p.name)
	if err != nil {
		return aws.Credentials{}, err
	}
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	dec := json.NewDecoder(strings.NewReader(value.Reveal()))
	dec.DisallowUnknownFields()
	if dec.Decode(&key) != nil || dec.More() || key.ID == "" || key.Secret == "" {
		return aws.Credentials{}, fmt.Errorf(`the SSM parameter %s does not hold {"access_key_id": "…", "secret_access_key": "…"}`, p.name)
	}
	return aws.Credentials{
		AccessKeyID: key.ID, SecretAccessKey: key.Secret, Source: "ssm:" + p.name,
		CanExpire: true, Expires: p.now().Add(baseTTL),
	}, nil
}
