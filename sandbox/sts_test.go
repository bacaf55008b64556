package sandbox_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/starback/starback/sandbox"
)

// stsPolicy is a session policy of exactly n characters.
func stsPolicy(n int) string {
	const head, tail = `{"Version":"2012-10-17","Statement":[{"Sid":"`, `","Effect":"Allow","Action":"*","Resource":"*"}]}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

func stsStatement(s string) string { return `{"Version":"2012-10-17","Statement":` + s + `}` }

func stsTags(n int) []types.Tag {
	var tags []types.Tag
	for i := range n {
		tags = append(tags, stsOneTag(fmt.Sprintf("key%d", i), "value")...)
	}
	return tags
}

func stsOneTag(key, value string) []types.Tag {
	return []types.Tag{{Key: aws.String(key), Value: aws.String(value)}}
}

func stsARNs(n int, arn string) []types.PolicyDescriptorType {
	var arns []types.PolicyDescriptorType
	for range n {
		arns = append(arns, types.PolicyDescriptorType{Arn: aws.String(arn)})
	}
	return arns
}

// TestAssumeRoleRules has the rules that a call keeps or breaks by itself.
func TestAssumeRoleRules(t *testing.T) {
	w := newAWSWorld(t)
	const (
		invalid   = "ValidationError"
		malformed = "MalformedPolicyDocument"
		tooLarge  = "PackedPolicyTooLarge"
		denied    = "AccessDenied"
		readOnly  = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	)
	name := func(s string) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String(s) }
	}
	source := func(s string) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.SourceIdentity = aws.String(s) }
	}
	seconds := func(n int32) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(n) }
	}
	tags := func(tags ...types.Tag) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.Tags = tags }
	}
	policy := func(s string) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.Policy = aws.String(s) }
	}
	arns := func(n int, arn string) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.PolicyArns = stsARNs(n, arn) }
	}
	tests := []struct {
		name string
		ask  func(*sts.AssumeRoleInput)
		want string // the code of the refusal, "" for none
	}{
		{"nothing special", func(*sts.AssumeRoleInput) {}, ""},

		{"no such role", func(in *sts.AssumeRoleInput) { in.RoleArn = aws.String(awsRole + "2") }, denied},
		{"not the ARN of a role", func(in *sts.AssumeRoleInput) { in.RoleArn = aws.String(w.User.ARN) }, invalid},
		{"ARN too short", func(in *sts.AssumeRoleInput) { in.RoleArn = aws.String("arn:aws:iam::1:role") }, invalid},

		{"session name of 2", name("ab"), ""},
		{"session name of 64", name(strings.Repeat("a", 64)), ""},
		{"session name as Starback's", name("alice@01JD7Y3Q0V5N8W2R4T6Y8Z0A1B"), ""},
		{"session name of 1", name("a"), invalid},
		{"session name of 65", name(strings.Repeat("a", 65)), invalid},
		{"session name with a space", name("alice smith"), invalid},
		{"session name with a colon", name("alice:01JD7Y"), invalid},
		{"session name with an accent", name("zoé"), invalid},
		{"session name with a newline at its end", name("alice\n"), invalid},

		{"source identity of 2", source("ab"), ""},
		{"source identity of 64", source(strings.Repeat("a", 64)), ""},
		{"source identity that is empty", source(""), invalid},
		{"source identity of 1", source("a"), invalid},
		{"source identity of 65", source(strings.Repeat("a", 65)), invalid},
		{"source identity with a slash", source("a/b"), invalid},
		{"source identity of AWS's own", source("aws:alice"), invalid},

		{"900 seconds", seconds(900), ""},
		{"899 seconds", seconds(899), invalid},
		{"as long as the role allows", seconds(8 * 3600), ""},
		{"longer than the role allows", seconds(8*3600 + 1), invalid},
		{"longer than AWS allows", seconds(43201), invalid},
		{"zero seconds", seconds(0), invalid},

		{"50 tags", tags(stsTags(50)...), ""},
		{"51 tags", tags(stsTags(51)...), invalid},
		{"tag as Starback's", tags(stsOneTag("starback:request", "01JD7Y3Q0V5N8W2R4T6Y8Z0A1B")...), ""},
		{"tag with an accent", tags(stsOneTag("team", "équipe 1")...), ""},
		{"tag with no value", tags(stsOneTag("team", "")...), ""},
		{"tag with no key", tags(stsOneTag("", "x")...), invalid},
		{"tag key of 128", tags(stsOneTag(strings.Repeat("é", 128), "x")...), ""},
		{"tag key of 129", tags(stsOneTag(strings.Repeat("é", 129), "x")...), invalid},
		{"tag value of 256", tags(stsOneTag("k", strings.Repeat("é", 256))...), ""},
		{"tag value of 257", tags(stsOneTag("k", strings.Repeat("é", 257))...), invalid},
		{"tag value with a hash", tags(stsOneTag("reason", "ticket #1")...), invalid},
		{"tag key of AWS's own", tags(stsOneTag("aws:user", "x")...), invalid},
		{"tag key of AWS's own in capitals", tags(stsOneTag("AWS:user", "x")...), invalid},
		{"tag whose key is a number", tags(stsOneTag("1", "x")...), ""},
		{"tag keys alike but for case", tags(types.Tag{Key: aws.String("Team"), Value: aws.String("a")},
			types.Tag{Key: aws.String("team"), Value: aws.String("b")}), "InvalidParameterValue"},

		{"policy of 2,048 characters", policy(stsPolicy(2048)), ""},
		{"policy of 2,049 characters", policy(stsPolicy(2049)), tooLarge},
		{"policy that is no JSON", policy("{"), malformed},
		{"policy that is empty", policy(""), malformed},
		{"policy that is a list", policy("[]"), malformed},
		{"policy without a statement", policy(`{"Version":"2012-10-17"}`), malformed},
		{"policy with no statements", policy(stsStatement(`[]`)), malformed},
		{"policy of an unknown version", policy(`{"Version":"2026-01-01","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`), malformed},
		{"policy with one bare statement", policy(stsStatement(`{"Effect":"Deny","NotAction":"s3:*","NotResource":"*"}`)), ""},
		{"policy with no effect", policy(stsStatement(`[{"Action":"*","Resource":"*"}]`)), malformed},
		{"policy with another effect", policy(stsStatement(`[{"Effect":"allow","Action":"*","Resource":"*"}]`)), malformed},
		{"policy with no action", policy(stsStatement(`[{"Effect":"Allow","Resource":"*"}]`)), malformed},
		{"policy with no resource", policy(stsStatement(`[{"Effect":"Allow","Action":"*"}]`)), malformed},
		{"policy with both actions", policy(stsStatement(`[{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}]`)), malformed},
		{"policy with a principal", policy(stsStatement(`[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]`)), malformed},
		{"policy in characters not allowed", policy(stsStatement(`[{"Sid":"日本","Effect":"Allow","Action":"*","Resource":"*"}]`)), invalid},

		{"10 policy ARNs", arns(10, readOnly), ""},
		{"11 policy ARNs", arns(11, readOnly), invalid},
		{"ARN of something else", arns(1, awsRole), invalid},
		{"ARNs and a policy of 2,048 together", func(in *sts.AssumeRoleInput) {
			in.PolicyArns, in.Policy = stsARNs(1, readOnly), aws.String(stsPolicy(2048-len(readOnly)))
		}, ""},
		{"ARNs and a policy of 2,049 together", func(in *sts.AssumeRoleInput) {
			in.PolicyArns, in.Policy = stsARNs(1, readOnly), aws.String(stsPolicy(2049-len(readOnly)))
		}, tooLarge},

		{"external id nobody asks for", func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String("some/id:1") }, ""},
		{"external id of 1", func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String("x") }, invalid},
		{"external id with a space", func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String("a b") }, invalid},

		{"a parameter the sandbox lacks", func(in *sts.AssumeRoleInput) { in.TransitiveTagKeys = []string{"k"} }, "NotImplemented"},
	}
	client := w.stsAsUser()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := &sts.AssumeRoleInput{RoleArn: aws.String(awsRole), RoleSessionName: aws.String("alice")}
			tt.ask(in)
			_, err := client.AssumeRole(t.Context(), in)
			if got := awsCode(t, err); got != tt.want {
				t.Errorf("code %q, want %q: %v", got, tt.want, err)
			}
		})
	}
}

func TestAssumeRoleNamesEveryFailure(t *testing.T) {
	w := newAWSWorld(t)
	_, err := w.stsAsUser().AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(awsRole), RoleSessionName: aws.String("!"), DurationSeconds: aws.Int32(60),
	})
	const want = `3 validation errors detected: ` +
		`Value '!' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2; ` +
		`Value '!' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*; ` +
		`Value '60' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900`
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want it to end in %s", err, want)
	}
}

// TestAssumeRoleTrust has the rules that depend on the role and on who calls.
func TestAssumeRoleTrust(t *testing.T) {
	const user = "arn:aws:iam::" + awsAccount + ":user/starback"
	tests := []struct {
		name  string
		trust sandbox.Trust
		base  bool // the caller is a session of the Base role, not the user
		ask   sts.AssumeRoleInput
		allow bool
	}{
		{"nobody", sandbox.Trust{}, false, sts.AssumeRoleInput{}, false},
		{"the user", sandbox.Trust{Principals: []string{user}}, false, sts.AssumeRoleInput{}, true},
		{"another user", sandbox.Trust{Principals: []string{user + "2"}}, false, sts.AssumeRoleInput{}, false},
		{"the user, and a role calls", sandbox.Trust{Principals: []string{user}}, true, sts.AssumeRoleInput{}, false},
		{"the role", sandbox.Trust{Principals: []string{awsBase}}, true, sts.AssumeRoleInput{}, true},
		{"the role, and the user calls", sandbox.Trust{Principals: []string{awsBase}}, false, sts.AssumeRoleInput{}, false},
		{"one of two", sandbox.Trust{Principals: []string{awsBase, user}}, false, sts.AssumeRoleInput{}, true},
		{"the account, and the user calls", sandbox.Trust{Principals: []string{"arn:aws:iam::" + awsAccount + ":root"}}, false, sts.AssumeRoleInput{}, true},
		{"the account, and a role calls", sandbox.Trust{Principals: []string{"arn:aws:iam::" + awsAccount + ":root"}}, true, sts.AssumeRoleInput{}, true},
		{"another account", sandbox.Trust{Principals: []string{"arn:aws:iam::" + awsOther + ":root"}}, false, sts.AssumeRoleInput{}, false},

		{"tags allowed", sandbox.Trust{Principals: []string{user}, TagSession: true}, false,
			sts.AssumeRoleInput{Tags: stsTags(1)}, true},
		{"tags not allowed", sandbox.Trust{Principals: []string{user}, SetSourceIdentity: true}, false,
			sts.AssumeRoleInput{Tags: stsTags(1)}, false},
		{"source identity allowed", sandbox.Trust{Principals: []string{user}, SetSourceIdentity: true}, false,
			sts.AssumeRoleInput{SourceIdentity: aws.String("alice")}, true},
		{"source identity not allowed", sandbox.Trust{Principals: []string{user}, TagSession: true}, false,
			sts.AssumeRoleInput{SourceIdentity: aws.String("alice")}, false},

		{"external id given", sandbox.Trust{Principals: []string{user}, ExternalID: "secret-handshake"}, false,
			sts.AssumeRoleInput{ExternalId: aws.String("secret-handshake")}, true},
		{"external id absent", sandbox.Trust{Principals: []string{user}, ExternalID: "secret-handshake"}, false,
			sts.AssumeRoleInput{}, false},
		{"external id wrong", sandbox.Trust{Principals: []string{user}, ExternalID: "secret-handshake"}, false,
			sts.AssumeRoleInput{ExternalId: aws.String("another")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newAWSWorld(t)
			w.AddRole(sandbox.Role{ARN: awsRole, Trust: tt.trust})
			client, caller := w.stsAsUser(), user
			if tt.base {
				client, caller = w.stsAs(w.baseCredentials(t)), "arn:aws:sts::"+awsAccount+":assumed-role/Base/instance"
			}
			tt.ask.RoleArn, tt.ask.RoleSessionName = aws.String(awsRole), aws.String("alice")
			_, err := client.AssumeRole(t.Context(), &tt.ask)
			if tt.allow {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if got := awsCode(t, err); got != "AccessDenied" {
				t.Fatalf("code %q: %v", got, err)
			}
			// The same words whatever was missing.
			if want := "User: " + caller + " is not authorized to perform: sts:AssumeRole on resource: " + awsRole; !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%v, want it to end in %s", err, want)
			}
		})
	}
}

func TestAssumeRoleChained(t *testing.T) {
	w := newAWSWorld(t)
	const last = "arn:aws:iam::" + awsOther + ":role/Last"
	w.AddRole(sandbox.Role{
		ARN:                last,
		Trust:              sandbox.Trust{Principals: []string{awsRole}, SetSourceIdentity: true},
		MaxSessionDuration: 12 * time.Hour,
	})
	w.AddRole(sandbox.Role{ARN: last + "Plain", Trust: sandbox.Trust{Principals: []string{awsRole}}})
	assume := func(client *sts.Client, role string, source *string, seconds int32) (*sts.AssumeRoleOutput, error) {
		return client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: aws.String(role), RoleSessionName: aws.String("alice"), SourceIdentity: source, DurationSeconds: aws.Int32(seconds),
		})
	}
	session := func(source *string) *sts.Client {
		out, err := assume(w.stsAsUser(), awsRole, source, 8*3600)
		if err != nil {
			t.Fatal(err)
		}
		return w.stsAs(stsCredentials(out))
	}
	anonymous, alice := session(nil), session(aws.String("alice"))

	tests := []struct {
		name    string
		client  *sts.Client
		role    string
		source  *string
		seconds int32
		want    string // the code of the refusal, "" for none
		inherit string // the source identity of the new session
	}{
		{"one hour", anonymous, last, nil, 3600, "", ""},
		{"more than one hour", anonymous, last, nil, 3601, "ValidationError", ""},
		{"source identity is inherited", alice, last, nil, 3600, "", "alice"},
		{"source identity is repeated", alice, last, aws.String("alice"), 3600, "", "alice"},
		{"source identity is changed", alice, last, aws.String("bob"), 3600, "AccessDenied", ""},
		{"source identity is new", anonymous, last, aws.String("bob"), 3600, "", "bob"},
		{"inherited, and not allowed", alice, last + "Plain", nil, 3600, "AccessDenied", ""},
		{"none, and not allowed", anonymous, last + "Plain", nil, 3600, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := assume(tt.client, tt.role, tt.source, tt.seconds)
			if got := awsCode(t, err); got != tt.want {
				t.Fatalf("code %q, want %q: %v", got, tt.want, err)
			}
			if err == nil && aws.ToString(out.SourceIdentity) != tt.inherit {
				t.Errorf("source identity %q, want %q", aws.ToString(out.SourceIdentity), tt.inherit)
			}
		})
	}

	_, err := assume(anonymous, last, nil, 3601)
	if want := "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want it to end in %s", err, want)
	}
}

func TestAssumeRoleSession(t *testing.T) {
	w := newAWSWorld(t)
	out, err := w.stsAsUser().AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(awsRole), RoleSessionName: aws.String("alice@1"), SourceIdentity: aws.String("alice"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := w.now().Add(time.Hour).Truncate(time.Second); !out.Credentials.Expiration.Equal(want) {
		t.Errorf("expires %v, want the default of an hour: %v", out.Credentials.Expiration, want)
	}
	if got, want := aws.ToString(out.AssumedRoleUser.Arn), "arn:aws:sts::"+awsAccount+":assumed-role/ReadOnly/alice@1"; got != want {
		t.Errorf("ARN %s, want %s", got, want)
	}
	who, err := w.stsAs(stsCredentials(out)).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(who.Arn) != aws.ToString(out.AssumedRoleUser.Arn) || aws.ToString(who.UserId) != aws.ToString(out.AssumedRoleUser.AssumedRoleId) {
		t.Errorf("the session is %s (%s), AssumeRole said %s (%s)", aws.ToString(who.Arn), aws.ToString(who.UserId),
			aws.ToString(out.AssumedRoleUser.Arn), aws.ToString(out.AssumedRoleUser.AssumedRoleId))
	}
}

func TestSessionTokenSize(t *testing.T) {
	tests := []struct {
		name string
		set  int // 0 leaves the default
		min  *int32
		want int // 0 means refused
	}{
		{"the default", 0, nil, 1000},
		{"the largest", 4096, nil, 4096},
		{"a minimum below", 0, aws.Int32(10), 1000},
		{"a minimum above", 0, aws.Int32(4096), 4096},
		{"a minimum too large", 0, aws.Int32(4097), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newAWSWorld(t)
			if tt.set != 0 {
				w.SetTokenSize(tt.set)
			}
			out, err := w.stsAsUser().AssumeRole(t.Context(), &sts.AssumeRoleInput{
				RoleArn: aws.String(awsRole), RoleSessionName: aws.String("alice"), MinimumSessionTokenSize: tt.min,
			})
			if tt.want == 0 {
				if got := awsCode(t, err); got != "ValidationError" {
					t.Errorf("code %q", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := len(aws.ToString(out.Credentials.SessionToken)); n != tt.want || int(aws.ToInt32(out.SessionTokenSize)) != tt.want {
				t.Errorf("a token of %d said to be of %d, want %d", n, aws.ToInt32(out.SessionTokenSize), tt.want)
			}
			if _, err := w.stsAs(stsCredentials(out)).GetCallerIdentity(t.Context(), nil); err != nil {
				t.Errorf("the token does not work: %v", err)
			}
		})
	}
}

func TestUnknownSTSAction(t *testing.T) {
	w := newAWSWorld(t)
	_, err := w.stsAsUser().GetSessionToken(t.Context(), nil)
	if got := awsCode(t, err); got != "InvalidAction" {
		t.Errorf("code %q: %v", got, err)
	}
}

func stsCredentials(out *sts.AssumeRoleOutput) sandbox.Credentials {
	return sandbox.Credentials{
		AccessKeyID:     aws.ToString(out.Credentials.AccessKeyId),
		SecretAccessKey: aws.ToString(out.Credentials.SecretAccessKey),
		SessionToken:    aws.ToString(out.Credentials.SessionToken),
		Expires:         aws.ToTime(out.Credentials.Expiration),
	}
}
