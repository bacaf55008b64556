package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/starback/starback/broker/policy"
)

// large writes a policy with so many roles, a fifth as many accounts and
// groups, and so many users. Each role includes the next, ten deep.
func large(roles, users int) []byte {
	var s strings.Builder
	groups := max(roles/5, 1)
	s.WriteString("version: 1\naccounts:\n")
	for i := range groups {
		fmt.Fprintf(&s, "  account-%05d: {id: \"%012d\", region: eu-west-1}\n", i, i+1)
	}
	s.WriteString("groups:\n  admins: {}\n")
	for i := range groups {
		fmt.Fprintf(&s, "  group-%05d:\n    grants:\n      - role-%05d\n      - {role: role-%05d, until: 2027-01-31}\n",
			i, i*5, (i*5+11)%roles)
	}
	s.WriteString("admins: [admins]\nroles:\n")
	for i := range roles {
		fmt.Fprintf(&s, `  role-%05d:
    account: account-%05d
    iam_role: starback/Role%05d
    description: Role number %d of this file
    max_duration: 4h
    reason: required
    approval: {by: [group-%05d]}
    session_policy:
      Version: "2012-10-17"
      Statement:
        - Effect: Allow
          Action: ["s3:GetObject", "s3:ListBucket"]
          Resource: ["arn:aws:s3:::bucket-%05d", "arn:aws:s3:::bucket-%05d/*"]
`, i, i/5%groups, i, i, i/5%groups, i, i)
		if i%10 != 9 && i+1 < roles {
			fmt.Fprintf(&s, "    includes: [role-%05d]\n", i+1)
		}
	}
	if users > 0 {
		s.WriteString("users:\n")
	}
	for i := range users {
		fmt.Fprintf(&s, "  user-%05d: {slack: T012AB/U%05d, email: user-%05d@example.com, groups: [group-%05d], expires: 2027-06-30}\n",
			i, i, i, i%groups)
	}
	return []byte(s.String())
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []struct{ roles, users int }{{100, 100}, {1_000, 1_000}, {10_000, 10_000}, {10_000, 100_000}} {
		b.Run(fmt.Sprintf("roles=%d/users=%d", size.roles, size.users), func(b *testing.B) {
			src := large(size.roles, size.users)
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.Parse("policy.yaml", src, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, roles := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("roles=%d", roles), func(b *testing.B) {
			file, err := policy.Parse("policy.yaml", large(roles, 0), nil)
			if err != nil {
				b.Fatal(err)
			}
			stored := encode(b, file.Document)
			b.SetBytes(int64(len(stored)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.Decode(stored); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestLarge reads a large file, stores it and reads it again; and one in which
// much is wrong.
func TestLarge(t *testing.T) {
	const roles, users = 500, 500
	src := large(roles, users)
	file, err := policy.Parse("policy.yaml", src, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Document.Roles) != roles || len(file.Users) != users {
		t.Errorf("%d roles and %d users, want %d and %d", len(file.Document.Roles), len(file.Users), roles, users)
	}
	roundTrip(t, file.Document)

	wrong := strings.ReplaceAll(string(src), "includes: [role-", "includes: [roll-")
	_, err = policy.Parse("policy.yaml", []byte(wrong), nil)
	checkErrors(t, "policy.yaml", wrong, err)
	if !strings.Contains(err.Error(), "there is no role `roll-00001`; did you mean `role-00001`?") {
		t.Errorf("Parse: %v", err)
	}
}
