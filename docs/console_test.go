package docs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// programs is the folder of the built starback.
var programs string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if programs, err = os.MkdirTemp("", "starback-docs-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	build := exec.Command("go", "build", "-o", filepath.Join(programs, "starback"), "../cmd/starback")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A block is what a page shows between fences: in its first line of which kind,
// then what.
type block struct{ kind, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

func blocks(page string) (found []block) {
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		found = append(found, block{m[1], m[2]})
	}
	return found
}

// A story is a page as it is played: in a folder of its own, by a shell of its
// own, beside a Slack and an AWS that the sandbox plays.
type story struct {
	*testing.T
	folder string
	env    []string
}

// TestStories plays the pages with blocks of these kinds, from top to bottom:
//
//	yaml     whose first line is a comment with a file's name: is that file
//	console  "$ command", and under it what that prints, on both streams
//	slack    "NAME types: /starback …", and under it what NAME sees;
//	         "NAME presses: BUTTON", and under it, among what NAME sees, this;
//	         "in #CHANNEL:", and under it what stands there, among other things
//
// In what is printed, … stands for anything, and on a line of its own for any
// number of lines; in a message it stands for anything. A command ends with 0,
// unless "$ echo $?" says otherwise.
func TestStories(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests run no programs")
	}
	played := 0
	for file, text := range pages(t) {
		if !strings.Contains(text, "\n```console\n") {
			continue
		}
		played++
		t.Run(strings.TrimPrefix(file, "../"), func(t *testing.T) {
			t.Parallel()
			s := &story{T: t, folder: t.TempDir()}
			s.env = append(os.Environ(), "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+s.folder,
				"TZ=UTC", "STARBACK_STORE=file:starback.db", "AWS_CONFIG_FILE=none", "AWS_EC2_METADATA_DISABLED=true")
			s.play(blocks(text))
		})
	}
	if played < 2 {
		t.Errorf("only %d pages show commands and what they print", played)
	}
}

// play plays a page. What its commands do is done at once, by one shell, and
// then what people see in Slack.
func (s *story) play(page []block) {
	var script bytes.Buffer
	var shown []string // what each command prints
	for _, b := range page {
		name, ok := strings.CutPrefix(b.text, "# ")
		name, _, _ = strings.Cut(name, "\n")
		switch {
		case b.kind == "yaml" && ok && strings.HasSuffix(name, ".yaml"):
			fmt.Fprintf(&script, "cat >%s <<'END-OF-FILE'\n%sEND-OF-FILE\n", name, b.text)
		case b.kind == "console":
			for _, part := range strings.Split("\n"+b.text, "\n$ ")[1:] {
				command, prints, _ := strings.Cut(part, "\n")
				shown = append(shown, command+"\n"+prints)
				fmt.Fprintf(&script, "%s\nstatus=$?; printf '\\036%%d\\036' $status; (exit $status)\n", command)
			}
		}
	}
	shell := exec.CommandContext(s.Context(), "sh")
	shell.Dir, shell.Env, shell.Stdin = s.folder, s.env, &script
	said, _ := shell.CombinedOutput() // its status is the last command's
	answers := strings.Split(string(said), "\x1e")
	for i, part := range shown {
		command, prints, _ := strings.Cut(part, "\n")
		if 2*i+1 >= len(answers) {
			s.Fatalf("the shell ended before: %s\n%s", command, said)
		}
		next := ""
		if i+1 < len(shown) {
			next, _, _ = strings.Cut(shown[i+1], "\n")
		}
		if status := answers[2*i+1]; status != "0" && next != "echo $?" {
			s.Errorf("$ %s\nended with %s", command, status)
		}
		s.compare("$ "+command, prints, answers[2*i])
	}
	s.slack(page)
}

// columns are the spaces between two of a table, as many as the widest cell
// needs.
var columns = regexp.MustCompile(`  +`)

// compare fails unless a command prints what the page shows.
func (s *story) compare(command, shown, seen string) {
	s.Helper()
	even := func(text string) string {
		text = regexp.MustCompile(`(?m)[ \r]+$`).ReplaceAllString(strings.TrimSpace(text), "")
		return columns.ReplaceAllString(text, "  ")
	}
	pattern := regexp.MustCompile(`(?m)^…$`).ReplaceAllString(regexp.QuoteMeta(even(shown)), `(?s:.*?)`)
	pattern = strings.ReplaceAll(pattern, "…", `[^\n]*`)
	if !regexp.MustCompile(`^` + pattern + `$`).MatchString(even(seen)) {
		s.Errorf("%s\nprints, as the page shows it,\n%s\nand in truth\n%s", command, shown, seen)
	}
}

// flow is a message without what depends on how long its words are: where its
// lines break.
func flow(text string) string {
	return strings.Join(strings.Fields(regexp.MustCompile(`(?m)^  \|`).ReplaceAllString(text, "")), " ")
}

// flowing matches a message as a page shows it.
func flowing(shown string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(flow(shown)), "…", ".*?")
}

// slack has people type and press what the page says, in a Slack whose Starback
// is on the page's store.
func (s *story) slack(page []block) {
	var control *sandbox.Control
	for _, b := range page {
		if b.kind != "slack" {
			continue
		}
		if control == nil {
			control = s.serve()
		}
		lead, shown, _ := strings.Cut(b.text, "\n")
		pattern := flowing(shown)
		var look func() ([]string, error)
		switch name, what, ok := strings.Cut(lead, " types: "); {
		case ok:
			pattern = `^` + pattern + `$`
			look = func() ([]string, error) { return control.Type(s.Context(), name, "general", what) }
		case strings.HasPrefix(lead, "in #"):
			look = func() ([]string, error) {
				return control.Channel(s.Context(), strings.TrimSuffix(strings.TrimPrefix(lead, "in #"), ":"))
			}
		default:
			if name, what, ok = strings.Cut(lead, " presses: "); !ok {
				s.Fatalf("who types that? %s", lead)
			}
			look = func() ([]string, error) { return control.Click(s.Context(), name, what) }
		}
		wanted := regexp.MustCompile(pattern)
		// What others do, and what Starback passes on, is seen a little later.
		for tries := 50; ; tries-- {
			seen, err := look()
			all := strings.Join(seen, "\n")
			if err == nil && wanted.MatchString(flow(all)) {
				break
			}
			if again := err != nil || strings.HasPrefix(lead, "in #"); again && tries > 0 {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			s.Fatalf("%s\nsees, as the page shows it,\n%s\nand in truth\n%s\n%v", lead, shown, all, err)
		}
	}
}

// people are those of the pages who use Slack.
var people = []sandbox.SlackUser{{ID: "U0456", Name: "alice"}, {ID: "U0789", Name: "bob"}}

// serve starts Starback beside a Slack and an AWS, and says how to type into
// that Slack.
func (s *story) serve() *sandbox.Control {
	s.Helper()
	slack := sandbox.NewSlack(sandbox.SlackConfig{Now: time.Now, TeamID: "T012AB"})
	slackServer := httptest.NewServer(slack)
	s.Cleanup(slackServer.Close)
	slack.SetURL(slackServer.URL)
	var members []string
	for _, u := range people {
		slack.AddUser(u)
		members = append(members, u.ID)
	}
	slack.AddChannel(sandbox.SlackChannel{ID: "C0GENERAL", Name: "general", Members: members})
	slack.AddChannel(sandbox.SlackChannel{ID: "C0APPROVALS", Name: "starback-approvals", Members: []string{"U0456"}, BotIn: true})
	aws := sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now})
	awsServer := httptest.NewServer(aws)
	s.Cleanup(awsServer.Close)
	key := aws.AddUser("999988887777", "starback-base")
	const allowAll = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`
	for _, name := range []string{"ReadOnly", "Admin"} {
		role := &policy.Role{ARN: "arn:aws:iam::111122223333:role/starback/" + name}
		aws.AddPolicy(cloud.BoundaryARN(role), allowAll)
		aws.AddRole(sandbox.Role{
			ARN: role.ARN, MaxSessionDuration: 12 * time.Hour, Permissions: allowAll, Boundary: cloud.BoundaryARN(role),
			Trust: sandbox.Trust{Principals: []string{key.ARN}, TagSession: true, SetSourceIdentity: true},
		})
	}
	aws.AddRole(sandbox.Role{
		ARN: "arn:aws:iam::111122223333:role/" + cloud.RevokerRole, Permissions: allowAll, Trust: sandbox.Trust{Principals: []string{key.ARN}},
	})

	starback := exec.CommandContext(s.Context(), filepath.Join(programs, "starback"), "serve", "--addr", "127.0.0.1:0")
	starback.Dir = s.folder
	starback.Env = append(s.env, "SLACK_SIGNING_SECRET="+slack.SigningSecret(), "SLACK_BOT_TOKEN="+slack.BotToken(),
		"SLACK_API_URL="+slackServer.URL+"/api/", "STARBACK_SLACK_TEAMS=T012AB", "STARBACK_APPROVALS_CHANNEL=C0APPROVALS",
		"STARBACK_RESPONSE_HOSTS="+strings.TrimPrefix(slackServer.URL, "http://"), "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL="+awsServer.URL,
		"AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey, "STARBACK_SIGNIN_URL="+awsServer.URL+"/federation")
	stdout, err := starback.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	var complaints bytes.Buffer
	starback.Stderr = &complaints
	if err := starback.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		_ = starback.Process.Kill()
		_ = starback.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var line struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			slack.SetApp("http://" + line.Addr)
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			controls := httptest.NewServer(slack.Control())
			s.Cleanup(controls.Close)
			return &sandbox.Control{Base: controls.URL, HTTP: &http.Client{Timeout: time.Minute}}
		}
	}
	_ = starback.Wait()
	s.Fatalf("starback does not serve\n%s", complaints.String())
	return nil
}

// What is another at every run: times of day, and ids.
var another = regexp.MustCompile(`today at \d+:\d\d [AP]M|tomorrow at \d+:\d\d [AP]M|\b(?:ASIA)?[0-9A-Z]{16,26}\b`)

// TestScene finds the scene of the README in what the demo prints.
func TestScene(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests run no programs")
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(programs, "starback"), "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("starback demo: %v\n%s", err, out)
	}
	_, text, _ := strings.Cut(section(t, "../README.md", "## What people see"), "```\n")
	text, _, _ = strings.Cut(text, "```\n")
	if !strings.Contains(text, "types: /starback") {
		t.Fatalf("the README shows no scene, but %q", text)
	}
	rest := another.ReplaceAllString(flow(string(out)), "X")
	for part := range strings.SplitSeq(text, "\n\n") {
		at := regexp.MustCompile(flowing(another.ReplaceAllString(part, "X"))).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("the demo does not print, after what stands before it in the README:\n%s", part)
		}
		rest = rest[at[1]:]
	}
}

// A command in a page stands where a shell would find one: after a prompt, a
// pipe, a variable or nothing. It ends with its line or its code.
var inShell = regexp.MustCompile("(?m)(?:^|[`|;&(]|[A-Z]=\\S+ )\\s*(?:\\$ )?(?:bin/)?starback( [^`|;&$>)\\n]+)")

var (
	usage    = regexp.MustCompile(`(?m)^Usage:\n  starback((?: [a-z-]+)*)(.*)`)
	flagWord = regexp.MustCompile(`(?:^|\s)(--?[a-z][a-z-]*)`)
	quoted   = regexp.MustCompile(`'[^']*'|"[^"]*"`)
)

// commandWords are the words of a command that is said in a page, up to its
// arguments and flags.
func commandWords(said string) (words []string) {
	for _, word := range strings.Fields(said) {
		if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz-") != "" || strings.HasPrefix(word, "-") {
			break
		}
		words = append(words, word)
	}
	return words
}

// helpOn is what the program says of the command at path; nothing, if there is
// none.
func helpOn(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(programs, "starback"), append(strings.Fields(path), "--help")...).Output()
	if err != nil {
		return ""
	}
	u := usage.FindSubmatch(out)
	if u == nil || bytes.Contains(out, []byte("[command]")) && strings.TrimSpace(string(u[1])) != path {
		return ""
	}
	return string(out)
}

// TestCommands finds every command that a page names, and its flags.
func TestCommands(t *testing.T) {
	help := map[string]string{}
	found := 0
	texts := pages(t)
	texts["policy-repository/.github/workflows/policy.yml"] = read(t, "policy-repository/.github/workflows/policy.yml")
	for file, text := range texts {
		for _, m := range inShell.FindAllStringSubmatch(text, -1) {
			found++
			said := quoted.ReplaceAllString(m[1], "Q")
			path := strings.Join(commandWords(said), " ")
			if _, ok := help[path]; !ok {
				help[path] = helpOn(t, path)
			}
			if help[path] == "" {
				t.Errorf("%s: there is no command starback%s", file, m[1])
				continue
			}
			for _, flag := range flagWord.FindAllStringSubmatch(said, -1) {
				if !regexp.MustCompile(`(?m)[ ,]` + flag[1] + `[ ,\n]`).MatchString(help[path]) {
					t.Errorf("%s: starback%s: there is no %s", file, m[1], flag[1])
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("the pages name only %d commands", found)
	}
}
