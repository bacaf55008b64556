package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/sandbox"
)

func TestAWSCalls(t *testing.T) {
	w := newAWSWorld(t)
	w.PutParameter("/a", "1", true)
	const readOnly = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	out, err := w.stsAsUser().AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn:         aws.String(awsRole),
		RoleSessionName: aws.String("alice@1"),
		SourceIdentity:  aws.String("alice"),
		Tags:            stsOneTag("starback:user", "alice"),
		DurationSeconds: aws.Int32(900),
		Policy:          aws.String(stsPolicy(200)),
		PolicyArns:      stsARNs(1, readOnly),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.stsAsUser().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(awsRole), RoleSessionName: aws.String("x")})
	_, _ = w.ssmAsUser().GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/none")})
	session := stsCredentials(out)
	token, _ := w.signinToken(t, signinSession(session), "")
	_, _ = w.login(t, token, signinHome)

	now := w.now()
	want := []sandbox.Call{
		{
			Time: now, Service: "sts", Action: "AssumeRole", AccessKeyID: w.User.AccessKeyID,
			RoleARN: awsRole, SessionName: "alice@1", SourceIdentity: "alice", Tags: map[string]string{"starback:user": "alice"},
			Duration: 15 * time.Minute, Policy: stsPolicy(200), PolicyARNs: []string{readOnly},
			IssuedAccessKeyID: session.AccessKeyID, AssumedRoleID: aws.ToString(out.AssumedRoleUser.AssumedRoleId),
		},
		{
			Time: now, Service: "sts", Action: "AssumeRole", AccessKeyID: w.User.AccessKeyID,
			RoleARN: awsRole, SessionName: "x", Duration: time.Hour, ErrorCode: "ValidationError",
		},
		{Time: now, Service: "ssm", Action: "GetParameter", AccessKeyID: w.User.AccessKeyID, ErrorCode: "ParameterNotFound"},
		{Time: now, Service: "signin", Action: "getSigninToken", AccessKeyID: session.AccessKeyID},
		{Time: now, Service: "signin", Action: "login", AccessKeyID: session.AccessKeyID},
	}
	if diff := cmp.Diff(want, w.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if s := fmt.Sprintf("%+v", w.Calls()); strings.Contains(s, sandbox.Marker) {
		t.Errorf("a secret in the calls: %s", s)
	}

	w.ResetCalls()
	if calls := w.Calls(); len(calls) != 0 {
		t.Errorf("%d calls after ResetCalls", len(calls))
	}
}

// A caller who sends a secret where its id belongs is recorded without it.
func TestAWSCallsKeepNoMisplacedSecret(t *testing.T) {
	w := newAWSWorld(t)
	client := sts.NewFromConfig(w.config(w.User.SecretAccessKey, w.User.AccessKeyID, ""))
	_, err := client.GetCallerIdentity(t.Context(), nil)
	if got := awsCode(t, err); got != "IncompleteSignature" {
		t.Errorf("code %q", got)
	}
	w.signinToken(t, `{"sessionId":"`+w.User.SecretAccessKey+`"}`, "")
	if calls := w.Calls(); len(calls) != 2 || calls[0].AccessKeyID+calls[1].AccessKeyID != "" {
		t.Errorf("calls: %+v", calls)
	}
}

func TestAWSFaults(t *testing.T) {
	tests := []struct {
		name   string
		fault  *sandbox.Fault
		code   string // of the SDK's error; "-" means anything but an answer of the API, "" no error
		record string // the Call's ErrorCode
		issued bool   // a session exists, whatever the caller was told
	}{
		{"none", nil, "", "", true},
		{"throttled", &sandbox.Fault{Status: 400, Code: "Throttling", Message: "Rate exceeded"}, "Throttling", "Throttling", false},
		{"code alone", &sandbox.Fault{Code: "InternalFailure"}, "InternalFailure", "InternalFailure", false},
		{"status alone", &sandbox.Fault{Status: 503}, "InternalFailure", "InternalFailure", false},
		{"fails after the work", &sandbox.Fault{Code: "InternalFailure", After: true}, "InternalFailure", "InternalFailure", true},
		{"dropped", &sandbox.Fault{Drop: true}, "-", "Dropped", false},
		{"dropped after the work", &sandbox.Fault{Drop: true, After: true}, "-", "Dropped", true},
		{"garbage", &sandbox.Fault{Garbage: true}, "-", "Garbage", false},
		{"garbage after the work", &sandbox.Fault{Garbage: true, After: true}, "-", "Garbage", true},
		{"delayed", &sandbox.Fault{Delay: time.Millisecond}, "", "", true},
		{"delayed after the work", &sandbox.Fault{Delay: time.Millisecond, After: true}, "", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newAWSWorld(t)
			var mu sync.Mutex
			var asked []string
			w.SetFault(func(service, action string) *sandbox.Fault {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, service+" "+action)
				return tt.fault
			})
			out, err := w.stsAsUser().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(awsRole), RoleSessionName: aws.String("alice")})
			var api smithy.APIError
			if tt.code == "-" {
				if errors.As(err, &api) || err == nil && out.Credentials != nil {
					t.Errorf("answered: %v, %v", out, err)
				}
			} else if got := awsCode(t, err); got != tt.code {
				t.Errorf("code %q, want %q", got, tt.code)
			}
			mu.Lock()
			diff := cmp.Diff([]string{"sts AssumeRole"}, asked)
			mu.Unlock()
			if diff != "" {
				t.Errorf("the hook was asked about (-want +got):\n%s", diff)
			}
			calls := w.Calls()
			if len(calls) != 1 || calls[0].ErrorCode != tt.record || (calls[0].IssuedAccessKeyID != "") != tt.issued {
				t.Errorf("calls %+v, want one with error %q, issued: %v", calls, tt.record, tt.issued)
			}
			w.SetFault(nil)
			if _, err := w.stsAsUser().GetCallerIdentity(t.Context(), nil); err != nil {
				t.Errorf("without the hook: %v", err)
			}
		})
	}
}

// Each service words a fault as it words its own refusals.
func TestAWSFaultsEverywhere(t *testing.T) {
	w := newAWSWorld(t)
	w.PutParameter("/a", "1", false)
	w.SetFault(func(service, _ string) *sandbox.Fault {
		return &sandbox.Fault{Status: 400, Code: "Throttling" + service, Message: "slow down"}
	})
	_, err := w.ssmAsUser().GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/a")})
	if got := awsCode(t, err); got != "Throttlingssm" {
		t.Errorf("ssm: code %q", got)
	}
	_, err = w.stsAsUser().GetCallerIdentity(t.Context(), nil)
	if got := awsCode(t, err); got != "Throttlingsts" {
		t.Errorf("sts: code %q", got)
	}
	_, _, blame := sigv4Call{form: sigv4WhoAmI, id: "x", secret: "x", service: "sts", region: "x", at: w.now()}.send(t, w)
	if blame != "Sender" {
		t.Errorf("sts: 400 is the %s's fault", blame)
	}
	status, page := w.login(t, "token", signinHome)
	if status != 400 || !strings.Contains(page, "slow down") {
		t.Errorf("signin: %d %s", status, page)
	}
	w.SetFault(func(string, string) *sandbox.Fault { return &sandbox.Fault{Code: "InternalFailure"} })
	status, _, blame = sigv4Call{form: sigv4WhoAmI, id: "x", secret: "x", service: "sts", region: "x", at: w.now()}.send(t, w)
	if status != 500 || blame != "Receiver" {
		t.Errorf("sts: %d is the %s's fault", status, blame)
	}
}

func TestAWSDelayEndsWithItsCaller(t *testing.T) {
	w := newAWSWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.SetFault(func(string, string) *sandbox.Fault {
		cancel()
		return &sandbox.Fault{Delay: time.Hour}
	})
	_, err := w.stsAsUser().AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(awsRole), RoleSessionName: aws.String("alice")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	// The server learns a moment later. Without that the hour passes, and the test's own limit ends it.
	for len(w.Calls()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if c := w.Calls()[0]; c.ErrorCode != "Canceled" || c.IssuedAccessKeyID != "" {
		t.Errorf("recorded %+v", c)
	}
}

func TestAWSConcurrentCalls(t *testing.T) {
	w := newAWSWorld(t)
	w.SetFault(func(string, string) *sandbox.Fault {
		w.Calls() // the hook may ask the sandbox
		return nil
	})
	client := w.stsAsUser()
	var wg sync.WaitGroup
	const n = 20
	for i := range n {
		wg.Go(func() {
			if _, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
				RoleArn: aws.String(awsRole), RoleSessionName: aws.String(fmt.Sprintf("alice@%d", i)),
			}); err != nil {
				t.Error(err)
			}
			w.SetTokenSize(1000 + i)
			w.PutParameter("/a", "1", true)
		})
	}
	wg.Wait()
	issued := make(map[string]bool)
	for _, c := range w.Calls() {
		issued[c.IssuedAccessKeyID] = true
	}
	if len(issued) != n {
		t.Errorf("%d sessions, want %d", len(issued), n)
	}
}
