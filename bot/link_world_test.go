package bot_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/starback/starback/store"
)

// leadsTo fails unless a message of a channel links to a place, in words that
// are rich text.
func leadsTo(t *testing.T, w *world, channel, url string) {
	t.Helper()
	for _, m := range w.Channel(channel) {
		var blocks []struct {
			Type     string
			Elements []struct{ Elements []struct{ Type, URL string } }
		}
		if err := json.Unmarshal(m.Blocks, &blocks); err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			for _, section := range b.Elements {
				for _, e := range section.Elements {
					if b.Type == "rich_text" && e.Type == "link" && e.URL == url {
						return
					}
				}
			}
		}
	}
	t.Errorf("nothing in %s leads to %s", channel, url)
}

// TestTicketIsALink follows a ticket that the policy says the place of into the
// audit channel. A link that somebody has typed is text.
func TestTicketIsALink(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.apply(policyFile + "settings: {ticket_url: 'https://tracker.example.com/browse/{ticket}'}\n")
	w.types("U1", "prod-admin 1h INC-7 see https://evil.example/INC-7")
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	leadsTo(t, w, "C9", "https://tracker.example.com/browse/INC-7")
	for _, m := range w.Channel("C9") {
		if strings.Contains(string(m.Blocks), `"url":"https://evil`) {
			t.Errorf("what was typed became a link: %s", m.Blocks)
		}
	}
}
