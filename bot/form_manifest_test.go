package bot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestManifestOpensForms holds that Slack sends what the form needs: both
// shortcuts, and over HTTP what somebody types into the menu of roles.
func TestManifestOpensForms(t *testing.T) {
	for name, http := range map[string]bool{"manifest.yaml": true, "manifest-socket.yaml": false} {
		raw, err := os.ReadFile(filepath.Join("..", "deploy", "slack", name))
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Features struct {
				Shortcuts []struct {
					Name, Type string
					CallbackID string `yaml:"callback_id"`
				}
			}
			Settings struct {
				Interactivity struct {
					URL string `yaml:"message_menu_options_url"`
				}
			}
		}
		if err := yaml.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, s := range m.Features.Shortcuts {
			found[s.Type] = s.CallbackID
			if len(s.Name) > 24 { // Source: Slack's schema of app manifests.
				t.Errorf("%s: the name %q is too long", name, s.Name)
			}
		}
		if found["global"] != shortcutGlobal || found["message"] != shortcutMessage || len(m.Features.Shortcuts) != 2 {
			t.Errorf("%s: shortcuts %v", name, found)
		}
		if strings.HasSuffix(m.Settings.Interactivity.URL, PathInteractions) != http {
			t.Errorf("%s: options come from %q", name, m.Settings.Interactivity.URL)
		}
	}
}
