package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// slackMaxBody bounds the request bodies read, in bytes. Slack's own limits
// are lower; this one only protects the process.
const slackMaxBody = 4 << 20

// SlackFault is how a request to the workspace goes wrong. The first of Drop,
// Garbage, RetryAfter, Error and Status that is set decides the answer; a fault
// with only a Delay answers late.
type SlackFault struct {
	Status     int           // the HTTP status; zero means 200
	Error      string        // {"ok":false,"error":Error}
	RetryAfter time.Duration // 429 with this many whole seconds in Retry-After
	Delay      time.Duration // real time to wait before anything else
	Drop       bool          // close the connection without an answer
	Garbage    bool          // answer with a body that is not JSON
	// After lets the request take effect before it goes wrong: the work is
	// done and the answer is lost.
	After bool
}

// SetFault makes requests fail: f is called once for each, with the Web API
// method's name or "response_url", and returns nil to let it pass. A nil f ends
// the faults. Calls may overlap.
func (s *Slack) SetFault(f func(method string) *SlackFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// slackAnswer is what a request is answered with: an object for a Web API
// method, plain text for a response URL.
type slackAnswer struct {
	status     int // zero means 200
	retryAfter int // seconds; zero means no header
	body       map[string]any
	text       string
}

// slackOK answers a Web API method with ok and the given fields.
func slackOK(fields map[string]any) slackAnswer {
	body := map[string]any{"ok": true}
	for k, v := range fields {
		body[k] = v
	}
	return slackAnswer{body: body}
}

// slackError answers a Web API method with an error code and, for errors about
// blocks and arguments, what is wrong.
func slackError(code string, messages ...string) slackAnswer {
	body := map[string]any{"ok": false, "error": code}
	if len(messages) > 0 {
		body["response_metadata"] = map[string]any{"messages": messages}
	}
	return slackAnswer{body: body}
}

// slackRateLimited answers that the caller must wait, in seconds.
func slackRateLimited(seconds int) slackAnswer {
	a := slackError("ratelimited")
	a.status, a.retryAfter = http.StatusTooManyRequests, seconds
	return a
}

// slackArgs holds a Web API method's arguments, from a form or a JSON object.
type slackArgs map[string]json.RawMessage

// str returns an argument as text; numbers and booleans as they were written.
func (a slackArgs) str(name string) string {
	var text string
	if json.Unmarshal(a[name], &text) == nil {
		return text
	}
	if string(a[name]) == "null" {
		return ""
	}
	return string(a[name])
}

// raw returns an argument that is JSON itself: as it is in a JSON object, or
// encoded once more into a string, as in a form.
func (a slackArgs) raw(name string) json.RawMessage {
	var text string
	if json.Unmarshal(a[name], &text) == nil {
		return json.RawMessage(text)
	}
	return a[name]
}

// content returns the message that chat methods take.
func (a slackArgs) content() slackContent {
	return slackContent{text: a.str("text"), blocks: a.raw("blocks"), thread: a.str("thread_ts")}
}

// slackMethod is one Web API method: the arguments it takes, and what it does.
// The caller of run holds s.mu.
type slackMethod struct {
	args []string
	run  func(s *Slack, r *http.Request, a slackArgs) slackAnswer
}

// slackLooks are arguments that change nothing that is kept here.
var slackLooks = []string{"token", "mrkdwn", "unfurl_links", "unfurl_media", "link_names", "parse",
	"include_locale", "return_im"}

// slackMethods are the Web API methods there are.
var slackMethods = map[string]slackMethod{
	"apps.connections.open": {nil, (*Slack).appsConnectionsOpen},
	"auth.test":             {nil, (*Slack).authTest},
	"chat.postEphemeral":    {[]string{"channel", "user", "text", "blocks", "thread_ts"}, (*Slack).chatPostEphemeral},
	"chat.postMessage":      {[]string{"channel", "text", "blocks", "thread_ts"}, (*Slack).chatPostMessage},
	"chat.update":           {[]string{"channel", "ts", "text", "blocks"}, (*Slack).chatUpdate},
	"conversations.info":    {[]string{"channel", "include_num_members"}, (*Slack).conversationsInfo},
	"conversations.open":    {[]string{"channel", "users"}, (*Slack).conversationsOpen},
	"users.info":            {[]string{"user"}, (*Slack).usersInfo},
	"users.lookupByEmail":   {[]string{"email"}, (*Slack).usersLookupByEmail},
	"views.open":            {[]string{"trigger_id", "view"}, (*Slack).viewsOpen},
	"views.publish":         {[]string{"user_id", "view", "hash"}, (*Slack).viewsPublish},
	"views.push":            {[]string{"trigger_id", "view"}, (*Slack).viewsPush},
	"views.update":          {[]string{"view_id", "external_id", "view", "hash"}, (*Slack).viewsUpdate},
}

// ServeHTTP serves the Web API under /api/, response URLs under /commands/ and
// /actions/, and Socket Mode under /link/.
func (s *Slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isMethod := strings.CutPrefix(r.URL.Path, "/api/")
	switch {
	case isMethod:
		s.serve(w, r, name, s.callMethod)
	case strings.HasPrefix(r.URL.Path, "/commands/"), strings.HasPrefix(r.URL.Path, "/actions/"):
		s.serve(w, r, "response_url", s.respond)
	case strings.HasPrefix(r.URL.Path, "/link/"):
		s.serveSocket(w, r)
	default:
		http.NotFound(w, r)
	}
}

// serve counts a request, applies the fault set for it, and answers.
func (s *Slack) serve(w http.ResponseWriter, r *http.Request, name string, do func(*http.Request, []byte) slackAnswer) {
	s.mu.Lock()
	s.calls[name]++
	fault := s.fault
	s.mu.Unlock()

	var f SlackFault
	if fault != nil {
		if p := fault(name); p != nil {
			f = *p
		}
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return
		}
	}
	faulty := f.Drop || f.Garbage || f.RetryAfter > 0 || f.Error != "" || f.Status != 0
	var answer slackAnswer
	if !faulty || f.After {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, slackMaxBody))
		if err != nil {
			http.Error(w, "body cut short or too large", http.StatusBadRequest)
			return
		}
		answer = do(r, body)
	}
	if faulty {
		answer = f.answer()
	}
	answer.write(w)
}

// answer is what a fault answers with. It aborts the connection for Drop.
func (f SlackFault) answer() slackAnswer {
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Garbage:
		return slackAnswer{status: f.Status, text: "<html><title>Slack is having trouble</title>"}
	case f.RetryAfter > 0:
		return slackRateLimited(int((f.RetryAfter + time.Second - 1) / time.Second))
	case f.Error != "":
		a := slackError(f.Error)
		a.status = f.Status
		return a
	default:
		return slackAnswer{status: f.Status, text: http.StatusText(f.Status)}
	}
}

func (a slackAnswer) write(w http.ResponseWriter) {
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	body := []byte(a.text)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if a.body != nil {
		body = slackJSON(a.body)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("X-OAuth-Scopes", "chat:write,commands,im:write,users:read,users:read.email,channels:read")
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = w.Write(body) // a caller that has gone away has nobody to tell
}

// callMethod runs the Web API method that a request names.
func (s *Slack) callMethod(r *http.Request, body []byte) slackAnswer {
	name := strings.TrimPrefix(r.URL.Path, "/api/")
	method, ok := slackMethods[name]
	if !ok {
		return slackError("unknown_method")
	}
	args, token, err := slackParse(r, body)
	if err != nil {
		return slackError(err.Error())
	}
	if refusal := s.authorize(name, token); refusal != "" {
		return slackError(refusal)
	}
	for _, arg := range slices.Sorted(maps.Keys(args)) {
		if !slices.Contains(method.args, arg) && !slices.Contains(slackLooks, arg) {
			return slackError("invalid_arguments", fmt.Sprintf("%s is not implemented in the sandbox", arg))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return method.run(s, r, args)
}

// authorize checks the token for a method and returns Slack's error code, or
// "" when it may be called.
func (s *Slack) authorize(method, token string) string {
	want, other := s.botToken, s.appToken
	if method == "apps.connections.open" {
		want, other = other, want
	}
	switch token {
	case want:
		return ""
	case "":
		return "not_authed"
	case other:
		return "not_allowed_token_type"
	default:
		return "invalid_auth"
	}
}

// slackParse reads a method's arguments and token. A form may carry the token;
// a JSON body may not, so it goes in the Authorization header. The error is
// Slack's code.
func slackParse(r *http.Request, body []byte) (slackArgs, string, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	args := slackArgs{}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case kind == "application/json":
		if len(body) > 0 && json.Unmarshal(body, &args) != nil {
			return nil, "", fmt.Errorf("invalid_json")
		}
	case kind == "application/x-www-form-urlencoded" || len(body) == 0:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, "", fmt.Errorf("invalid_form_data")
		}
		for name, values := range form {
			args[name] = slackJSON(values[0])
		}
		if token == "" {
			token = form.Get("token")
		}
	default:
		return nil, "", fmt.Errorf("invalid_post_type")
	}
	return args, token, nil
}
