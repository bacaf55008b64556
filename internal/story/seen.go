package story

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/sandbox"
)

// patience is for how long a story waits for what must come. Jobs that were cut
// off are taken over after 30 s.
const patience = 90 * time.Second

// Ephemerals are those of the messages that their reader alone sees.
func Ephemerals(seen []sandbox.Message) []sandbox.Message {
	return slices.DeleteFunc(slices.Clone(seen), func(m sandbox.Message) bool { return !m.Ephemeral })
}

// Answer waits for the nth ephemeral message that a person sees.
func (h *House) Answer(user string, n int) sandbox.Message {
	h.T.Helper()
	var seen []sandbox.Message
	h.wait(user, func(all []sandbox.Message) bool {
		seen = Ephemerals(all)
		return len(seen) >= n
	}, func() string { return fmt.Sprintf("%s sees %d answers, not %d", user, len(seen), n) })
	return seen[n-1]
}

// wait waits until the messages that a person sees are as wanted.
func (h *House) wait(user string, done func([]sandbox.Message) bool, otherwise func() string) {
	h.T.Helper()
	ctx, stop := context.WithTimeout(h.T.Context(), patience)
	defer stop()
	if _, err := h.Slack.WaitFor(ctx, user, done); err != nil {
		h.T.Fatalf("%s\n%s", otherwise(), h.Printed())
	}
}

// Eventually waits until something holds.
func (h *House) Eventually(holds func() bool, otherwise string) {
	h.T.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.T.Fatalf("%s\n%s", otherwise, h.Printed())
		}
	}
}

// Command types a command of Alice's.
func (h *House) Command(text string) { h.T.Helper(); h.Types("U0ALICE", text) }

// Types types somebody's command.
func (h *House) Types(user, text string) sandbox.Ack {
	h.T.Helper()
	ack, err := h.Slack.Command(h.T.Context(), user, General, text)
	if err != nil {
		h.T.Fatal(err)
	}
	return ack
}

// SaysNotTaken is what somebody is told whose command was not queued in the time
// that Slack allows.
const SaysNotTaken = "could not take your command"

// Gets types a command of Alice's, and fails the test unless she is given
// credentials that can be pasted, which it returns. Where the machine is so busy
// that the command is not queued in time, Alice does as she is told, and tries
// again.
func (h *House) Gets(text string) Keys {
	h.T.Helper()
	for deadline := time.Now().Add(patience); ; {
		before := len(h.Told())
		h.Command(text)
		m := h.Answer("U0ALICE", before+1)
		if !strings.Contains(m.Text, SaysNotTaken) || time.Now().After(deadline) {
			return Pasted(h.T, m)
		}
	}
}

// Told returns what Alice has been told that she alone sees, a text a message.
func (h *House) Told() []string {
	var texts []string
	for _, m := range Ephemerals(h.Slack.Seen("U0ALICE")) {
		texts = append(texts, Text(m))
	}
	return texts
}

// Text is a message as it is read, each line of it whole.
func Text(m sandbox.Message) string { return sandbox.Text(m, sandbox.RenderOptions{Width: 100000}) }

// plain is how a message reads, without its markup.
func plain(m sandbox.Message) string { return strings.NewReplacer("`", "", "*", "").Replace(Text(m)) }

// Hears waits until n messages to Alice alone hold the words, and returns the
// newest of them.
func (h *House) Hears(words string, n int) string {
	h.T.Helper()
	var with []string
	h.wait("U0ALICE", func([]sandbox.Message) bool {
		with = slices.DeleteFunc(h.Told(), func(said string) bool { return !strings.Contains(said, words) })
		return len(with) >= n
	}, func() string {
		return fmt.Sprintf("Alice is not told %d times of %q, but\n%s", n, words, Brief(h.Told()...))
	})
	return with[n-1]
}

// Finds waits until a person sees a message that holds all of the words, and
// returns the newest that does: one that they alone see, or one that others may
// see too.
func (h *House) Finds(user string, alone bool, words ...string) sandbox.Message {
	h.T.Helper()
	var found sandbox.Message
	var said []string
	h.wait(user, func(seen []sandbox.Message) bool {
		said = nil
		for _, m := range slices.Backward(seen) {
			text := plain(m)
			said = append(said, text)
			missing := func(w string) bool { return !strings.Contains(text, w) }
			if m.Ephemeral == alone && !slices.ContainsFunc(words, missing) {
				found = m
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("%s sees nothing with %q, but\n%s", user, words, Brief(said...)) })
	return found
}

// Presses has a person press a button of a message.
func (h *House) Presses(user string, m sandbox.Message, action string) sandbox.Ack {
	h.T.Helper()
	ack, err := h.Slack.Click(h.T.Context(), user, m, action)
	if err != nil || ack.Problem != "" {
		h.T.Fatalf("%s: %s, %v", action, ack.Problem, err)
	}
	return ack
}

// Channel waits until a channel says something, and returns all that it says.
func (h *House) Channel(channel, something string) string {
	h.T.Helper()
	var all string
	h.wait("U0CAROL", func([]sandbox.Message) bool {
		all = ""
		for _, m := range h.Slack.Channel(channel) {
			all += Text(m) + "\n"
		}
		return strings.Contains(all, something)
	}, func() string { return fmt.Sprintf("%s does not tell of %s:\n%s", channel, something, all) })
	return all
}

// Brief is the beginning of each text: of credentials, nothing that matters.
func Brief(texts ...string) string {
	var all strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&all, "%.100q\n", text)
	}
	return all.String()
}

// Called waits until a call of this name, whose body holds the words, has gone
// over a wire.
func (h *House) Called(wire *faultproxy.Proxy, name, words string) {
	h.T.Helper()
	is := func(c faultproxy.Call) bool { return c.Name == name && strings.Contains(c.Body, words) }
	h.Eventually(func() bool { return slices.ContainsFunc(wire.Calls(), is) }, fmt.Sprintf("%s about %q is not called", name, words))
}

// Keys are the variables of an environment that a person was given to paste.
type Keys map[string]string

// Pasted pastes a message's blocks into a shell, one after the other, and
// returns the environment that they make.
func Pasted(t *testing.T, m sandbox.Message) Keys {
	t.Helper()
	blocks := codeBlocks(t, m)
	if len(blocks) == 0 {
		t.Fatalf("no credentials in the message %q", m.Text)
	}
	shell := exec.Command("bash", "--norc", "--noprofile", "-s")
	shell.Env = []string{"PATH=" + os.Getenv("PATH")}
	shell.Stdin = strings.NewReader(strings.Join(blocks, "\n") + "\nenv\n")
	out, err := shell.Output()
	if err != nil {
		t.Fatal("the blocks cannot be pasted into bash")
	}
	keys := Keys{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if strings.HasPrefix(name, "AWS_") {
			keys[name] = value
		}
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		if keys[name] == "" {
			t.Fatalf("pasting sets no %s", name)
		}
	}
	return keys
}

// codeBlocks returns what a message holds to copy.
func codeBlocks(t *testing.T, m sandbox.Message) []string {
	t.Helper()
	sections, _ := texts(t, m)
	var out []string
	for _, s := range sections {
		if inner, ok := strings.CutPrefix(s, "```\n"); ok {
			out = append(out, strings.TrimSuffix(inner, "\n```"))
		}
	}
	return out
}

// consoleLink returns the console link of a message: on a button, or in parts.
func consoleLink(t *testing.T, m sandbox.Message) string {
	t.Helper()
	_, links := texts(t, m)
	if len(links) == 1 {
		return links[0]
	}
	var link strings.Builder
	for _, block := range codeBlocks(t, m) {
		if strings.HasPrefix(block, "export ") {
			break
		}
		link.WriteString(block)
	}
	if link.Len() == 0 {
		t.Fatalf("no console link in the message %q", m.Text)
	}
	return link.String()
}

// texts returns the text of each block of a message, and the URLs of its
// buttons.
func texts(t *testing.T, m sandbox.Message) (sections, links []string) {
	t.Helper()
	var blocks []struct {
		Type     string
		Text     struct{ Text string }
		Elements []struct{ URL string }
	}
	if err := json.Unmarshal(m.Blocks, &blocks); err != nil {
		t.Fatalf("%v in a message", err)
	}
	for _, b := range blocks {
		if b.Type == "section" {
			sections = append(sections, strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(b.Text.Text))
		}
		for _, e := range b.Elements {
			if e.URL != "" {
				links = append(links, e.URL)
			}
		}
	}
	return sections, links
}

// Shown are the access key ids in what a person has seen: in messages, and in
// the modals that are open.
func (h *House) Shown(user string) []string {
	var ids []string
	look := func(blocks json.RawMessage) {
		if found := accessKey.FindStringSubmatch(string(blocks)); found != nil {
			ids = append(ids, found[1])
		}
	}
	for _, m := range h.Slack.Seen(user) {
		look(m.Blocks)
	}
	for _, v := range h.Slack.Views(user) {
		look(v.Blocks)
	}
	return ids
}

var accessKey = regexp.MustCompile(`AWS_ACCESS_KEY_ID[^A]*((?:ASIA|LSIA)[A-Z0-9]+)`) // moto's begin with L

// SaysIssued stands in every message with credentials.
const SaysIssued = "AWS_SESSION_TOKEN"
