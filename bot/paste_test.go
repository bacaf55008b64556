package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// blocksOf returns the text of every code block, as a reader copies it.
func blocksOf(t failer, sent []byte) []string {
	t.Helper()
	var m struct {
		Blocks []struct {
			Text struct{ Text string }
		}
	}
	if err := json.Unmarshal(sent, &m); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, b := range m.Blocks {
		if text, ok := strings.CutPrefix(b.Text.Text, fence+"\n"); ok {
			out = append(out, unescape(strings.TrimSuffix(text, "\n"+fence)))
		}
	}
	return out
}

// tokenSizes are those around which the number of blocks changes, and AWS's
// longest.
func tokenSizes() []int {
	sizes := []int{16, 4096}
	for n := 2790; n <= 3100; n += 10 {
		sizes = append(sizes, n)
	}
	return sizes
}

// want is the environment that the blocks of i are to make.
func want(i broker.Issued) map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": i.Credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY": i.Credentials.SecretKey.Reveal(),
		"AWS_SESSION_TOKEN": i.Credentials.SessionToken.Reveal(), "AWS_REGION": i.Role.Region,
	}
}

// pasted returns the blocks that a requester sees for a token of n characters.
func pasted(t *testing.T, shell broker.Shell, n int) (broker.Issued, []string) {
	t.Helper()
	i := issued(readonly(), shell, n, 0)
	m, err := credentialsMessage(i)
	if err != nil {
		t.Fatal(err)
	}
	return i, blocksOf(t, answered(t, m, false))
}

// TestPasteIntoShells pastes the blocks in turn into the shells themselves, and
// looks at what a program started from there is given.
func TestPasteIntoShells(t *testing.T) {
	for _, c := range []struct {
		name  string
		shell broker.Shell
		run   []string
	}{
		{"bash", broker.Bash, []string{"bash", "--norc", "-s"}},
		{"zsh", broker.Bash, []string{"zsh", "-f", "-s"}},
		{"fish", broker.Fish, []string{"fish", "--no-config"}},
		{"pwsh", broker.PowerShell, []string{"pwsh", "-NoProfile", "-Command", "-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, err := exec.LookPath(c.run[0])
			if err != nil {
				t.Skipf("%s is not installed", c.run[0])
			}
			sizes := tokenSizes()
			if c.name == "pwsh" {
				sizes = []int{16, 4096} // it starts slowly
			}
			for _, n := range sizes {
				i, blocks := pasted(t, c.shell, n)
				cmd := exec.CommandContext(t.Context(), path, c.run[1:]...)
				// Older keys in the environment must not survive.
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_SESSION_TOKEN=old", "AWS_ACCESS_KEY_ID=old"}
				cmd.Stdin = strings.NewReader(strings.Join(blocks, "\n") + "\nenv\n")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%d: %v\n%s", n, err, out)
				}
				got := map[string]string{}
				for line := range strings.Lines(string(out)) {
					if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok && strings.HasPrefix(name, "AWS_") {
						got[name] = value
					}
				}
				if diff := cmp.Diff(want(i), got); diff != "" {
					t.Fatalf("%d characters of token in %d blocks (-want +got):\n%s\n%s", n, len(blocks), diff, out)
				}
			}
		})
	}
}

// powerShell is one line of PowerShell that sets a variable of the environment
// to a string in single quotes, in which nothing but a quote means anything.
var powerShell = regexp.MustCompile(`^\$Env:([A-Z_]+) (\+?=) '([^']*)'$`)

// TestPasteIntoPowerShell reads the blocks by PowerShell's rules for quoting,
// where there is no PowerShell.
func TestPasteIntoPowerShell(t *testing.T) {
	for _, n := range tokenSizes() {
		i, blocks := pasted(t, broker.PowerShell, n)
		got := map[string]string{"AWS_SESSION_TOKEN": "old"}
		for line := range strings.SplitSeq(strings.Join(blocks, "\n"), "\n") {
			parts := powerShell.FindStringSubmatch(line)
			switch {
			case parts == nil:
				t.Fatalf("not a line of PowerShell: %s", line)
			case parts[2] == "+=":
				got[parts[1]] += parts[3]
			default:
				got[parts[1]] = parts[3]
			}
		}
		if diff := cmp.Diff(want(i), got); diff != "" {
			t.Fatalf("%d characters of token (-want +got):\n%s", n, diff)
		}
	}
}

// TestPasteIntoFile puts the blocks one right after the other, as the message
// says, and has AWS's own SDK read the file.
func TestPasteIntoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	for _, n := range tokenSizes() {
		i, blocks := pasted(t, broker.File, n)
		if err := os.WriteFile(path, []byte(strings.Join(blocks, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		profile, err := config.LoadSharedConfigProfile(context.Background(), string(i.Role.Name), func(o *config.LoadSharedConfigOptions) {
			o.CredentialsFiles, o.ConfigFiles = []string{path}, []string{}
		})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{
			"AWS_ACCESS_KEY_ID": profile.Credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY": profile.Credentials.SecretAccessKey,
			"AWS_SESSION_TOKEN": profile.Credentials.SessionToken, "AWS_REGION": profile.Region,
		}
		if diff := cmp.Diff(want(i), got); diff != "" {
			t.Fatalf("%d characters of token in %d blocks (-want +got):\n%s", n, len(blocks), diff)
		}
	}
}

// TestPasteBlocks holds that no block is more than Slack takes, and that there
// are no more of them than needed.
func TestPasteBlocks(t *testing.T) {
	for _, shell := range broker.Shells {
		for _, c := range []struct{ token, blocks int }{{1, 1}, {2700, 1}, {3000, 2}, {4096, 2}, {8192, 3}} {
			i := issued(readonly(), shell, c.token, 0)
			parts, err := paste(shell, i)
			if err != nil {
				t.Fatal(err)
			}
			if len(parts) != c.blocks {
				t.Errorf("%s: %d blocks for %d characters, want %d", shell, len(parts), c.token, c.blocks)
			}
			if long := slices.IndexFunc(parts, func(p string) bool { return len(p) > maxCode }); long >= 0 {
				t.Errorf("%s: block %d of %d characters", shell, long, len(parts[long]))
			}
		}
	}
}

// TestUnpasteable holds that what a shell could read as more than text is
// never shown.
func TestUnpasteable(t *testing.T) {
	bad := []string{"", "'", `"`, "\n", "\r", "$", "`", "\\", " ", "é", "🔑", ";", "&", "<", "\x00", "\u2019", "*", "!", "#", "%"}
	for _, shell := range broker.Shells {
		for _, b := range bad {
			value := broker.NewSecret("abc" + b + "def")
			if b == "" {
				value = broker.NewSecret("")
			}
			for name, spoil := range map[string]func(*broker.Credentials){
				"token":  func(c *broker.Credentials) { c.SessionToken = value },
				"secret": func(c *broker.Credentials) { c.SecretKey = value },
				"id":     func(c *broker.Credentials) { c.AccessKeyID = value.Reveal() },
			} {
				i := issued(readonly(), shell, 100, 0)
				spoil(&i.Credentials)
				if _, err := credentialsMessage(i); err != errUnpasteable {
					t.Errorf("%s: %s with %q: %v", shell, name, b, err)
				}
			}
		}
	}
}

// TestSplit holds that parts make up the whole, and are as long as may be.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want []string
	}{
		{"", 3, nil},
		{"abc", 3, []string{"abc"}},
		{"abcd", 3, []string{"abc", "d"}},
		{"a&b", 5, []string{"a", "&", "b"}},
		{"&&", 5, []string{"&", "&"}},
		{"a<b>", 6, []string{"a<b", ">"}},
	} {
		if diff := cmp.Diff(c.want, split(c.text, c.n)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", fmt.Sprintf("split(%q, %d)", c.text, c.n), diff)
		}
	}
}
