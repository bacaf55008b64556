package bot

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// TestFront answers whatever may come in. What is refused leaves no Job.
func TestFront(t *testing.T) {
	const stamp, signature = "X-Slack-Request-Timestamp", "X-Slack-Signature"
	right := slashed().Header.Get(signature)
	for name, c := range map[string]struct {
		request *http.Request
		status  int
		jobs    int
		says    string // part of the answer; else it must be empty
	}{
		"a command":                {slashed(), 200, 1, ""},
		"of an enterprise":         {slashed("enterprise_id", "E012AB", "team_id", "TOTHER", "user_id", "W0456"), 200, 1, ""},
		"with a charset":           {with(slashed(), header("Content-Type", formType+"; charset=utf-8")), 200, 1, ""},
		"just in time":             {with(slashed(), signedAt(signingSecret, noon.Add(-5*time.Minute))), 200, 1, ""},
		"a clock a little ahead":   {with(slashed(), signedAt(signingSecret, noon.Add(5*time.Minute))), 200, 1, ""},
		"bad UTF-8 in the text":    {slashed("text", "prod \xff\xfe"), 200, 1, ""},
		"help":                     {slashed("text", "help"), 200, 0, "short-term AWS credentials"},
		"no text":                  {slashed("text", ""), 200, 0, "short-term AWS credentials"},
		"a word with no meaning":   {slashed("text", "audit"), 200, 0, "no command `audit`"},
		"version":                  {slashed("text", "version"), 200, 0, "v1.2.3"},
		"another team":             {slashed("team_id", "T999ZZ"), 200, 0, "does not serve your workspace"},
		"another enterprise":       {slashed("team_id", "T999ZZ", "enterprise_id", "E999ZZ"), 200, 0, "does not serve your workspace"},
		"help for another team":    {slashed("team_id", "T999ZZ", "text", "help"), 200, 0, "does not serve your workspace"},
		"ssl_check":                {signed(PathCommands, formType, "ssl_check=1&token="+deprecatedToken), 200, 0, ""},
		"ssl_check, unsigned":      {with(signed(PathCommands, formType, "ssl_check=1"), header(signature)), 200, 0, ""},
		"ssl_check with a command": {with(slashed("ssl_check", "1"), header(signature)), 200, 0, ""},

		"unsigned":             {with(slashed(), func(r *http.Request) { r.Header.Del(signature) }), 401, 0, ""},
		"no timestamp":         {with(slashed(), func(r *http.Request) { r.Header.Del(stamp) }), 401, 0, ""},
		"an empty signature":   {with(slashed(), header(signature, "")), 401, 0, ""},
		"a wrong signature":    {with(slashed(), header(signature, "v0="+strings.Repeat("0", 64))), 401, 0, ""},
		"a cut signature":      {with(slashed(), header(signature, right[:len(right)-1])), 401, 0, ""},
		"in capitals":          {with(slashed(), header(signature, strings.ToUpper(right))), 401, 0, ""},
		"of another version":   {with(slashed(), header(signature, "v1"+right[2:])), 401, 0, ""},
		"two signatures":       {with(slashed(), header(signature, right, right)), 401, 0, ""},
		"two timestamps":       {with(slashed(), header(stamp, fmt.Sprint(noon.Unix()), fmt.Sprint(noon.Unix()))), 401, 0, ""},
		"another timestamp":    {with(slashed(), header(stamp, fmt.Sprint(noon.Unix()-1))), 401, 0, ""},
		"no number":            {with(slashed(), header(stamp, "noon")), 401, 0, ""},
		"a huge number":        {with(slashed(), header(stamp, "9223372036854775807")), 401, 0, ""},
		"another secret":       {with(slashed(), signedAt("another", noon)), 401, 0, ""},
		"an empty secret":      {with(slashed(), signedAt("", noon)), 401, 0, ""},
		"stale":                {with(slashed(), signedAt(signingSecret, noon.Add(-5*time.Minute-time.Second))), 401, 0, ""},
		"from the future":      {with(slashed(), signedAt(signingSecret, noon.Add(5*time.Minute+time.Second))), 401, 0, ""},
		"another body":         {with(slashed(), func(r *http.Request) { r.Body = slashed("text", "prod-admin").Body }), 401, 0, ""},
		"fields of the query":  {with(slashed("text", ""), func(r *http.Request) { r.URL.RawQuery = "text=prod" }), 200, 0, "short-term AWS"},
		"GET":                  {with(slashed(), func(r *http.Request) { r.Method = http.MethodGet }), 405, 0, "Slack posts here."},
		"PUT":                  {with(slashed(), func(r *http.Request) { r.Method = http.MethodPut }), 405, 0, "Slack posts here."},
		"an unknown path":      {signed("/slack/other", formType, form()), 404, 0, ""},
		"no content type":      {with(slashed(), func(r *http.Request) { r.Header.Del("Content-Type") }), 415, 0, ""},
		"another content type": {with(slashed(), header("Content-Type", "application/json")), 415, 0, ""},
		"another charset":      {with(slashed(), header("Content-Type", formType+"; charset=iso-8859-1")), 415, 0, ""},
		"a broken type":        {with(slashed(), header("Content-Type", formType+"; charset")), 415, 0, ""},
		"JSON for a form":      {signed(PathCommands, "application/json", "{}"), 415, 0, ""},
		"a form for JSON":      {signed(PathEvents, formType, form()), 415, 0, ""},
		"a malformed form":     {signed(PathCommands, formType, "text=%zz&"+form()), 400, 0, ""},
		"a semicolon":          {signed(PathCommands, formType, form()+";x=1"), 400, 0, ""},
		"a field twice":        {signed(PathCommands, formType, form()+"&text=prod-admin"), 400, 0, ""},
		"the user twice":       {signed(PathCommands, formType, "user_id=U0457&"+form()), 400, 0, ""},
		"bad UTF-8 in an id":   {slashed("user_id", "U\xff"), 400, 0, ""},
		"bad UTF-8 in the URL": {slashed("response_url", responseURL+"\xff"), 400, 0, ""},
		"no user":              {slashed("user_id", ""), 400, 0, ""},
		"no team":              {slashed("team_id", ""), 400, 0, ""},
		"no id of a user":      {slashed("user_id", "u0456"), 400, 0, ""},
		"a path for a user":    {slashed("user_id", "U1/U2"), 400, 0, ""},
		"a long user":          {slashed("user_id", "U"+strings.Repeat("0", 40)), 400, 0, ""},
		"no trigger":           {slashed("trigger_id", ""), 400, 0, ""},
		"a long trigger":       {slashed("trigger_id", strings.Repeat("1", 256)), 400, 0, ""},
		"nothing at all":       {signed(PathCommands, formType, ""), 400, 0, ""},
		"oversized":            {slashed("text", strings.Repeat("x", maxBody)), 413, 0, "Request Entity Too Large"},
		"cut off":              {with(slashed(), func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)) }), 400, 0, "Bad Request"},

		"a click":                      {click("T012AB"), 200, 1, ""},
		"a click in the enterprise":    {click("T777", `"enterprise":null`, `"enterprise":{"id":"E012AB"}`, "U0456", "W0456"), 200, 1, ""},
		"an outsider's click":          {click("TOTHER"), 200, 1, ""},
		"a click in another team":      {click("T012AB", `"team":{"id":"T012AB"}`, `"team":{"id":"TOTHER"}`), 200, 0, ""},
		"another enterprise's click":   {click("TOTHER", `"enterprise":null`, `"enterprise":{"id":"E999ZZ"}`), 200, 1, ""},
		"a form's in another team":     {submission("T012AB", `"team":{"id":"T012AB"}`, `"team":{"id":"TOTHER"}`), 200, 0, ""},
		"an unknown form":              {submission("T012AB", "deny_form", "other"), 200, 0, ""},
		"a form of nobody's":           {submission("T012AB", "U0456", ""), 400, 0, ""},
		"a form without its seal":      {submission("T012AB"), 400, 0, ""},
		"a click by nobody":            {click("T012AB", "U0456", ""), 400, 0, ""},
		"a click of no team":           {click(""), 400, 0, ""},
		"a click without trigger":      {click("T012AB", "1.2.abc", ""), 400, 0, ""},
		"no actions":                   {click("T012AB", `{"action_id":"shell:fish","type":"button","value":"REQ"}`, ""), 200, 0, ""},
		"several actions":              {click("T012AB", `"actions":[`, `"actions":[{"action_id":"shell:bash"},`), 200, 0, ""},
		"the console button":           {click("T012AB", "shell:fish", "console"), 200, 0, ""},
		"an unknown action":            {click("T012AB", "shell:fish", "approved"), 200, 0, ""},
		"an outsider's unknown action": {click("TOTHER", "shell:fish", "approved"), 200, 0, ""},
		"an unknown shell":             {click("T012AB", "shell:fish", "shell:csh"), 200, 0, ""},
		"no shell":                     {click("T012AB", "shell:fish", "shell:"), 200, 0, ""},
		"a view submission":            {click("T012AB", "block_actions", "view_submission"), 200, 0, ""},
		"a shortcut":                   {clicked(`{"type":"shortcut"}`), 400, 0, ""},
		"a payload that is no JSON":    {clicked(`{"type":"block_actions"`), 400, 0, ""},
		"a payload that is no UTF-8":   {clicked("{\"type\":\"block_actions\xff\"}"), 400, 0, ""},
		"a payload of another shape":   {clicked(`{"type":"block_actions","user":"U0456"}`), 400, 0, ""},
		"no payload":                   {signed(PathInteractions, formType, ""), 400, 0, ""},
		"a click, forged":              {with(click("T012AB"), header(signature, right)), 401, 0, ""},
		"a payload in the query only":  {with(signed(PathInteractions, formType, "x=1"), func(r *http.Request) { r.URL.RawQuery = "payload={}" }), 400, 0, ""},

		"a change of a user":          {changed(), 200, 1, ""},
		"a change in the enterprise":  {changed(`"enterprise_id":null`, `"enterprise_id":"E012AB"`), 200, 1, ""},
		"a change in another team":    {changed(`"team_id":"T012AB","enterprise_id"`, `"team_id":"TOTHER","enterprise_id"`), 200, 0, ""},
		"a change of nobody":          {changed("U0456", ""), 400, 0, ""},
		"a change without an id":      {changed("Ev1", ""), 400, 0, ""},
		"a change of another shape":   {changed(`{"id":"U0456"`, `["U0456"`, "true}}}", "true]}}"), 400, 0, ""},
		"another event":               {changed("user_change", "team_join"), 200, 0, ""},
		"another kind of envelope":    {changed("event_callback", "app_rate_limited"), 200, 0, ""},
		"an event, unsigned":          {with(changed(), header(signature)), 401, 0, ""},
		"an event that is no JSON":    {signed(PathEvents, "application/json", "user_change"), 400, 0, ""},
		"an event that is no UTF-8":   {changed("Ev1", "\xff"), 400, 0, ""},
		"an event of no type":         {signed(PathEvents, "application/json", "{}"), 400, 0, ""},
		"url_verification":            {signed(PathEvents, "application/json", `{"type":"url_verification","challenge":"<3x\u2028"}`), 200, 0, `{"challenge":"\u003c3x\u2028"}`},
		"url_verification, unsigned":  {with(signed(PathEvents, "application/json", `{"type":"url_verification","challenge":"x"}`), header(signature)), 401, 0, ""},
		"url_verification, too long":  {signed(PathEvents, "application/json", `{"type":"url_verification","challenge":"`+strings.Repeat("x", 1025)+`"}`), 400, 0, ""},
		"url_verification, no string": {signed(PathEvents, "application/json", `{"type":"url_verification","challenge":1}`), 400, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			secret := c.request.Header.Get(signature)
			w := d.send(c.request)
			if w.Code != c.status || len(d.queue.jobs) != c.jobs {
				t.Errorf("status %d and %d jobs, want %d and %d\n%s", w.Code, len(d.queue.jobs), c.status, c.jobs, d.log)
			}
			body := w.Body.String()
			if !strings.Contains(body, c.says) || (c.says == "") != (body == "") {
				t.Errorf("answered %q, want %q", body, c.says)
			}
			if body != "" && w.Code == 200 {
				if w.Header().Get("Content-Type") != "application/json" || !json.Valid(w.Body.Bytes()) {
					t.Error("the answer is not JSON")
				}
			}
			logged := d.log.String()
			if c.status != 200 && c.status != 405 && w.Body.Len() == 0 && logged == "" {
				t.Error("a refusal that is not logged")
			}
			for _, never := range []string{secret, deprecatedToken, "CAPABILITY", "prod-readonly", signingSecret} {
				if never != "" && strings.Contains(logged, never) {
					t.Errorf("the log holds %q: %s", never, logged)
				}
			}
		})
	}
}

// TestParseInteraction reads a payload as it comes over Socket Mode, with no
// form around it.
func TestParseInteraction(t *testing.T) {
	if _, err := parseInteraction([]byte(`{"type":"view_closed"}`)); err != nil {
		t.Error(err)
	}
	for _, payload := range []string{"", "null,", "{\"type\":\"\xff\"}", `{"type":"block_actions","trigger_id":"1"}`} {
		if p, err := parseInteraction([]byte(payload)); err == nil {
			t.Errorf("%q is read as %+v", payload, p)
		}
	}
}

// TestFrontWithoutSecret holds that an empty secret opens nothing.
func TestFrontWithoutSecret(t *testing.T) {
	d := newDesk(t)
	d.SigningSecret = broker.Secret{}
	if w := d.send(with(slashed(), signedAt("", noon))); w.Code != 401 || len(d.queue.jobs) != 0 {
		t.Errorf("status %d, %d jobs", w.Code, len(d.queue.jobs))
	}
}

// TestFrontWithoutTeams holds that no teams are ours until they are named.
func TestFrontWithoutTeams(t *testing.T) {
	d := newDesk(t)
	for _, teams := range [][]string{nil, {""}} {
		d.Teams = teams
		nowhere := changed(`"team_id":"T012AB","enterprise_id"`, `"team_id":"","enterprise_id"`)
		for _, r := range []*http.Request{slashed(), click("T012AB"), changed(), nowhere} {
			if d.send(r); len(d.queue.jobs) != 0 {
				t.Errorf("%s of any team is taken with teams %q", r.URL.Path, teams)
			}
		}
	}
}

// TestFrontJobs looks at what is put on the queue.
func TestFrontJobs(t *testing.T) {
	for name, c := range map[string]struct {
		request *http.Request
		want    work
	}{
		"command": {slashed("text", "prod <x>"), work{
			Kind: workCommand, Caller: alice, Key: "1.2.abc", Channel: "C1", Text: "prod <x>", ResponseURL: broker.NewSecret(responseURL),
		}},
		"command in an enterprise": {slashed("enterprise_id", "E012AB", "user_id", "W0456"), work{
			Kind: workCommand, Caller: broker.SlackID{Team: "E012AB", User: "W0456"}, Key: "1.2.abc", Channel: "C1",
			Text: "prod-readonly 1h", ResponseURL: broker.NewSecret(responseURL),
		}},
		"click": {click("T012AB"), work{
			Kind: workButton, Caller: alice, Key: "1.2.abc", Channel: "C1", Action: "shell:fish", Value: "REQ",
			ResponseURL: broker.NewSecret(strings.Replace(responseURL, "commands", "actions", 1)),
		}},
		"click by a member of another team of ours": {click("T034CD"), work{
			Kind: workButton, Caller: broker.SlackID{Team: "T034CD", User: "U0456"}, Key: "1.2.abc", Channel: "C1", Action: "shell:fish", Value: "REQ",
			ResponseURL: broker.NewSecret(strings.Replace(responseURL, "commands", "actions", 1)),
		}},
		"choice": {click("T012AB", "shell:fish", "approve_less", `"value":"REQ"`, `"selected_option":{"value":"REQ 30m"}`), work{
			Kind: workButton, Caller: alice, Key: "1.2.abc", Channel: "C1", Action: "approve_less", Value: "REQ 30m",
			ResponseURL: broker.NewSecret(strings.Replace(responseURL, "commands", "actions", 1)),
		}},
		"outsider's click": {click("TOTHER", "shell:fish", "approve"), work{
			Kind: workOutsider, Caller: broker.SlackID{Team: "TOTHER", User: "U0456"}, Key: "1.2.abc", Channel: "C1",
			ResponseURL: broker.NewSecret(strings.Replace(responseURL, "commands", "actions", 1)),
		}},
		"guest":    {changed(), work{Kind: workStanding, Caller: alice, Key: "Ev1", Standing: broker.Guest}},
		"deleted":  {changed(`"deleted":false`, `"deleted":true`), work{Kind: workStanding, Caller: alice, Key: "Ev1", Standing: broker.Deleted}},
		"outsider": {changed(`"id":"U0456","team_id":"T012AB"`, `"id":"U0456","team_id":"TOTHER"`), work{Kind: workStanding, Caller: alice, Key: "Ev1", Standing: broker.Foreign}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.send(c.request)
			c.want.Received = noon
			secrets := cmp.Comparer(func(a, b broker.Secret) bool { return a.Reveal() == b.Reveal() })
			if diff := cmp.Diff(c.want, d.opened(t), secrets); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFrontReplay sends again what was sent before.
func TestFrontReplay(t *testing.T) {
	d := newDesk(t)
	for _, again := range []func() *http.Request{
		func() *http.Request { return slashed() },
		func() *http.Request { return click("T012AB") },
		func() *http.Request { return with(changed(), header("X-Slack-Retry-Num", "1")) },
	} {
		before := len(d.queue.jobs)
		for range 3 {
			if w := d.send(again()); w.Code != 200 {
				t.Errorf("status %d", w.Code)
			}
		}
		if got := len(d.queue.jobs) - before; got != 1 {
			t.Errorf("%s three times made %d jobs", again().URL.Path, got)
		}
	}
	d.send(slashed("trigger_id", "1.3.def"))
	if len(d.queue.jobs) != 4 {
		t.Error("another command is taken for the same")
	}
}

// TestFrontBase64 hands bodies over as API Gateway does.
func TestFrontBase64(t *testing.T) {
	for name, c := range map[string]struct {
		body   func(string) string
		status int
		jobs   int
	}{
		"good":      {func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }, 200, 1},
		"not":       {func(s string) string { return s }, 400, 0},
		"cut":       {func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s))[1:] }, 400, 0},
		"other":     {func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s + "&x=1")) }, 401, 0},
		"oversized": {func(string) string { return strings.Repeat("A", maxBody+1) }, 413, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			r := slashed()
			reply := d.Handle(t.Context(), Incoming{Path: PathCommands, Header: r.Header, Body: []byte(c.body(form())), Base64: true})
			if reply.Status != c.status || len(d.queue.jobs) != c.jobs {
				t.Errorf("status %d, %d jobs", reply.Status, len(d.queue.jobs))
			}
		})
	}
}

// TestFrontWithAFullQueue holds that the person is told, or Slack is.
func TestFrontWithAFullQueue(t *testing.T) {
	d := newDesk(t)
	d.queue.full = errors.Join(errors.New("full"), broker.ErrUnavailable)
	if w := d.send(slashed()); w.Code != 200 || !strings.Contains(w.Body.String(), "could not take your command") {
		t.Errorf("a command: %d %s", w.Code, w.Body)
	}
	for _, r := range []*http.Request{click("T012AB"), changed()} {
		if w := d.send(r); w.Code != http.StatusServiceUnavailable || w.Body.Len() != 0 {
			t.Errorf("%s: %d %s", r.URL.Path, w.Code, w.Body)
		}
	}
}
