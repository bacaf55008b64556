package policy

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"
)

// ticketPlace is where the ticket goes in a template of links to tickets.
const ticketPlace = "{ticket}"

// Bounds on a template, and on a link made of one, in characters. The first is
// our own choice; the second is what Slack takes of a link.
const (
	maxTicketURL  = 500
	maxTicketLink = 3000
)

// ticketHost is the host of a tracker, perhaps with a port.
var ticketHost = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?$`)

// TicketLink returns where a ticket is looked up that somebody gave for a Role:
// its template, or else that of the settings, with the ticket in it. Every
// character that could mean something in a URL is escaped, so the ticket leads
// to no other place of the tracker's. It is empty where there is no template,
// where the Role wants no such ticket, and for one of dots alone: browsers take
// that for a way up.
func (d *Document) TicketLink(r *Role, ticket string) string {
	if d == nil || r == nil || !r.Ticket.Match(ticket) || strings.Trim(ticket, ".") == "" {
		return ""
	}
	template := cmp.Or(r.TicketURL, d.Settings.TicketURL)
	escaped := strings.ReplaceAll(url.QueryEscape(ticket), "+", "%20") // the plus is a space in a query alone
	link := strings.Replace(template, ticketPlace, escaped, 1)
	if len(link) > maxTicketLink {
		return ""
	}
	return link
}

// ticketURL checks a template of links to tickets, if there is one.
func (c *checker) ticketURL(at []string, template string) {
	if template == "" {
		return
	}
	const example = "write it as in https://tracker.example.com/browse/{ticket}"
	before, after, _ := strings.Cut(template, ticketPlace)
	outside := func(ch rune) bool { return ch <= ' ' || ch > '~' || strings.ContainsRune(`\"<>{}|^`, ch) }
	u, err := url.Parse(before + "T" + after)
	lead, leadErr := url.Parse(before)
	switch {
	case len(template) > maxTicketURL:
		c.add(at, hint(example), "`ticket_url` is longer than %d characters", maxTicketURL)
	case strings.Count(template, ticketPlace) != 1:
		c.add(at, hint(example), "`ticket_url` must hold {ticket} once")
	case err != nil || leadErr != nil || strings.ContainsFunc(before+after, outside) || u.Scheme != "https" || !ticketHost.MatchString(u.Host):
		c.add(at, hint(example), "`ticket_url` must be an https address")
	case u.User != nil:
		c.add(at, hint(example), "`ticket_url` must name no user")
	case lead.Host != u.Host:
		c.add(at, hint(example), "`ticket_url` must have {ticket} after the host")
	}
}
