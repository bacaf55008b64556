package story

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// An Answer is what the interface for applications answers.
type Answer struct {
	Status int
	Header http.Header
	Body   struct {
		Code            string
		Rule            string
		State           string
		RequestID       string    `json:"request_id"`
		SessionID       string    `json:"session_id"`
		AccessKeyID     string    `json:"access_key_id"`
		SecretAccessKey string    `json:"secret_access_key"`
		SessionToken    string    `json:"session_token"`
		ConsoleURL      string    `json:"console_url"`
		Expiration      time.Time `json:"expiration"`
	}
}

// Keys are the credentials of an answer.
func (a Answer) Keys() Keys {
	return Keys{"AWS_ACCESS_KEY_ID": a.Body.AccessKeyID, "AWS_SECRET_ACCESS_KEY": a.Body.SecretAccessKey, "AWS_SESSION_TOKEN": a.Body.SessionToken}
}

// Calls calls the interface for applications with a token, and fails the test
// unless it is answered with this status. Headers are given as NAME, VALUE.
func (h *House) Calls(token string, status int, method, path, body string, headers ...string) Answer {
	h.T.Helper()
	r, err := http.NewRequestWithContext(h.T.Context(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		h.T.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Timeout: patience}
	res, err := client.Do(r)
	if err != nil {
		h.T.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.T.Fatal(err)
	}
	a := Answer{Status: res.StatusCode, Header: res.Header}
	if err := json.Unmarshal(text, &a.Body); err != nil || a.Status != status {
		h.T.Fatalf("%s %s is answered %d %q %q, %v", method, path, a.Status, a.Body.Code, a.Body.Rule, err)
	}
	if a.Body.AccessKeyID != "" {
		h.handed = append(h.handed, a.Body.AccessKeyID)
		h.Secrets = append(h.Secrets, a.Body.SecretAccessKey, a.Body.SessionToken)
	}
	return a
}

// Applications is of an application that supplies itself: it is made, with a
// token, by the command line, asks, asks for more, waits for what two must
// approve, and has nothing once its token is revoked. The command line is run by
// starback, which returns what it prints.
func Applications(h *House, starback func(args ...string) string) {
	t := h.T
	const credentials = "/v1/credentials"
	starback("user", "add", "ci", "--owner", "bob", "--until", "30d")
	starback("grant", "add", "prod-readonly", "--user", "ci")
	starback("grant", "add", "prod-guarded", "--user", "ci")
	token := strings.TrimSpace(starback("token", "create", "ci", "--any-role", "--label", "the build"))
	h.Secrets = append(h.Secrets, token, token[21:])

	ask := func(status int) Answer {
		return h.Calls(token, status, http.MethodPost, credentials, `{"role": "prod-readonly", "duration": "1h", "ticket": "INC-7", "reason": "the nightly build"}`, "Idempotency-Key", "build 7")
	}
	first := ask(http.StatusOK)
	issued := h.WaitForTrail("session.issued", 1)[0]
	if issued.Actor != "ci" || issued.Slack != "" || issued.Ticket != "INC-7" || issued.Reason != "the nightly build" || issued.SessionID != first.Body.SessionID || issued.AccessKeyID != first.Body.AccessKeyID {
		t.Errorf("the trail says %+v", issued)
	}
	h.knownAs(first.Keys(), regexp.MustCompile(`^arn:aws:sts::111122223333:assumed-role/(starback/)?ReadOnly/ci@`+first.Body.SessionID+`$`))
	if again := ask(http.StatusConflict); again.Body.Code != "already_issued" || again.Body.RequestID != first.Body.RequestID || h.Assumed() != 1 {
		t.Errorf("the same again is answered %+v, and AWS was asked for %d sessions", again, h.Assumed())
	}
	h.Calls(token, http.StatusOK, http.MethodPost, "/v1/requests/"+first.Body.RequestID+"/credentials", "")
	h.Channel(Audit, first.Body.SessionID)

	asked := h.Calls(token, http.StatusAccepted, http.MethodPost, credentials, `{"role": "prod-guarded", "reason": "the disk is full"}`)
	at := asked.Header.Get("Location")
	h.Presses("U0LEA", h.Finds("U0LEA", false, "ci asks for prod-guarded", "the disk is full", "0 of 2 approvals so far"), "approve")
	h.Presses("U0MIA", h.Finds("U0MIA", false, "the disk is full", "1 of 2 approvals so far"), "approve")
	h.WaitForTrail("approval.given", 2)
	if a := h.Calls(token, http.StatusOK, http.MethodGet, at, ""); a.Body.State != "approved" {
		t.Errorf("how it stands is answered %+v", a.Body)
	}
	revealed := h.Calls(token, http.StatusOK, http.MethodPost, at+"/credentials", "")
	h.knownAs(revealed.Keys(), regexp.MustCompile(`ci@`+revealed.Body.SessionID+`$`))
	h.Finds("U0LEA", false, "the disk is full", "Approved by lea, mia, and issued")

	starback("token", "revoke", "ci", token[9:21])
	for path, method := range map[string]string{credentials: http.MethodPost, at + "/credentials": http.MethodPost, at: http.MethodGet, "/v1/whoami": http.MethodGet} {
		if a := h.Calls(token, http.StatusUnauthorized, method, path, `{"role": "prod-readonly", "ticket": "INC-8"}`); a.Body.Rule != "token.revoked" {
			t.Errorf("%s is answered %+v", path, a)
		}
	}
	if n := h.Assumed(); n != 3 {
		t.Errorf("AWS was asked for %d sessions", n)
	}
	h.Stop()
	if h.AWS != nil {
		h.TrueTrail()
	}
	h.NoLeaks()
}
