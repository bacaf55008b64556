package sandbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"
)

func TestGetParameter(t *testing.T) {
	w := newAWSWorld(t)
	const secret = `{"access_key_id":"AKIA","secret_access_key":"x"}`
	w.PutParameter("/starback/base", secret, true)
	w.PutParameter("plain", "in the open", false)
	tests := []struct {
		name      string
		parameter string
		decrypt   bool
		value     string // "" means something other than the secret
		kind      types.ParameterType
		arn       string
		want      string // the code of the refusal, "" for none
	}{
		{"secure, decrypted", "/starback/base", true, secret, "SecureString", "parameter/starback/base", ""},
		{"secure, as it is kept", "/starback/base", false, "", "SecureString", "parameter/starback/base", ""},
		{"plain", "plain", false, "in the open", "String", "parameter/plain", ""},
		{"plain, decrypted", "plain", true, "in the open", "String", "parameter/plain", ""},
		{"absent", "/starback/none", true, "", "", "", "ParameterNotFound"},
		{"no name for a parameter", "starback/base", true, "", "", "", "ValidationException"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := w.ssmAsUser().GetParameter(t.Context(), &ssm.GetParameterInput{
				Name: aws.String(tt.parameter), WithDecryption: aws.Bool(tt.decrypt),
			})
			if got := awsCode(t, err); got != tt.want {
				t.Fatalf("code %q, want %q: %v", got, tt.want, err)
			}
			if err != nil {
				return
			}
			p := out.Parameter
			value := aws.ToString(p.Value)
			if tt.value == "" {
				if !strings.HasPrefix(value, "AQICAH") || strings.Contains(value, secret) {
					t.Errorf("the value without decryption is %q", value)
				}
			} else if value != tt.value {
				t.Errorf("value %q, want %q", value, tt.value)
			}
			if want := "arn:aws:ssm:eu-west-1:" + awsAccount + ":" + tt.arn; p.Type != tt.kind || aws.ToString(p.ARN) != want {
				t.Errorf("a %s with ARN %s, want %s with %s", p.Type, aws.ToString(p.ARN), tt.kind, want)
			}
			if d := w.now().Sub(aws.ToTime(p.LastModifiedDate)).Abs().Seconds(); d > 0.01 {
				t.Errorf("modified %v, want %v", p.LastModifiedDate, w.now())
			}
		})
	}
}

func TestGetParameters(t *testing.T) {
	w := newAWSWorld(t)
	w.PutParameter("/a", "1", false)
	w.PutParameter("/b", "2", true)
	out, err := w.ssmAsUser().GetParameters(t.Context(), &ssm.GetParametersInput{
		Names: []string{"/b", "/none", "/a"}, WithDecryption: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, p := range out.Parameters {
		got[aws.ToString(p.Name)] = aws.ToString(p.Value)
	}
	if diff := cmp.Diff(map[string]string{"/a": "1", "/b": "2"}, got); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/none"}, out.InvalidParameters); diff != "" {
		t.Errorf("invalid parameters (-want +got):\n%s", diff)
	}

	for _, names := range [][]string{{}, {"/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9", "/10", "/11"}, {"a b"}} {
		_, err := w.ssmAsUser().GetParameters(t.Context(), &ssm.GetParametersInput{Names: names})
		if got := awsCode(t, err); got != "ValidationException" {
			t.Errorf("%d names: code %q", len(names), got)
		}
	}
}

func TestPutParameter(t *testing.T) {
	w := newAWSWorld(t)
	w.PutParameter("/old", "v", true)
	put := func(name, value string, kind types.ParameterType, overwrite bool) ssm.PutParameterInput {
		return ssm.PutParameterInput{Name: aws.String(name), Value: aws.String(value), Type: kind, Overwrite: aws.Bool(overwrite)}
	}
	tests := []struct {
		name    string
		in      ssm.PutParameterInput
		want    string // the code of the refusal, "" for none
		version int64
	}{
		{"new", put("/new", "v", types.ParameterTypeSecureString, false), "", 1},
		{"of 4,096 bytes", put("/4096", strings.Repeat("v", 4096), types.ParameterTypeString, false), "", 1},
		{"of 4,097 bytes", put("/4097", strings.Repeat("v", 4097), types.ParameterTypeString, false), "ValidationException", 0},
		{"of nothing", put("/0", "", types.ParameterTypeString, false), "ValidationException", 0},
		{"of no type", put("/x", "v", "", false), "ValidationException", 0},
		{"of another type", put("/x", "v", "Number", false), "ValidationException", 0},
		{"with a space", put("/a b", "v", types.ParameterTypeString, false), "ValidationException", 0},
		{"there already", put("/old", "w", types.ParameterTypeSecureString, false), "ParameterAlreadyExists", 0},
		{"overwritten", put("/old", "w", "", true), "", 2},
		{"advanced", ssm.PutParameterInput{Name: aws.String("/x"), Value: aws.String("v"), Tier: types.ParameterTierAdvanced}, "SerializationException", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := w.ssmAsUser().PutParameter(t.Context(), &tt.in)
			if got := awsCode(t, err); got != tt.want {
				t.Fatalf("code %q, want %q: %v", got, tt.want, err)
			}
			if err == nil && out.Version != tt.version {
				t.Errorf("version %d, want %d", out.Version, tt.version)
			}
		})
	}

	out, err := w.ssmAsUser().GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/old"), WithDecryption: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.Parameter.Value) != "w" || out.Parameter.Type != types.ParameterTypeSecureString || out.Parameter.Version != 2 {
		t.Errorf("after the overwrite: %q, a %s, version %d", aws.ToString(out.Parameter.Value), out.Parameter.Type, out.Parameter.Version)
	}
}

// A JSON service has its own names for what a signature gets wrong.
func TestSSMRefusesCallers(t *testing.T) {
	w := newAWSWorld(t)
	w.PutParameter("/a", "1", false)
	role := w.baseCredentials(t)
	tests := []struct {
		name              string
		id, secret, token string
		later             bool
		want              string
	}{
		{"the user", w.User.AccessKeyID, w.User.SecretAccessKey, "", false, ""},
		{"a role", role.AccessKeyID, role.SecretAccessKey, role.SessionToken, false, ""},
		{"unknown key", "AKIAAAAAAAAAAAAAAAAA", "x", "", false, "UnrecognizedClientException"},
		{"wrong secret", w.User.AccessKeyID, "x", "", false, "InvalidSignatureException"},
		{"expired", role.AccessKeyID, role.SecretAccessKey, role.SessionToken, true, "ExpiredTokenException"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.later {
				w.advance(2 * time.Hour)
			}
			client := ssm.NewFromConfig(w.skewed(tt.id, tt.secret, tt.token))
			_, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/a")})
			if got := awsCode(t, err); got != tt.want {
				t.Errorf("code %q, want %q: %v", got, tt.want, err)
			}
		})
	}
}

func TestUnknownSSMAction(t *testing.T) {
	w := newAWSWorld(t)
	_, err := w.ssmAsUser().GetParametersByPath(t.Context(), &ssm.GetParametersByPathInput{Path: aws.String("/")})
	if got := awsCode(t, err); got != "UnknownOperationException" {
		t.Errorf("code %q: %v", got, err)
	}
}
