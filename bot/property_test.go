package bot

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// marker stands in everything that a person typed in these tests.
const marker = "ZQMARKER"

// nasty are pieces that Slack's markup, a terminal or JSON would read as more
// than text.
var nasty = []string{
	"<!channel>", "<!here>", "<@U1>", "<#C1|general>", "<http://evil.example|Approve>", "https://evil.example", "*bold*", "_it_", "~no~",
	"`", "```", "\n", "\r\n", "\u2028", "\u0085", "\t", "&", "&lt;", "&amp;lt;!channel&amp;gt;", "\u202e", "\u2066", "\u200f", "\x00", "\x1b[31m",
	"🔑", "👩‍👩‍👧", "é", "ﷺ", "\xff", "\xed\xa0\x80", ":skull:", `"`, `\`, "⛔  *mallory* asked", "\U000e0041", " ",
}

// typed draws what a person typed: up to n runes around the marker.
func typed(n int) *rapid.Generator[string] {
	piece := rapid.OneOf(rapid.SampledFrom(nasty), rapid.StringN(0, 20, -1))
	return rapid.Custom(func(t *rapid.T) string {
		before := strings.Join(rapid.SliceOfN(piece, 0, 20).Draw(t, "before"), "")
		after := strings.Join(rapid.SliceOfN(piece, 0, 20).Draw(t, "after"), "")
		if rapid.Bool().Draw(t, "long") {
			after += strings.Repeat(rapid.SampledFrom([]string{"a", "&", "<", "🔑", "\u202e", "`"}).Draw(t, "filler"), n)
		}
		runes := []rune(before + marker + after)
		return string(runes[:min(n, len(runes))])
	})
}

// typedRole draws a role as the grammar reads it out of what a person typed;
// the broker takes 64 bytes at most.
func typedRole(t *rapid.T) policy.RoleName {
	role := parseCommand("role x" + typed(64).Draw(t, "role")).role
	for len(role) > 64 {
		_, size := utf8.DecodeLastRuneInString(string(role))
		role = role[:len(role)-size]
	}
	return role
}

// ourMarkup is what Starback writes in angle brackets: dates, and mentions of
// those who are asked to answer.
var ourMarkup = regexp.MustCompile(`<!date\^\d+\^\{\w+\}(?: at \{\w+\})?\|[^<>|]*>|<@U\d{4}>|<!subteam\^S0LEADS>`)

// checkSafe fails if Slack would refuse what is sent, or a person's words in
// it could be taken for anything but a person's words.
func checkSafe(t *rapid.T, sent []byte, role policy.RoleName) {
	var m struct {
		Text   string
		Blocks json.RawMessage
	}
	if !utf8.Valid(sent) || json.Unmarshal(sent, &m) != nil {
		t.Fatalf("not JSON in UTF-8: %q", sent)
	}
	for _, problem := range sandbox.ValidateBlocks(m.Blocks, "message") {
		t.Fatalf("Slack refuses: %s", problem)
	}
	if n := utf8.RuneCountInString(m.Text); n == 0 || n > maxFallback || strings.ContainsAny(m.Text, "<>\n") {
		t.Fatalf("the text beside the blocks is not fit to be sent: %d characters, %q", n, m.Text)
	}
	var blocks any
	if err := json.Unmarshal(m.Blocks, &blocks); err != nil {
		t.Fatal(err)
	}
	eachLink(blocks, func(url string) {
		if url != ourTicket && url != ourMessage && !ourConsole.MatchString(url) {
			t.Fatalf("a link that Starback has not made: %q", url)
		}
	})
	eachText(blocks, func(kind, text string) {
		for _, r := range text {
			if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%s text holds %U: %q", kind, r, text)
			}
		}
		if kind != "mrkdwn" {
			if strings.Contains(text, "\n") {
				t.Fatalf("a person's words make lines: %q", text)
			}
			return
		}
		ours := text
		if span := word(string(role)); role != "" {
			if strings.ContainsAny(span[1:len(span)-1], "`\n<>") {
				t.Fatalf("the role ends its own code: %q", span)
			}
			ours = strings.ReplaceAll(ours, span, "``")
		}
		if strings.Contains(strings.ToUpper(ours), marker) {
			t.Fatalf("a person's words stand in markup: %q", text)
		}
		if rest := ourMarkup.ReplaceAllString(ours, ""); strings.ContainsAny(rest, "<>") {
			t.Fatalf("markup that is not ours: %q", text)
		}
	})
}

// eachText calls yield for every text object and every piece of rich text.
func eachText(v any, yield func(kind, text string)) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			eachText(item, yield)
		}
	case map[string]any:
		if text, ok := v["text"].(string); ok {
			kind, _ := v["type"].(string)
			yield(kind, text)
		}
		for _, item := range v {
			eachText(item, yield)
		}
	}
}

// eachLink calls yield for everywhere that something leads.
func eachLink(v any, yield func(url string)) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			eachLink(item, yield)
		}
	case map[string]any:
		if url, ok := v["url"].(string); ok {
			yield(url)
		}
		for _, item := range v {
			eachLink(item, yield)
		}
	}
}

// Where the tests' messages lead.
const (
	ourTicket  = "https://tracker.example.com/browse/INC-4711"
	ourMessage = "https://acme.slack.com/archives/C012AB/p1763899200000100"
)

// ourConsole is the console link of the tests' credentials.
var ourConsole = regexp.MustCompile(`^https://(us-east-1\.)?signin\.aws\.amazon\.com/`)

// TestMessagesHoldWordsAsText draws Requests with whatever people type, and
// puts them into every message that shows a Request.
func TestMessagesHoldWordsAsText(t *testing.T) {
	states := []broker.State{
		broker.StateAsked, broker.StatePending, broker.StateApproved, broker.StateOpen, broker.StateDenied, broker.StateClosed,
		broker.StateWithdrawn, broker.StateLapsed, broker.StateVoid,
	}
	rapid.Check(t, func(rt *rapid.T) {
		r := guarded(typedRole(rt), rapid.Bool().Draw(rt, "yes"), rapid.Bool().Draw(rt, "no"))
		r.State = rapid.SampledFrom(states).Draw(rt, "state")
		r.Ticket = rapid.OneOf(rapid.Just(""), typed(1000)).Draw(rt, "ticket")
		r.Reason = rapid.OneOf(rapid.Just(""), typed(1000)).Draw(rt, "reason")
		r.Words = typed(1000).Draw(rt, "words")
		if rapid.Bool().Draw(rt, "links") {
			r.TicketLink, r.Link = ourTicket, ourMessage
			r.Reason, r.Words = cut(ourMessage+" "+r.Reason, 1000), cut(ourMessage+" "+r.Words, 1000)
		}
		checkSafe(rt, posted(t, requestMessage(&r)), r.Role)
		for i := range r.Approvals {
			r.Approvals[i].Reason = cut(typed(300).Draw(rt, "why not"), 300)
		}
		telling := asking(&r, rapid.IntRange(0, 30).Draw(rt, "approvers"), 2)
		if len(telling.Approvers) > 0 && rapid.Bool().Draw(rt, "user group") {
			telling.Asked[0].SlackGroup, telling.Approvers[0].Groups = "S0LEADS", []policy.GroupName{telling.Asked[0].Name}
		}
		checkSafe(rt, posted(t, approvalMessage(telling)), r.Role)
		checkSafe(rt, posted(t, reminder(asking(&r, 1, 0))), r.Role)
		checkSafe(rt, posted(t, escalation(asking(&r, 1, 0))), r.Role)
		checkSafe(rt, posted(t, settledRequest(&r)), r.Role)
		checkSafe(rt, posted(t, pendingMessage(&r, rapid.Bool().Draw(rt, "channel"))), r.Role)
		known := r // what was issued, or put to approvers, is in the policy
		known.Role = "prod-admin"
		at := noon.Add(time.Duration(rapid.IntRange(0, 180).Draw(rt, "minutes")) * time.Minute)
		if rapid.Bool().Draw(rt, "unseen") {
			known.Sessions[0].UndeliveredAt = noon
		}
		checkSafe(rt, posted(t, undeliveredMessage(&known, at)), "")
		checkSafe(rt, posted(t, outcomeMessage(&known, at)), "")

		e := broker.Event{
			ID: "01JDCKQ0000000000000000009", Event: broker.EventUserChanged, Time: noon, Actor: typed(100).Draw(rt, "actor"),
			Subject: string(r.Role), Detail: typed(1000).Draw(rt, "detail"), Reason: r.Reason, Ticket: r.Ticket, Role: r.Role,
		}
		checkSafe(rt, posted(t, eventMessage(e)), r.Role)
		checkSafe(rt, posted(t, timeline([]broker.Notice{{Event: &e}})), "")
		e.Event, e.Actor = broker.EventDeclined, "lea"
		checkSafe(rt, posted(t, timeline([]broker.Notice{{Event: &e}})), "")
		checkSafe(rt, posted(t, progress(&r, []broker.Notice{{Event: &e}})), r.Role)
	})
}

// TestAnswersHoldWordsAsText draws commands that are refused.
func TestAnswersHoldWordsAsText(t *testing.T) {
	rules := constants(t, "Rule", "../broker", "../broker/policy")
	rapid.Check(t, func(rt *rapid.T) {
		c := parseCommand(typed(200).Draw(rt, "text"))
		c.role = typedRole(rt)
		r := refusal(rt, policy.Rule(rapid.SampledFrom(rules).Draw(rt, "rule")))
		if rapid.Bool().Draw(rt, "many") {
			r.MayAsk = nil
			for range 100 {
				r.MayAsk = append(r.MayAsk, policy.RoleName(longName("role-")))
			}
		}
		m := explain(r, c)
		if rapid.Bool().Draw(rt, "named") {
			m = unknownCaller(m, alice)
		}
		checkSafe(rt, answered(rt, m, false), c.role)
	})
}

// TestListsFit draws lists of roles, groups and events of every length.
func TestListsFit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		role := longest(rt, "role-")
		role.Description = rapid.SampledFrom([]string{"", "&", "<!channel>", "🔑"}).Draw(rt, "description")
		role.Description = strings.Repeat(role.Description, 100)
		m := me()
		for range rapid.IntRange(0, 300).Draw(rt, "roles") {
			m.Roles = append(m.Roles, role)
		}
		for range rapid.IntRange(0, 100).Draw(rt, "groups") {
			m.User.Groups = append(m.User.Groups, policy.GroupName(longName("g")))
		}
		m.User.Name, m.Admin = policy.UserName(strings.Repeat("u", 32)), rapid.Bool().Draw(rt, "admin")
		checkSafe(rt, answered(rt, rolesMessage(m), false), "")
		checkSafe(rt, answered(rt, whoamiMessage(m), false), "")

		notices := events(rapid.IntRange(1, 400).Draw(rt, "events"))
		steps := strings.Repeat(longName("r")+" → includes ", rapid.IntRange(0, 20).Draw(rt, "steps"))
		for _, n := range notices {
			n.Event.Path = steps
		}
		checkSafe(rt, posted(t, timeline(notices)), "")
	})
}

// TestCredentialsFit draws tokens and links of every length. Whatever has to
// give way, the keys are all there.
func TestCredentialsFit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		role := readonly()
		if rapid.Bool().Draw(rt, "longest names") {
			role = longest(rt, "role-")
		}
		size := rapid.OneOf(rapid.IntRange(1, 4096), rapid.SampledFrom([]int{1, 2999, 3000, 4095, 4096, 8192})).Draw(rt, "token")
		i := issued(role, rapid.SampledFrom(broker.Shells).Draw(rt, "shell"), size, 0)
		if n := rapid.OneOf(rapid.IntRange(100, 20_000), rapid.SampledFrom([]int{0, 2999, 3000, 3001, 20_000})).Draw(rt, "link"); n > 0 {
			i.Console = broker.NewSecret(link(n))
			if rapid.Bool().Draw(rt, "ampersands") {
				i.Console = broker.NewSecret("https://signin.aws.amazon.com/?" + strings.Repeat("&", n-31))
			}
		}
		i.Again = rapid.Bool().Draw(rt, "again")
		i.Request.WindowEnd = noon.Add(12 * time.Hour)
		m, err := credentialsMessage(i)
		if err != nil {
			rt.Fatal(err)
		}
		sent := answered(rt, m, i.Again)
		checkSafe(rt, sent, "")
		parts := blocksOf(rt, sent)
		if token := strings.Join(parts, ""); !strings.Contains(token, i.Credentials.SecretKey.Reveal()) {
			rt.Fatal("the secret key is not there")
		}
		whole := strings.Join(tokenParts(parts), "")
		if whole != i.Credentials.SessionToken.Reveal() {
			rt.Fatalf("the parts of the token make up %d characters, want %d", len(whole), size)
		}
		if size <= 4096 && len(i.Console.Reveal()) <= maxButtonURL && !i.Console.IsZero() && !strings.Contains(string(sent), `"url"`) {
			rt.Fatal("a link that fits a button has none")
		}
	})
}

// tokenParts takes the parts of the session token out of blocks, in order.
func tokenParts(blocks []string) (parts []string) {
	started := false
	for _, block := range blocks {
		_, after, first := strings.Cut(block, "SESSION_TOKEN")
		if _, inFile, ok := strings.Cut(block, "aws_session_token = "); ok {
			parts, started = append(parts, inFile), true
			continue
		}
		switch {
		case first:
			quoted := strings.Split(after, "'")
			parts = append(parts, quoted[len(quoted)-2])
		case started: // of the file
			parts = append(parts, block)
		}
	}
	return parts
}
