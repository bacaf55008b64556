package cloud_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/starback/starback/broker/cloud"
)

// startMoto runs moto's AWS, which is not ours, and returns where it listens.
func startMoto(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("unit tests run no engine")
	}
	program, err := exec.LookPath("moto_server")
	if err != nil {
		if os.Getenv("STARBACK_REQUIRE_ENGINES") != "" {
			t.Fatal("moto_server is not on this machine")
		}
		t.Skip("moto_server is not on this machine")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), program, "-H", host, "-p", port)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if answer, err := httpClient.Get("http://" + address + "/moto-api/"); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return "http://" + address
			}
		}
	}
	t.Fatal("moto_server did not start within a minute")
	return ""
}

// Moto's IAM, in which permissions are not enforced but versions are kept as
// AWS keeps them, takes what is published.
func TestPublishInMoto(t *testing.T) {
	c := cloud.Config{
		AWS: aws.Config{
			Region: "eu-west-1", BaseEndpoint: aws.String(startMoto(t)), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""),
		},
		Base: "default", Issuer: "https://slack.example/", HTTP: httpClient, Now: func() time.Time { return began },
	}
	r := newRevoker(t, c)
	const motoAccount = "123456789012"
	in := func(arn string) string { return strings.Replace(arn, account, motoAccount, 1) }
	client := iam.NewFromConfig(c.AWS)
	boundary, err := client.CreatePolicy(t.Context(), &iam.CreatePolicyInput{
		PolicyName: aws.String("starback-Admin"), Path: aws.String("/starback-boundary/"), PolicyDocument: aws.String(in(adminBoundary(t))),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(boundary.Policy.Arn); got != in(adminLimits) {
		t.Fatalf("the boundary is %s", got)
	}
	trust := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}`
	for _, role := range []*iam.CreateRoleInput{
		{Path: aws.String("/starback/"), RoleName: aws.String("Admin"), PermissionsBoundary: boundary.Policy.Arn},
		{Path: aws.String("/starback-system/"), RoleName: aws.String("starback-revoker")},
	} {
		role.AssumeRolePolicyDocument = &trust
		if _, err := client.CreateRole(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}

	made := 0
	for _, n := range []int{0, 1, 2, 2, 150, 20, 3, 0, 7} {
		before, _ := inForce(t, client, in(adminLimits))
		f := ended(n)
		f.RoleARN, f.AccountID = in(adminARN), motoAccount
		if err := r.Publish(t.Context(), f); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		document, versions := inForce(t, client, in(adminLimits))
		if got := strings.Count(document, "*@"); got != n || len(versions) > 5 {
			t.Errorf("published %d sessions: %d are denied, in versions %v", n, got, versions)
		}
		if document != before {
			made++
		}
	}
	if made != 7 {
		t.Errorf("made %d versions of 7 different boundaries", made)
	}
	f := fence(sessionID(1))
	f.RoleARN, f.AccountID = in(adminARN), motoAccount
	if _, err := client.DeleteRolePermissionsBoundary(t.Context(), &iam.DeleteRolePermissionsBoundaryInput{RoleName: aws.String("Admin")}); err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(t.Context(), f); !errors.Is(err, cloud.ErrNoBoundary) {
		t.Errorf("without the boundary: %v", err)
	}
}
