package bot

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
)

// signInLife is how long AWS honours a console link.
const signInLife = 15 * time.Minute

// actionShell is the action id of the buttons that choose a shell; the shell
// follows. actionConsole is the console button's: following the link is all it
// does.
const (
	actionShell   = "shell:"
	actionConsole = "console"
)

// shellOf returns the shell that a button chooses.
func shellOf(action string) (broker.Shell, bool) {
	name, ok := strings.CutPrefix(action, actionShell)
	for _, s := range broker.Shells {
		if ok && string(s) == name {
			return s, true
		}
	}
	return "", false
}

// shellNames are what the buttons say.
var shellNames = map[broker.Shell]string{
	broker.Bash: "bash / zsh", broker.Fish: "fish", broker.PowerShell: "PowerShell", broker.File: "~/.aws/credentials",
}

// errUnpasteable says that a credential holds a character that a shell could
// read as something else. AWS's do not.
var errUnpasteable = errors.New("a credential holds a character that cannot be pasted safely")

// credentialsMessage is what the requester sees: the console button, what it
// is and when it ends, and blocks to paste, in turn, into the reader's own
// shell. It is the one message that holds secrets.
//
// A console link that leaves no room for the keys is left out.
func credentialsMessage(i broker.Issued) (message, error) {
	m, err := writeCredentials(i)
	if errors.Is(err, errTooLong) && !i.Console.IsZero() {
		i.Console, i.ConsoleErr = broker.Secret{}, errTooLong
		return writeCredentials(i)
	}
	return m, err
}

// writeCredentials is credentialsMessage with the link it is given.
func writeCredentials(i broker.Issued) (message, error) {
	shell := i.User.Shell
	if _, known := writers[shell]; !known {
		shell = broker.Shells[0]
	}
	parts, err := paste(shell, i)
	if err != nil {
		return message{}, err
	}
	// The text beside the blocks shows in notifications: it holds no secret.
	m := message{text: fmt.Sprintf("Credentials for %s in %s, until %s. Request %s. Open the message to copy them.",
		i.Role.Name, accountOf(i.Role), utc(i.Session.ExpiresAt), i.Request.ID)}

	link := i.Console.Reveal()
	m.blocks = console(link, summary(i))
	if len(parts) > 1 {
		m.blocks = append(m.blocks, section(pasteInTurn(shell, len(parts))))
	}
	for _, part := range parts {
		m.blocks = append(m.blocks, code(part))
	}
	m.blocks = append(m.blocks, slack.NewActionBlock("", append(shellButtons(shell, i), endSession(i))...), small(footer(i, link != "")))
	if !m.fits() {
		return message{}, errTooLong
	}
	return m, nil
}

// consoleMessage is what the requester sees who wants the console alone. Where
// there is no link that Slack takes, it is credentialsMessage.
func consoleMessage(i broker.Issued) (message, error) {
	what := fmt.Sprintf("*%s* in *%s*", i.Role.Name, accountOf(i.Role)) + "\nEnds " + when(i.Session.ExpiresAt)
	if i.Again {
		what += "\nThis is a new session. What you had goes on."
	}
	m := message{text: fmt.Sprintf("The console for %s in %s, until %s. Request %s. Open the message to follow the link.",
		i.Role.Name, accountOf(i.Role), utc(i.Session.ExpiresAt), i.Request.ID)}
	m.blocks = append(console(i.Console.Reveal(), what), slack.NewActionBlock("", endSession(i)), small(footer(i, true)))
	if i.Console.IsZero() || !m.fits() {
		return credentialsMessage(i)
	}
	return m, nil
}

// console shows a console link around what it opens: as a button or, where it
// is too long for one, in parts. Without a link, only what it would open.
func console(link, what string) (blocks []slack.Block) {
	if link != "" && len(link) <= maxButtonURL {
		open := slack.NewButtonBlockElement(actionConsole, "", plain("Open the AWS console"))
		open.URL, open.Style = link, slack.StylePrimary
		blocks = append(blocks, slack.NewActionBlock("", open))
	}
	blocks = append(blocks, section(what))
	if len(link) > maxButtonURL {
		blocks = append(blocks, section("The console link is too long for a button. Paste these parts, one right after the other, into the address bar:"))
		for _, part := range split(link, maxCode) {
			blocks = append(blocks, code(part))
		}
	}
	return blocks
}

// endSession ends the one Session that was issued.
func endSession(i broker.Issued) slack.BlockElement {
	return button(actionEnd, i.Request.ID+" "+i.Session.ID, "End this session", slack.StyleDanger)
}

// summary says what was issued and when it ends.
func summary(i broker.Issued) string {
	lines := []string{
		fmt.Sprintf("*%s* in *%s*", i.Role.Name, accountOf(i.Role)),
		"Ends " + when(i.Session.ExpiresAt),
	}
	if i.Capped() && i.Credentials.Chained {
		lines = append(lines, fmt.Sprintf("AWS ends these keys after an hour. You asked for %s: have new ones for the rest.", span(i.Request.Duration)))
	}
	if !i.Again && slices.ContainsFunc(i.Request.Sessions, func(s broker.Session) bool { return !s.UndeliveredAt.IsZero() }) {
		lines = append(lines, "These are new keys, and your time begins now. Those from before are ended where AWS can end them.")
	}
	if i.Again {
		lines = append(lines, "These are new keys. Those issued for this request before stay good until they end.")
	}
	if i.ConsoleErr != nil {
		lines = append(lines, "The console link could not be made; the keys below are good.")
	}
	return strings.Join(lines, "\n")
}

// footer is the small print.
func footer(i broker.Issued, linked bool) string {
	words := []string{requestLine(i.Request.ID), "Only you can see this, and Starback keeps no copy"}
	if until := i.Request.RenewUntil(); i.Began.Before(until) {
		words = append(words, "You can have new keys until "+when(until))
	}
	if linked {
		words = append(words, "The console link works until "+when(i.Began.Add(signInLife)))
	}
	return strings.Join(words, "  ·  ")
}

// shellButtons offer the other shells. Starback keeps no copy of the keys, so
// choosing one issues new keys for the same request, while there is time.
func shellButtons(current broker.Shell, i broker.Issued) []slack.BlockElement {
	var buttons []slack.BlockElement
	for _, s := range broker.Shells {
		if s != current && i.Began.Before(i.Request.RenewUntil()) {
			buttons = append(buttons, button(actionShell+string(s), i.Request.ID, "New keys for "+shellNames[s], ""))
		}
	}
	return buttons
}

// pasteInTurn says how to use more than one block.
func pasteInTurn(shell broker.Shell, n int) string {
	if shell == broker.File {
		return fmt.Sprintf("The session token is long. Paste these %d blocks into the file, each right after the last, with nothing between.", n)
	}
	return fmt.Sprintf("The session token is long. Paste these %d blocks in turn.", n)
}

// paste writes credentials for a shell, in as many blocks as Slack's limit on
// one needs. Pasting each in turn gives the whole.
func paste(shell broker.Shell, i broker.Issued) ([]string, error) {
	id, secret, token := i.Credentials.AccessKeyID, i.Credentials.SecretKey.Reveal(), i.Credentials.SessionToken.Reveal()
	for _, s := range []string{id, secret, token} {
		if s == "" || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_.") != "" {
			return nil, errUnpasteable
		}
	}
	w := writers[shell]
	head := w.head(id, secret, i.Role.Region, string(i.Role.Name))
	room := maxCode - len(head) - len(w.first("")) // all of it ASCII without & < >
	first, rest := token[:min(room, len(token))], token[min(room, len(token)):]
	parts := []string{head + w.first(first)}
	for _, more := range split(rest, maxCode-len(w.more(""))) {
		parts = append(parts, w.more(more))
	}
	return parts, nil
}

// A writer writes credentials the way a shell reads them.
type writer struct {
	head        func(id, secret, region, profile string) string
	first, more func(token string) string // the session token's first part, and each later one
}

var writers = map[broker.Shell]writer{
	broker.Bash: {
		head: func(id, secret, region, _ string) string {
			return lines("export AWS_ACCESS_KEY_ID='"+id+"'", "export AWS_SECRET_ACCESS_KEY='"+secret+"'", ifSet("export AWS_REGION='%s'", region))
		},
		first: func(t string) string { return "export AWS_SESSION_TOKEN='" + t + "'" },
		// Without export, which zsh does not take together with +=.
		more: func(t string) string { return "AWS_SESSION_TOKEN+='" + t + "'" },
	},
	broker.Fish: {
		head: func(id, secret, region, _ string) string {
			return lines("set -gx AWS_ACCESS_KEY_ID '"+id+"'", "set -gx AWS_SECRET_ACCESS_KEY '"+secret+"'", ifSet("set -gx AWS_REGION '%s'", region))
		},
		first: func(t string) string { return "set -gx AWS_SESSION_TOKEN '" + t + "'" },
		more:  func(t string) string { return "set -gx AWS_SESSION_TOKEN \"$AWS_SESSION_TOKEN\"'" + t + "'" },
	},
	broker.PowerShell: {
		head: func(id, secret, region, _ string) string {
			return lines("$Env:AWS_ACCESS_KEY_ID = '"+id+"'", "$Env:AWS_SECRET_ACCESS_KEY = '"+secret+"'", ifSet("$Env:AWS_REGION = '%s'", region))
		},
		first: func(t string) string { return "$Env:AWS_SESSION_TOKEN = '" + t + "'" },
		more:  func(t string) string { return "$Env:AWS_SESSION_TOKEN += '" + t + "'" },
	},
	broker.File: {
		head: func(id, secret, region, profile string) string {
			return lines("["+profile+"]", "aws_access_key_id = "+id, "aws_secret_access_key = "+secret, ifSet("region = %s", region))
		},
		first: func(t string) string { return "aws_session_token = " + t },
		more:  func(t string) string { return t },
	},
}

// lines puts each text that is not empty on a line of its own.
func lines(texts ...string) string {
	var b strings.Builder
	for _, t := range texts {
		if t != "" {
			b.WriteString(t + "\n")
		}
	}
	return b.String()
}

func ifSet(format, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(format, value)
}

// split cuts ASCII text into parts that are at most n characters once escaped.
func split(s string, n int) []string {
	var parts []string
	start, size := 0, 0
	for i := range len(s) {
		width := len(escape(s[i : i+1]))
		if size+width > n {
			parts, start, size = append(parts, s[start:i]), i, 0
		}
		size += width
	}
	if start < len(s) {
		parts = append(parts, s[start:])
	}
	return parts
}
