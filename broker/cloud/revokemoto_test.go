package cloud_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/internal/motolocal"
)

// Moto's IAM, in which permissions are not enforced but versions are kept as
// AWS keeps them, takes what is published.
func TestPublishInMoto(t *testing.T) {
	c := cloud.Config{
		AWS: aws.Config{
			Region: "eu-west-1", BaseEndpoint: aws.String(motolocal.Start(t)),
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
