package policy_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// tracker returns a Document whose settings have one template of links to
// tickets, and its Role, which has another and takes tickets of some form.
func tracker(t interface{ Fatal(...any) }, settings, role, form string) (*policy.Document, *policy.Role) {
	pattern, err := policy.NewPattern(form)
	if err != nil {
		t.Fatal(err)
	}
	r := &policy.Role{Name: "ops", Ticket: pattern, TicketURL: role}
	return &policy.Document{Roles: map[policy.RoleName]*policy.Role{"ops": r}, Settings: policy.Settings{TicketURL: settings}}, r
}

func TestTicketLink(t *testing.T) {
	const browse, query = "https://t.example/browse/{ticket}", "https://t.example/find?q={ticket}&in=all"
	for _, c := range []struct {
		name, settings, role, ticket string
		want                         string
	}{
		{"as the settings say", browse, "", "INC-4711", "https://t.example/browse/INC-4711"},
		{"as the role says", browse, query, "INC-4711", "https://t.example/find?q=INC-4711&in=all"},
		{"no template", "", "", "INC-4711", ""},
		{"no ticket", browse, "", "", ""},
		{"no such ticket", browse, "", "inc-4711!", ""},
		{"a path", browse, "", "a/../../b", "https://t.example/browse/a%2F..%2F..%2Fb"},
		{"a query", browse, "", "a?b#c", "https://t.example/browse/a%3Fb%23c"},
		{"another parameter", "", query, "a&in=none", "https://t.example/find?q=a%26in%3Dnone&in=all"},
		{"an escape", browse, "", "%2e%2e", "https://t.example/browse/%252e%252e"},
		{"a plus", "", query, "a+b", "https://t.example/find?q=a%2Bb&in=all"},
		{"the way up", browse, "", "..", ""},
		{"this place", browse, "", ".", ""},
		{"dots among others", browse, "", "1..2", "https://t.example/browse/1..2"},
		{"a place for a ticket", browse, "", "{ticket}", "https://t.example/browse/%7Bticket%7D"},
		{"other letters", browse, "", "障害-1", "https://t.example/browse/%E9%9A%9C%E5%AE%B3-1"},
		{"longer than Slack takes", browse, "", strings.Repeat("🔥", 250), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, r := tracker(t, c.settings, c.role, "[^!]*")
			if got := d.TicketLink(r, c.ticket); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := (*policy.Document)(nil).TicketLink(nil, "INC-4711"); got != "" {
		t.Errorf("without a policy: %q", got)
	}
}

// TestTicketLinkKeepsItsPlace holds that whatever a ticket is, its link has the
// template's host, and the ticket is found whole where the template has it.
func TestTicketLinkKeepsItsPlace(t *testing.T) {
	d, path := tracker(t, "", "https://t.example/browse/{ticket}/view?a=b#c", "(?s).*")
	_, query := tracker(t, "", "https://t.example/find?q={ticket}&in=all", "(?s).*")
	rapid.Check(t, func(t *rapid.T) {
		ticket := rapid.OneOf(rapid.String(), rapid.StringMatching(`[./\\?#&%@:;={}<>|" +-]{1,12}`)).Draw(t, "ticket")
		for _, role := range []*policy.Role{path, query} {
			link := d.TicketLink(role, ticket)
			if link == "" {
				continue
			}
			u, err := url.Parse(link)
			if err != nil || u.Scheme != "https" || u.Host != "t.example" || u.User != nil {
				t.Fatalf("%q, %v", link, err)
			}
			found := u.Query().Get("q")
			if role == path {
				found = strings.TrimSuffix(strings.TrimPrefix(u.Path, "/browse/"), "/view")
				if u.RawQuery != "a=b" || u.Fragment != "c" || strings.Count(u.EscapedPath(), "/") != 3 {
					t.Fatalf("the ticket left its place: %q", link)
				}
			} else if fmt.Sprint(u.Query()["in"]) != "[all]" || u.Path != "/find" {
				t.Fatalf("the ticket left its place: %q", link)
			}
			if found != ticket {
				t.Fatalf("the link leads to %q, not %q", found, ticket)
			}
		}
	})
}
