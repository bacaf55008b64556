package policy_test

import (
	"fmt"
	"time"

	"github.com/starback/starback/broker/policy"
)

const exampleFile = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  sre: {grants: [prod-admin]}
  leads: {}
admins: [leads]
roles:
  prod-admin:
    account: prod
    iam_role: starback/Admin
    includes: [prod-readonly]
    max_duration: 4h
    approval: {by: [leads]}
  prod-readonly:
    account: prod
    iam_role: starback/ReadOnly
    max_duration: 8h
`

func ExampleParse() {
	file, err := policy.Parse("policy.yaml", []byte(exampleFile), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(file.Document.Roles["prod-admin"].ARN)
	// Output: arn:aws:iam::111122223333:role/starback/Admin
}

func ExampleParse_refused() {
	_, err := policy.Parse("policy.yaml", []byte("version: 1\ngroups:\n  leads: {}\nadmin: [leads]\n"), nil)
	fmt.Println(err)
	// Output:
	// policy.yaml:4:1: unknown key `admin`; did you mean `admins`?
}

func ExampleDecide() {
	file, err := policy.Parse("policy.yaml", []byte(exampleFile), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	alice := policy.Subject{
		Name: "alice", Enabled: true, Expires: now.AddDate(0, 3, 0),
		Groups: []policy.GroupName{"sre"},
	}
	for _, role := range []policy.RoleName{"prod-readonly", "prod-admin", "root"} {
		d := policy.Decide(policy.Input{
			Policy: file.Document, Subject: alice, Asked: policy.Asked{Role: role}, Now: now,
		})
		fmt.Printf("%s: %v (%s) %s\n", role, d.Effect, d.Rule, d.PathString())
	}
	// Output:
	// prod-readonly: allow (grant.held) alice ∈ sre → prod-admin → includes prod-readonly
	// prod-admin: needs approval (approval.required) alice ∈ sre → prod-admin
	// root: deny (role.unknown)
}
