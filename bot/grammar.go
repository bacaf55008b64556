package bot

import (
	"strings"
	"time"
	"unicode"

	"github.com/starback/starback/broker/policy"
)

// A verb is the first word of a command, unless that is a role.
type verb string

const (
	verbForm     verb = "" // nothing: the request form
	verbHelp     verb = "help"
	verbVersion  verb = "version"
	verbWhoami   verb = "whoami"
	verbRoles    verb = "roles"
	verbRole     verb = "role" // ask for a role; the default
	verbWhy      verb = "why"
	verbSessions verb = "sessions"
	verbEnd      verb = "end"
	verbRenew    verb = "renew"
	verbAdmin    verb = "admin"
)

// reserved are words that will never be taken for a role, so that a role
// cannot come to mean something else one day. The policy parser refuses roles
// with these names.
var reserved = map[string]bool{
	"login": true, "whois": true, "audit": true,
}

// A command is what somebody typed after /starback, understood as far as that
// goes without knowing the policy.
type command struct {
	verb     verb
	unknown  string // a reserved word that has no meaning here
	role     policy.RoleName
	duration time.Duration // 0: not given
	words    string        // the rest: a ticket, a reason; which session; what an administrator wants
}

// parseCommand reads a command. It accepts whatever it is given: a text
// without words asks for the form, and a word that is no verb is taken for a
// role.
func parseCommand(text string) command {
	words := strings.Fields(cleanText(unescape(text)))
	if len(words) == 0 {
		return command{verb: verbForm}
	}
	first := strings.ToLower(words[0])
	switch v := verb(first); {
	case v == verbHelp, v == verbVersion, v == verbWhoami, v == verbRoles, v == verbSessions:
		return command{verb: v}
	case reserved[first]:
		return command{verb: verbHelp, unknown: first}
	case v == verbAdmin, v == verbEnd, v == verbRenew:
		return command{verb: v, words: strings.Join(words[1:], " ")}
	case v == verbWhy:
		c := command{verb: v}
		if len(words) > 1 {
			c.role = policy.RoleName(strings.ToLower(words[1]))
		}
		return c
	case v == verbRole:
		words = words[1:]
		if len(words) == 0 {
			return command{verb: verbRole}
		}
	}
	c := command{verb: verbRole, role: policy.RoleName(strings.ToLower(words[0]))}
	words = words[1:]
	if len(words) > 0 {
		if d, err := policy.ParseDuration(strings.ToLower(words[0])); err == nil {
			c.duration, words = d, words[1:]
		}
	}
	c.words = strings.Join(words, " ")
	return c
}

// unescape undoes Slack's escapes of what somebody typed.
func unescape(s string) string { return unescaper.Replace(s) }

var unescaper = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// cleanText makes somebody's text fit to be kept and shown: valid UTF-8, one
// line, no control or bidirectional characters.
func cleanText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\uFEFF', r >= 0xE0000 && r <= 0xE007F:
			return -1
		}
		return r
	}, s)
}
