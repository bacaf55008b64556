package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

var update = flag.Bool("update", false, "write the golden files")

// shown is how the golden files show messages: to a reader in Zurich.
var shown = sandbox.RenderOptions{Location: time.FixedZone("CET", 3600), Now: noon, Short: true}

// answered returns what is sent to a response URL.
func answered(t failer, m message, replace bool) []byte {
	t.Helper()
	b, err := m.encode(ephemeral, replace)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// roundTrip is an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// posted returns what is sent to a method of the Web API, as JSON.
func posted(t failer, m message) []byte {
	t.Helper()
	var form url.Values
	catch := roundTrip(func(r *http.Request) (*http.Response, error) {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		form = r.PostForm
		return httptest.NewRecorder().Result(), nil
	})
	api := slack.New("", slack.OptionHTTPClient(&http.Client{Transport: catch}))
	// The answer is empty: only what was sent matters.
	_, _, _ = api.PostMessageContext(context.Background(), "C1", m.options()...)
	fields := map[string]json.RawMessage{}
	for name := range form {
		if value := form.Get(name); name == "blocks" {
			fields[name] = json.RawMessage(value)
		} else if name != "token" {
			fields[name], _ = json.Marshal(value) // a string always encodes
		}
	}
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// content decodes what a reader sees of a message, and refuses what Slack
// would.
func content(t testing.TB, sent []byte) sandbox.Message {
	t.Helper()
	var m struct {
		Text   string
		Blocks json.RawMessage
	}
	if err := json.Unmarshal(sent, &m); err != nil {
		t.Fatal(err)
	}
	for _, problem := range sandbox.ValidateBlocks(m.Blocks, "message") {
		t.Error(problem)
	}
	if n := len([]rune(m.Text)); n == 0 || n > maxFallback {
		t.Errorf("the text beside the blocks has %d characters", n)
	}
	return sandbox.Message{Text: m.Text, Blocks: m.Blocks}
}

// golden compares with what is kept in testdata/golden under name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	got = append(bytes.TrimRight(got, "\n"), '\n')
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s changed; if that is right, run the test with -update (-kept +now):\n%s", path, diff)
	}
}

// TestGolden keeps, for every kind of message, what is sent and what a person
// sees.
func TestGolden(t *testing.T) {
	short := func(shell broker.Shell) broker.Issued { return issued(readonly(), shell, 16, 0) }
	long := func(shell broker.Shell, link int) broker.Issued {
		return issued(longest(t, "role-"), shell, 4096, link)
	}
	for name, i := range map[string]broker.Issued{
		"bash-shortest":            short(broker.Bash),
		"fish-shortest":            short(broker.Fish),
		"powershell-shortest":      short(broker.PowerShell),
		"file-shortest":            short(broker.File),
		"bash-button":              issued(readonly(), broker.Bash, 1000, 1500),
		"bash-longest-button":      issued(readonly(), broker.Bash, 1000, 3000),
		"bash-longer-than-button":  issued(readonly(), broker.Bash, 1000, 3001),
		"bash-longest":             long(broker.Bash, 7000),
		"fish-longest":             long(broker.Fish, 7000),
		"powershell-longest":       long(broker.PowerShell, 7000),
		"file-longest":             long(broker.File, 7000),
		"link-with-no-room":        long(broker.Bash, 20000),
		"again":                    again(),
		"anew":                     anew(),
		"for-a-quarter":            quarter(),
		"capped-by-chaining":       capped(),
		"console-link-failed":      unlinked(),
		"shell-not-chosen":         issued(readonly(), "", 16, 0),
		"shell-of-another-version": issued(readonly(), "nushell", 16, 0),
	} {
		t.Run("credentials-"+name, func(t *testing.T) {
			m, err := credentialsMessage(i)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(m.text, i.Credentials.SessionToken.Reveal()) || strings.Contains(m.text, i.Credentials.SecretKey.Reveal()) {
				t.Error("the text that notifications show holds a secret")
			}
			compare(t, "credentials-"+name, answered(t, m, i.Again))
		})
	}

	many := make([]*policy.Role, 120)
	for i := range many {
		many[i] = longest(t, fmt.Sprintf("role-%03d-", i))
	}
	full := me(many...)
	full.User.Name, full.Admin = policy.UserName(strings.Repeat("u", 32)), true
	full.User.Groups = nil
	for i := range 30 {
		full.User.Groups = append(full.User.Groups, policy.GroupName(longName(fmt.Sprintf("group-%02d-", i))))
	}
	full.Removed = full.User.Groups
	outlived := me(readonly())
	outlived.Removed = []policy.GroupName{"sre"}
	nobody := broker.Me{User: broker.User{Name: "al", Expires: noon.AddDate(0, 3, 0)}, Slack: alice}
	for name, m := range map[string]message{
		"help":             helpMessage(""),
		"unknown-verb":     helpMessage("audit"),
		"version":          versionMessage("v1.2.3-rc.1+<dirty>"),
		"roles-none":       rolesMessage(nobody),
		"roles-one":        rolesMessage(me(readonly())),
		"roles-two":        rolesMessage(me(strict(t), readonly())),
		"roles-longest":    rolesMessage(full),
		"whoami-shortest":  whoamiMessage(nobody),
		"whoami":           whoamiMessage(me(strict(t), readonly())),
		"whoami-longest":   whoamiMessage(full),
		"whoami-removed":   whoamiMessage(outlived),
		"foreign-team":     foreignTeam("0123456789ABCDEFGHJK"),
		"not-taken":        notTaken("0123456789ABCDEFGHJK"),
		"already-issued":   explain(&broker.AlreadyIssued{RequestID: "0123456789ABCDEFGHJK"}, command{}),
		"unknown-request":  explain(broker.ErrNotFound, command{}),
		"too-long-to-take": explain(broker.ErrInvalid, command{}),
		"anything-else":    explain(os.ErrClosed, command{}),
		"unknown-person":   unknownCaller(explain(&broker.Refusal{RequestID: "0123456789ABCDEFGHJK", Decision: policy.Decision{Rule: broker.RuleUnbound}}, command{}), alice),
	} {
		t.Run(name, func(t *testing.T) {
			sent := answered(t, m, false)
			if len(sent) >= 20_000 && !strings.HasPrefix(name, "roles") {
				t.Errorf("%d bytes: Socket Mode drops an acknowledgement of 20 KB", len(sent))
			}
			compare(t, name, sent)
		})
	}
}

// TestGoldenAudit keeps what the audit channel and the direct messages say.
func TestGoldenAudit(t *testing.T) {
	hostile := openRequest("x`*bold*`<!channel>")
	hostile.Ticket, hostile.Reason = "*INC-1*", "first\n⛔  *mallory* asked for `root` <!channel> <https://evil.example|Approve> \u202eoops\u202c &amp;"
	longest := openRequest(policy.RoleName(longName("role-")))
	longest.User, longest.Ticket, longest.Reason = policy.UserName(strings.Repeat("u", 32)), strings.Repeat("T", 500), strings.Repeat("🔥", 499)
	for name, r := range map[string]broker.Request{
		"open":         openRequest("prod-readonly"),
		"open-hostile": hostile,
		"open-longest": longest,
		"open-twice": inState(broker.StateOpen, func(r *broker.Request) {
			r.Sessions = append(r.Sessions, r.Sessions[0], broker.Session{ID: "01JDCKQ0000000000000000003", State: broker.SessionFailed, Outcome: "aws"})
			r.Sessions[1].ID, r.Sessions[1].ExpiresAt = "01JDCKQ0000000000000000002", noon.Add(2*time.Hour)
		}),
		"open-links": inState(broker.StateOpen, func(r *broker.Request) {
			r.TicketLink, r.Link, r.Reason = ourTicket, ourMessage, ourMessage+" has it all"
		}),
		"pending": inState(broker.StateAsked, func(r *broker.Request) {
			r.User, r.UserID, r.AccountID, r.Ticket, r.Reason, r.Duration = "", "", "", "", "", 0
			r.Sessions[0] = broker.Session{ID: "01JDCKQ0000000000000000000", State: broker.SessionMinting}
		}),
		"denied": inState(broker.StateDenied, func(r *broker.Request) {
			r.Rule, r.Sessions = policy.RuleNotGranted, nil
		}),
		"failed": inState(broker.StateClosed, func(r *broker.Request) {
			r.OpenedAt = time.Time{}
			r.Sessions[0] = broker.Session{ID: "01JDCKQ0000000000000000000", State: broker.SessionFailed, Outcome: string(broker.FaultAccess)}
		}),
	} {
		t.Run("request-"+name, func(t *testing.T) { compare(t, "request-"+name, posted(t, requestMessage(&r))) })
	}

	r := openRequest("prod-readonly")
	unseen := inState(broker.StateOpen, func(r *broker.Request) {
		r.Duration, r.WindowEnd = 15*time.Minute, noon.Add(15*time.Minute)
		r.Sessions[0].UndeliveredAt, r.Sessions[0].ExpiresAt = noon, r.WindowEnd
	})
	for name, m := range map[string]message{
		"timeline-one":     timeline(events(1)),
		"timeline-longest": timeline(events(200)),
		"undelivered":      undeliveredMessage(&unseen, noon),
		// Something else of it was shown; and neither way is left.
		"undelivered-further": undeliveredMessage(&r, noon),
		"undelivered-late":    undeliveredMessage(&unseen, noon.Add(time.Hour)),
		"outcome-issued":      outcomeMessage(&r, noon),
		"outcome-unseen":      outcomeMessage(&unseen, noon),
	} {
		t.Run(name, func(t *testing.T) { compare(t, name, posted(t, m)) })
	}
	for _, name := range append(slices.Sorted(maps.Keys(eventWords)), "something.newer") {
		t.Run("event-"+string(name), func(t *testing.T) {
			e := broker.Event{
				ID: "01JDCKQ0000000000000000009", Event: name, Time: noon, Actor: "root@build-1", Subject: "bob", PolicyVersion: 8,
				Detail: "groups: dev → dev, sre; *not* a <!channel> mention",
			}
			compare(t, "event-"+string(name), posted(t, eventMessage(e)))
		})
	}
}

// events are n notices of everything that a timeline can hold.
func events(n int) []broker.Notice {
	kinds := []broker.EventName{
		broker.EventIssued, broker.EventAsked, broker.EventTakenOver, broker.EventDenied, broker.EventFailed, broker.EventUndelivered, "something.newer",
	}
	var out []broker.Notice
	for i := range n {
		out = append(out, broker.Notice{Kind: broker.NoticeAudit, Event: &broker.Event{
			ID: fmt.Sprintf("01JDCKQ%019d", i), Event: kinds[i%len(kinds)], Time: noon.Add(time.Duration(i) * time.Second),
			SessionID: "01JDCKQ0000000000000000000", AccessKeyID: "ASIAZZZZZZZZZZZZZZZZ", Rule: policy.RuleGranted, ExpiresAt: noon.Add(time.Hour),
			Path: "alice ∈ sre → prod-admin → includes prod-readonly", Outcome: string(broker.FaultSessionPolicy),
		}})
	}
	return out
}

// compare checks what is sent, and keeps it and how it looks under name.
func compare(t *testing.T, name string, sent []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, sent, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, name+".json", indented.Bytes())
	golden(t, name+".txt", []byte(sandbox.Text(content(t, sent), shown)))
}
