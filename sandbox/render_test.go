package sandbox_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/sandbox"
)

// renderNames are options that know alice and general, at a fixed moment.
func renderNames() sandbox.RenderOptions {
	return sandbox.RenderOptions{
		Now:      time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC),
		Location: time.FixedZone("", 3600),
		User:     func(id string) string { return map[string]string{"U1": "alice"}[id] },
		Channel:  func(id string) string { return map[string]string{"C1": "general"}[id] },
		Group:    func(id string) string { return map[string]string{"S2": "leads"}[id] },
	}
}

// renderCredentials is a message of the kind that Starback sends.
const renderCredentials = `[
 {"type":"header","text":{"type":"plain_text","text":"prod-readonly for 1 hour"}},
 {"type":"section","text":{"type":"mrkdwn","text":"Here you are, <@U1>. *Keep this* to yourself:\n` + "```\\nexport AWS_ACCESS_KEY_ID=ASIA&amp;\\nexport X=&lt;y&gt;\\n```" + `\nIt ends <!date^1795430000^{date_short_pretty} at {time}|soon>."},
  "fields":[{"type":"mrkdwn","text":"*Role*\nprod-readonly"},{"type":"plain_text","text":"*Ticket*"}]},
 {"type":"actions","elements":[
  {"type":"button","text":{"type":"plain_text","text":"Open console"},"url":"https://console.example.com/?a=1&b=2"},
  {"type":"button","text":{"type":"plain_text","text":"Renew"},"style":"primary"},
  {"type":"button","text":{"type":"plain_text","text":"End"},"style":"danger"}]},
 {"type":"divider"},
 {"type":"context","elements":[{"type":"mrkdwn","text":"session 01J"},{"type":"mrkdwn","text":"in <#C1>"}]},
 {"type":"rich_text","elements":[
  {"type":"rich_text_section","elements":[{"type":"text","text":"Because "},{"type":"text","text":"queue","style":{"code":true}},
   {"type":"text","text":" grew","style":{"bold":true}},{"type":"user","user_id":"U9"}]},
  {"type":"rich_text_list","style":"ordered","elements":[
   {"type":"rich_text_section","elements":[{"type":"text","text":"one"}]},
   {"type":"rich_text_section","elements":[{"type":"link","url":"https://a.b","text":"two"}]}]},
  {"type":"rich_text_quote","elements":[{"type":"text","text":"said\nso"}]},
  {"type":"rich_text_preformatted","elements":[{"type":"text","text":"a\n  b"}]}]}]`

func TestTextOfAMessage(t *testing.T) {
	opts := renderNames()
	opts.Width = 40
	got := sandbox.Text(sandbox.Message{Text: "fallback", Blocks: json.RawMessage(renderCredentials)}, opts)
	want := `# prod-readonly for 1 hour
Here you are, @alice. *Keep this* to
yourself:
    export AWS_ACCESS_KEY_ID=ASIA&
    export X=<y>
It ends today at 11:33 AM.
*Role*
prod-readonly
*Ticket*
[ Open console ] https://console.example.com/?a=1&b=2
[* Renew *]  [! End !]
----------------------------------------
· session 01J  in #general
Because ` + "`queue`" + `* grew*@U9
1. one
2. two <https://a.b>
> said
> so
    a
      b`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestTextOfMarkup(t *testing.T) {
	long := "https://signin.example.com/federation?" + strings.Repeat("x", 100)
	tests := []struct {
		name, text, want string
		change           func(*sandbox.RenderOptions)
	}{
		{"entities", "a &lt;b&gt; &amp;amp;", "a <b> &amp;", nil},
		{"user, known", "<@U1> <@U1|al>", "@alice @alice", nil},
		{"user, unknown", "<@U2> <@U2|bob>", "@U2 @bob", nil},
		{"channel", "<#C1> <#C2|quiet> <#C3|>", "#general #quiet #C3", nil},
		{"group and everyone", "<!subteam^S1|@sre> <!here> <!channel|channel>", "@sre @here @channel", nil},
		{"group, known", "<!subteam^S2> <!subteam^S3>", "@leads @S3", nil},
		{"link", "<https://a.b/?x=1&amp;y=2|the docs> <https://a.b>", "the docs <https://a.b/?x=1&y=2> https://a.b", nil},
		{"link named after itself", "<https://a.b|https://a.b>", "https://a.b", nil},
		{"long link, whole", "<" + long + ">", long, nil},
		{"long link, short", "<" + long + ">", long[:59] + "…", func(o *sandbox.RenderOptions) { o.Short = true }},
		{"escape sequences", "a\x1b[31mred\x07\u202egnirts", "a[31mredgnirts", nil},
		{"colours", "*b* `c` a*b*c", "\x1b[1mb\x1b[0m \x1b[36mc\x1b[0m a*b*c", func(o *sandbox.RenderOptions) { o.Color = true }},
		{"wrapped", "one two three", "one two\nthree", func(o *sandbox.RenderOptions) { o.Width = 8 }},
		{"a long word", "one twothreefour five", "one\ntwothreefour\nfive", func(o *sandbox.RenderOptions) { o.Width = 8 }},
		{"code is not wrapped", "```one two three```", "one two three", func(o *sandbox.RenderOptions) { o.Width = 8 }},
		{"code in the middle", "a\n```\nb\n```\nc", "a\n    b\nc", nil},
		{"a lone bracket", "a < b > c <>", "a < b > c <>", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := renderNames()
			opts.Width = 200
			if tt.change != nil {
				tt.change(&opts)
			}
			if diff := cmp.Diff(tt.want, sandbox.Text(sandbox.Message{Text: tt.text}, opts)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTextOfDates(t *testing.T) {
	// 1795425855 is 2026-11-23 10:24:15 in UTC, an hour later in the reader's zone.
	tests := []struct{ in, want string }{
		{"<!date^1795429455^{date_num} {time_secs}|x>", "2026-11-23 11:24:15 AM"},
		{"<!date^1795429455^{date}|x>", "November 23rd"},
		{"<!date^1795429455^{date_short}|x>", "Nov 23"},
		{"<!date^1795429455^{date_long}|x>", "Monday, November 23rd"},
		{"<!date^1735732800^{date}|x>", "January 1st, 2025"},
		{"<!date^1735732800^{date_short}|x>", "Jan 1, 2025"},
		{"<!date^1735732800^{date_long_pretty}|x>", "Wednesday, January 1st, 2025"},
		{"<!date^1795429455^{date_pretty} at {time}|x>", "today at 11:24 AM"},
		{"<!date^1795515855^{date_short_pretty}|x>", "tomorrow"},
		{"<!date^1795343055^{date_long_pretty}|x>", "yesterday"},
		{"<!date^1795688655^{date_pretty}|x>", "November 26th"},
		{"<!date^1795426200^{ago}|x>", "1 second ago"},
		{"<!date^1795429800^{ago}|x>", "in 59 minutes"},
		{"<!date^1795166999^{ago}|x>", "3 days ago"},
		{"<!date^1795429455^{time}^https://a.b|x>", "11:24 AM <https://a.b>"},
		{"<!date^1795429455^{century}|long ago>", "long ago"},
		{"<!date^soon^{date}|soon>", "soon"},
		{"<!date^99999999999999^{date}|far>", "far"},
		{"<!date^1795429455|bare>", "bare"},
	}
	opts := renderNames()
	opts.Now = time.Unix(1795426201, 0)
	for _, tt := range tests {
		if got := sandbox.Text(sandbox.Message{Text: tt.in}, opts); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestViewText(t *testing.T) {
	v := sandbox.View{Title: "Request", Submit: "Send", Close: "Cancel", Errors: map[string]string{"why": "too short"}}
	var in struct{ Blocks json.RawMessage }
	if err := json.Unmarshal([]byte(slackModal), &in); err != nil {
		t.Fatal(err)
	}
	v.Blocks = in.Blocks
	want := `== Request ==
Role: [ ... v ]
Reason (optional): ________
[ More ]
! why: too short
[ Cancel ]  [ Send ]`
	if diff := cmp.Diff(want, sandbox.ViewText(v, renderNames())); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}
}

func FuzzText(f *testing.F) {
	f.Add("<@U1> <!date^1^{ago}|x> ```a```", []byte(slackButtons), 80)
	f.Add("```", []byte(`[{"type":"section","text":{"type":"mrkdwn","text":"\u001b[1m"}}]`), -1)
	f.Add("<|> <!date^> <!> <@|> <#>", []byte(`[null,{"type":"context","elements":[7,{"type":"image"}]}]`), 1)
	f.Add("*b* `c`", []byte(renderCredentials), 40)
	f.Add("", []byte(`[{"type":"rich_text","elements":[{"type":"rich_text_list","indent":1e300,"offset":-5,"elements":[{}]}]}]`), 0)
	f.Add("", []byte(`[{"type":"input","element":{"type":"radio_buttons","options":[{"text":7}]}}]`), 9)
	f.Fuzz(func(t *testing.T, text string, blocks []byte, width int) {
		opts := renderNames()
		opts.Width = min(width, 1000)
		m := sandbox.Message{Text: text, Blocks: blocks}
		got := sandbox.Text(m, opts)
		if strings.ContainsAny(got, "\x1b\x00\u202e") {
			t.Errorf("control characters in %q", got)
		}
		if got != sandbox.Text(m, opts) {
			t.Error("differs from one time to the next")
		}
		opts.Color, opts.Short, opts.User, opts.Channel = true, true, nil, nil
		sandbox.Text(m, opts)
	})
}
