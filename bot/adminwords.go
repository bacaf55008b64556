package bot

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// What administrators are told of their commands. What changed, and what is
// wrong with a command, holds words of theirs and of the policy's, so it is
// shown as a user's text is.

// lateChange answers a command or a button that waited too long.
func lateChange() message {
	return say("Your command waited too long to be carried out, so nothing was changed. Type it again.", "")
}

// noTokenHere answers who wants to make a token.
func noTokenHere() message {
	return say("A token is made on the command line alone, with `starback token create`: in Slack, too many could come to see it.", "")
}

// unclosedMessage answers a command with a quotation that does not end.
func unclosedMessage() message {
	return say("A quotation in that command does not end. Close it with a quote of the same kind, followed by a space or by nothing.", "")
}

// adminProblem says why an administrator's command was not carried out. What
// the broker says of a Change or a question is a sentence for whoever asked.
func adminProblem(err error) message {
	var unbound nobody
	switch {
	case errors.As(err, &unbound):
		return say("Nobody here is bound to the account `"+unbound.id.String()+"` in Slack. Name the user, or bind one with `/starback admin user bind`.", "")
	case errors.Is(err, broker.ErrUnavailable):
		return say("Starback could not reach its store, so this may be done in part. Try again in a minute: what is done already stays as it is.", "")
	}
	reason := mistakeIn(err)
	if reason == nil {
		return say("Something went wrong, and this may be done in part. Try again in a minute: what is done already stays as it is.", "")
	}
	m := say("That cannot be done.", "")
	m.text += " Open the message to read why."
	m.blocks = append(m.blocks, quote("", sentence(err, reason)))
	return m
}

// mistakeIn returns the sentinel that says what is wrong with what was asked;
// nil if something else failed.
func mistakeIn(err error) error {
	for _, mistake := range []error{broker.ErrInvalid, broker.ErrNotFound, broker.ErrConflict, broker.ErrDenied} {
		if errors.Is(err, mistake) && !errors.Is(err, broker.ErrUnavailable) {
			return mistake
		}
	}
	return nil
}

// sentence is an error as a sentence of its own, without the reason that it
// wraps.
func sentence(err, reason error) string {
	text, _, _ := strings.Cut(err.Error(), "\n") // the first of several joined
	text = strings.TrimSuffix(strings.TrimSuffix(text, " ("+reason.Error()+")"), ": "+reason.Error())
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if strings.HasSuffix(text, "?") || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

// adminCommand is how a command is typed, as code.
func adminCommand(words string) string { return "`/starback admin " + words + "`" }

// usageMessage says what is wrong with a command, and how it goes.
func usageMessage(problem, usage string) message {
	m := say("I cannot take that command.", "")
	m.blocks = append(m.blocks, quote("", problem), section("It goes "+adminCommand(usage)))
	m.text += " It goes /starback admin " + usage
	return m
}

// unknownAdmin answers words that are no command, with the nearest one.
func unknownAdmin(words []string) message {
	usages := map[string]string{}
	for _, c := range broker.Commands {
		usages[string(c.Op)] = c.Usage()
	}
	for _, q := range questions {
		usages[q.words] = q.usage()
	}
	all := make([]string, 0, len(usages))
	for name := range usages {
		all = append(all, name)
	}
	near, ok := policy.Suggest(strings.ToLower(opOf(words)), all)
	if !ok {
		near, ok = policy.Suggest(strings.ToLower(words[0]), all)
	}
	problem := "There is no such command for administrators."
	if !ok {
		return say(problem+" Type `/starback admin help` to see what there is.", "")
	}
	return say(fmt.Sprintf("%s Did you mean `%s`? It goes %s", problem, near, adminCommand(usages[near])), "")
}

// adminHelp lists what administrators can type: what begins with the words of
// about, or all if nothing does.
func adminHelp(about []string) message {
	m := say("What administrators can type after `/starback admin`:", "")
	lines, usages := helpLines(strings.ToLower(strings.Join(append(about, ""), " ")))
	if len(lines) == 0 {
		lines, usages = helpLines("")
	}
	m.text = aloud(m.text, usages)
	blocks, _ := list(lines, maxList)
	m.blocks = append(m.blocks, blocks...)
	m.blocks = append(m.blocks, small("WHEN is a date such as 2027-06-30, an RFC 3339 time, or how long from now, such as 90d. "+
		"A person's name, or @them, is a USER; after --slack, @them is their account. Whatever holds a space goes in quotes."))
	return m
}

// helpLines are the commands whose words, each with a space behind it, begin
// with prefix; usages are the words alone.
func helpLines(prefix string) (lines, usages []string) {
	add := func(words, usage, short, example string) {
		if strings.HasPrefix(words+" ", prefix) {
			lines, usages = append(lines, helpLine(usage, short, example)), append(usages, words)
		}
	}
	for _, q := range questions {
		add(q.words, q.usage(), q.short, q.example)
	}
	for _, c := range broker.Commands {
		add(string(c.Op), c.Usage(), c.Short, c.Example)
	}
	return lines, usages
}

func helpLine(usage, short, example string) string {
	line := "`" + usage + "`\n        " + escape(short)
	if example != usage {
		line += ", as in `" + example + "`"
	}
	return line
}

// doneMessage says what came of a change.
func doneMessage(d broker.Done) message {
	op := "`" + string(d.Change.Op) + "`"
	switch {
	case d.Proposal != nil:
		return waitingMessage(*d.Proposal)
	case d.Same:
		return say("☑️  "+op+": it was so already, and nothing was changed.", "")
	}
	m := say("✅  "+op+": done.", "")
	if n := len(d.Detail); n > 0 {
		m.text += " Open the message to read " + count(n, "line", "lines") + " on what has changed."
	}
	blocks, shown := quotes(d.Detail, maxMessage/2)
	m.blocks = append(m.blocks, blocks...)
	if rest := len(d.Detail) - shown; rest > 0 {
		m.blocks = append(m.blocks, small(fmt.Sprintf("And %d more changes, which `starback policy history` shows", rest)))
	}
	for _, line := range d.Bereft {
		m.blocks = append(m.blocks, quote("", line+"."))
	}
	if len(d.Bereft) > 0 {
		m.text += " Applications lose their access too."
	}
	if d.Loud != "" {
		m.blocks = append(m.blocks, quote("⚠️ Everybody in the audit channel is told:", d.Loud))
		m.text += " Everybody in the audit channel is told."
	}
	if d.PolicyVersion > 0 {
		m.blocks = append(m.blocks, small(fmt.Sprintf("Policy version %d", d.PolicyVersion)))
	}
	return m
}

// waitingMessage tells the author of a change that it needs somebody else.
func waitingMessage(p broker.Proposal) message {
	m := say("⏳  `"+string(p.Change.Op)+"`: this benefits you, so it waits for another administrator to confirm it. Nothing was changed yet.", "")
	m.blocks = append(m.blocks, quote("Benefit", p.Benefit))
	blocks, _ := quotes(p.Detail, maxSection)
	m.blocks = append(m.blocks, blocks...)
	m.blocks = append(m.blocks, small(proposalLine(p.ID)+"  ·  lapses "+when(p.Expires)+"  ·  to take it back, type "+adminCommand("change reject "+p.ID)))
	return m
}
