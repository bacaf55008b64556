package deploy_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// scopes are what each of slack-go's methods needs of a bot token. Source:
// Slack's reference of the Web API. One that is not here fails the test.
var scopes = map[string][]string{
	"AuthTestContext":      nil,
	"GetUserInfoContext":   {"users:read", "users:read.email"}, // the latter for the address, which bind_by_email needs
	"OpenViewContext":      nil,
	"PostEphemeralContext": {"chat:write"},
	"PostMessageContext":   {"chat:write"},
	"PublishViewContext":   nil,
	"UpdateMessageContext": {"chat:write"},
	"UpdateViewContext":    nil,
}

// A manifest is a Slack app's, as far as the tests look at it.
type manifest struct {
	Features struct {
		AppHome struct {
			Messages bool `json:"messages_tab_enabled"`
		} `json:"app_home"`
		SlashCommands []struct {
			Command string `json:"command"`
			Escape  bool   `json:"should_escape"`
		} `json:"slash_commands"`
	} `json:"features"`
	OAuth struct {
		Scopes struct {
			Bot  []string `json:"bot"`
			User []string `json:"user"`
		} `json:"scopes"`
	} `json:"oauth_config"`
	Settings struct {
		Interactivity struct {
			Enabled bool   `json:"is_enabled"`
			URL     string `json:"request_url"`
		} `json:"interactivity"`
		SocketMode bool `json:"socket_mode_enabled"`
	} `json:"settings"`
}

// TestManifests holds that the apps have the scopes that the code needs and no
// others, and what buttons and messages to people need.
func TestManifests(t *testing.T) {
	needed := map[string]bool{"commands": true} // /starback itself
	for _, method := range called(t) {
		wants, known := scopes[method]
		if !known {
			t.Errorf("bot calls %s: which scopes does it need?", method)
		}
		for _, scope := range wants {
			needed[scope] = true
		}
	}
	for name, socket := range map[string]bool{"manifest.yaml": false, "manifest-socket.yaml": true} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("slack", name))
			if err != nil {
				t.Fatal(err)
			}
			asJSON, err := yaml.YAMLToJSON(raw)
			if err != nil {
				t.Fatal(err)
			}
			var m manifest
			if err := json.Unmarshal(asJSON, &m); err != nil {
				t.Fatal(err)
			}
			bot := slices.Sorted(slices.Values(m.OAuth.Scopes.Bot))
			if diff := cmp.Diff(slices.Sorted(maps.Keys(needed)), bot); diff != "" {
				t.Errorf("scopes (-needed +listed):\n%s", diff)
			}
			if len(m.OAuth.Scopes.User) != 0 {
				t.Errorf("it acts as people, with the scopes %q", m.OAuth.Scopes.User)
			}
			if c := m.Features.SlashCommands; len(c) != 1 || c[0].Command != "/starback" || !c[0].Escape {
				t.Errorf("commands: %+v", c)
			}
			if i := m.Settings.Interactivity; !i.Enabled || socket == strings.HasSuffix(i.URL, "/slack/interactions") {
				t.Errorf("interactivity: %+v", i)
			}
			if !m.Features.AppHome.Messages || m.Settings.SocketMode != socket {
				t.Errorf("messages to people: %v, Socket Mode: %v", m.Features.AppHome.Messages, m.Settings.SocketMode)
			}
		})
	}
}
