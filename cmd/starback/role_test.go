package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a script can tell from a command's exit code.
func TestRoleExitCodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(`version: 1
accounts: {prod: {id: "111122223333"}}
groups: {platform: {}}
admins: [platform]
roles:
  bare: {account: prod, iam_role: Bare, max_duration: 1h}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	user := "--trust=arn:aws:iam::999988887777:user/starback-base"
	managed := "--permission-arn=arn:aws:iam::aws:policy/ReadOnlyAccess"
	tests := []struct {
		args []string
		want int
	}{
		{[]string{"render", "bare", "-f", file, user, managed}, exitDone},
		{[]string{"list", "-f", file}, exitDone},
		{[]string{"show", "bare", "-f", file}, exitDone},
		{[]string{"render", "bare", "-f", file, user}, exitFailed},
		{[]string{"render", "bore", "-f", file, user, managed}, exitFailed},
		{[]string{"show", "bore", "-f", file}, exitFailed},
		{[]string{"render", "bare", "-f", file, managed}, exitUsage},
		{[]string{"render", "bare", "-f", file, managed, "--trust=me"}, exitUsage},
		{[]string{"render", "-f", file, user, managed}, exitUsage},
		{[]string{"show", "-f", file}, exitUsage},
		{[]string{"list", "bare", "-f", file}, exitUsage},
		{[]string{"list"}, exitUsage},
	}
	for _, tt := range tests {
		var stderr strings.Builder
		got := run(t.Context(), append([]string{"role"}, tt.args...), func(string) string { return "" }, strings.NewReader(""), io.Discard, &stderr)
		if got != tt.want || (got == exitDone) != (stderr.Len() == 0) {
			t.Errorf("starback role %s: exit code %d, want %d\n%s", strings.Join(tt.args, " "), got, tt.want, stderr.String())
		}
	}
}
