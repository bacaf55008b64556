package cloud

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/starback/starback/broker"
)

// Parameter reads a secret from an SSM SecureString.
func Parameter(ctx context.Context, cfg aws.Config, name string) (broker.Secret, error) {
	return secureString(ctx, ssm.NewFromConfig(cfg), name)
}

// secureString reads a SecureString. Any other kind of parameter is refused:
// it would not be encrypted. Errors never hold the value.
func secureString(ctx context.Context, client *ssm.Client, name string) (broker.Secret, error) {
	out, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if err != nil {
		return broker.Secret{}, fmt.Errorf("reading the SSM parameter %s: %w", name, err)
	}
	if out.Parameter == nil || out.Parameter.Type != types.ParameterTypeSecureString {
		return broker.Secret{}, fmt.Errorf("the SSM parameter %s is not a SecureString", name)
	}
	return broker.NewSecret(aws.ToString(out.Parameter.Value)), nil
}
