package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// TestAdministering plays the stories of administering. Each begins with
// policy.yaml in its folder, and knows as $ME who runs it.
//
// Besides testscript's own, a story has the commands
//
//	exits CODE PROGRAM ARGS...   run a program that ends with CODE
//	as NAME COMMAND...           what the user NAME does in Slack: a command of broker.Commands,
//	                             or "change confirm", of the newest one that waits
func TestAdministering(t *testing.T) {
	example, err := os.ReadFile("testdata/administer.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script/administer",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TZ", "UTC")
			env.Setenv("ME", string(author().User))
			env.Setenv("STARBACK_STORE", storeOf(env.WorkDir))
			return os.WriteFile(filepath.Join(env.WorkDir, "policy.yaml"), example, 0o600)
		},
		Condition: func(cond string) (bool, error) {
			if cond != "me" {
				return false, errors.New("no such condition")
			}
			return author().User != "", nil // else nothing can benefit whoever runs the story
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "as": as},
	})
}

func storeOf(folder string) string { return "file:" + filepath.Join(folder, "starback.db") }

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func as(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	db, err := store.Open(ctx, storeOf(ts.Getenv("WORK")), store.Options{})
	ts.Check(err)
	defer db.Close()
	name, words := args[0], args[1:]
	admin := newAdmin(db, broker.Author{Name: name, User: policy.UserName(name)})
	if slices.Equal(words, []string{"change", "confirm"}) {
		open, err := admin.OpenProposals(ctx)
		ts.Check(err)
		_, err = admin.Confirm(ctx, open[len(open)-1].ID)
		ts.Check(err)
		return
	}
	change, err := broker.ParseCommand(words)
	ts.Check(err)
	_, err = admin.Do(ctx, change)
	ts.Check(err)
}

// TestEveryChange finds a command for each of broker.Commands, with its flags.
func TestEveryChange(t *testing.T) {
	root := (&program{getenv: os.Getenv}).command()
	for _, c := range broker.Commands {
		cmd, rest, err := root.Find(strings.Fields(string(c.Op)))
		if err != nil || len(rest) > 0 || cmd.CommandPath() != "starback "+string(c.Op) {
			t.Errorf("%s: there is %s, and %q is left (%v)", c.Op, cmd.CommandPath(), rest, err)
			continue
		}
		for _, f := range c.Flags {
			if flag := cmd.Flags().Lookup(f.Name); flag == nil || flag.Value.Type() != f.Value {
				t.Errorf("%s has no --%s %s", c.Op, f.Name, f.Value)
			}
		}
	}
}

func TestReviewCSV(t *testing.T) {
	row := broker.ReviewRow{User: "alice", Role: "prod-readonly", AccountID: "111122223333", NeedsApproval: true}
	for _, tt := range []struct{ path, want string }{
		{"alice ∈ dev → prod-readonly", "alice ∈ dev → prod-readonly"},
		{`a "quoted", word`, `"a ""quoted"", word"`},
		{"two\nlines", "\"two\r\nlines\""},
		{"=HYPERLINK(1)", "'=HYPERLINK(1)"},
		{"+1", "'+1"},
		{"-1", "'-1"},
		{"@SUM(A1)", "'@SUM(A1)"},
		{"\t=1", "'\t=1"},
		{"\n=1", "\"'\r\n=1\""},
		{"＝1", "'＝1"},
		{"\r=1", "\"'=1\""},
		{"a=1", "a=1"},
	} {
		row.Path = tt.path
		got, err := reviewCSV([]broker.ReviewRow{row})
		want := "user,owner,role,account_id,path,needs_approval,since,expires,last_used\r\nalice,,prod-readonly,111122223333," + tt.want + ",true,,,\r\n"
		if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", tt.path, err, diff)
		}
	}
}

func TestPrintable(t *testing.T) {
	for said, want := range map[string]string{
		"plain → text":          "plain → text",
		"two\nlines":            "two\nlines",
		"\x1b[2Jgone":           "\ufffd[2Jgone",
		"left\u202eright\u200f": "left\ufffdright\ufffd",
		"a\u2028b":              "a\ufffdb",
	} {
		if got := printable(said); got != want {
			t.Errorf("printable(%q) = %q, want %q", said, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{errors.New("it failed"), 1},
		{broker.ErrInvalid, 1},
		{usageError{errors.New("what?")}, 2},
		{&broker.UsageError{Problem: "What?"}, 2},
		{fmt.Errorf("no: %w", broker.ErrDenied), 3},
		{&broker.Fault{Code: broker.FaultStore, Err: errors.New("gone")}, 4},
		{status(exitWaiting), 5},
		{status(exitChanges), 6},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%v ends the program with %d, want %d", tt.err, got, tt.want)
		}
	}
}

// TestColours has colours on a terminal alone, and not with NO_COLOR.
func TestColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal can be made: %v", err)
	}
	defer terminal.Close()
	nothing, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	for _, tt := range []struct {
		name   string
		p      program
		env    map[string]string
		expect bool
	}{
		{"terminal", program{stdout: terminal}, nil, true},
		{"terminal without colours", program{stdout: terminal}, map[string]string{"NO_COLOR": "1"}, false},
		{"dumb terminal", program{stdout: terminal}, map[string]string{"TERM": "dumb"}, false},
		{"pipe", program{stdout: &bytes.Buffer{}}, nil, false},
		{"nothing", program{stdout: nothing}, nil, false},
	} {
		tt.p.getenv = func(name string) string { return tt.env[name] }
		if got := tt.p.colours(); got != tt.expect {
			t.Errorf("%s: colours: %v, want %v", tt.name, got, tt.expect)
		}
	}
}

// TestMoments writes a policy file's dates as the file has them, and other ends to
// the minute.
func TestMoments(t *testing.T) {
	for at, want := range map[time.Time]string{
		{}: "",
		time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC):   time.Date(2027, 6, 30, 23, 59, 0, 0, time.UTC).Local().Format(time.DateOnly),
		time.Date(2027, 7, 1, 9, 30, 59, 0, time.UTC): time.Date(2027, 7, 1, 9, 30, 0, 0, time.UTC).Local().Format("2006-01-02 15:04 MST"),
	} {
		if got := end(at); got != want {
			t.Errorf("%v ends %q, want %q", at, got, want)
		}
	}
	for seconds, want := range map[int]string{900: "15m", 3600: "1h", 5400: "1h30m", 43200: "12h", 10799: "3h"} {
		if got := span(seconds); got != want {
			t.Errorf("%d seconds are %q, want %q", seconds, got, want)
		}
	}
}
