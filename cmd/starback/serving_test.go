package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// TestServing plays the stories of a server, on each store, beside the sandbox's
// Slack and AWS. Each begins with the stories' policy in policy.yaml, in its folder.
//
// Besides testscript's own, a story has the commands
//
//	serves LOG           "exec sh serve LOG &server&" starts one: wait until it serves, and have Slack call it
//	types USER TEXT...   have somebody type a command in Slack
//	hears USER PATTERN   wait until somebody has an answer in Slack that matches
//
// An answer is never printed: it may hold credentials.
func TestServing(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		slack, aws := story.NewSlack(time.Now), sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now})
		slackURL, awsURL := story.Serve(t, slack), story.Serve(t, aws)
		slack.SetURL(slackURL)
		key := story.Furnish(aws, baseParameter)
		// The stories run after this has returned, unless they are waited for.
		t.Run("stories", func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir: "testdata/script/serve",
				Setup: func(env *testscript.Env) error {
					for _, setting := range k.settings() {
						if name, value, _ := strings.Cut(setting, "="); name != "PATH" {
							env.Setenv(name, value)
						}
					}
					// What is set for a story is printed with it. So the server's secrets
					// are in a file.
					serve := "#!/bin/sh\n"
					for _, setting := range slices.Concat(slackEnvironment(slack, slackURL), awsEnvironment(awsURL, key), k.env) {
						name, value, _ := strings.Cut(setting, "=")
						serve += fmt.Sprintf("export %s='%s'\n", name, value)
					}
					serve += "exec '" + binary + "' serve --addr 127.0.0.1:0 >$1 2>&1\n"
					if err := os.WriteFile(filepath.Join(env.WorkDir, "serve"), []byte(serve), 0o600); err != nil {
						return err
					}
					env.Setenv("HOME", env.WorkDir)
					return os.WriteFile(filepath.Join(env.WorkDir, "policy.yaml"), []byte(story.Policy), 0o600)
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"serves": func(ts *testscript.TestScript, _ bool, args []string) {
						slack.SetApp("http://" + servingAt(ts, args[0]))
					},
					"types": func(ts *testscript.TestScript, _ bool, args []string) {
						_, err := slack.Command(t.Context(), args[0], story.General, strings.Join(args[1:], " "))
						ts.Check(err)
					},
					"hears": func(ts *testscript.TestScript, _ bool, args []string) {
						ctx, stop := context.WithTimeout(t.Context(), time.Minute)
						defer stop()
						wanted := regexp.MustCompile(args[1])
						_, err := slack.WaitFor(ctx, args[0], func(seen []sandbox.Message) bool {
							return slices.ContainsFunc(story.Ephemerals(seen), func(m sandbox.Message) bool {
								return wanted.MatchString(story.Text(m))
							})
						})
						ts.Check(err)
					},
				},
			})
		})
	})
}

// servingAt waits until a server says in its log where it serves.
func servingAt(ts *testscript.TestScript, log string) string {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(log))
		if err != nil && !os.IsNotExist(err) {
			ts.Fatalf("%v", err)
		}
		for line := range strings.Lines(string(text)) {
			var said struct{ Msg, Addr string }
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "serving" {
				return said.Addr
			}
		}
	}
	ts.Fatalf("it does not serve")
	return ""
}
