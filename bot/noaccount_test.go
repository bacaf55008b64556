package bot

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// TestTellingOfAnApplication tells everything that can be told of a Request that
// came with a token, and of a User whom Slack does not know: the channels hear of
// it, and nobody is written to who has no account.
func TestTellingOfAnApplication(t *testing.T) {
	var channels []string
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		channels = append(channels, r.FormValue("channel"))
		for _, words := range []string{"<@>", "(``)", "Slack did not confirm"} {
			if text := r.FormValue("text") + r.FormValue("blocks"); strings.Contains(text, words) {
				t.Errorf("%q in %s", words, text)
			}
		}
		_, _ = out.Write([]byte(`{"ok":true,"ts":"1.1"}`))
	}))
	t.Cleanup(server.Close)
	client := NewClient(broker.NewSecret("xoxb-1"), server.URL+"/", "CAUDIT", server.Client())
	client.Approvals = "CAPPROVALS"
	nobodyTold := []string{string(broker.NoticeLapse), string(broker.NoticeClose), string(broker.NoticeFence), string(broker.NoticePace)}
	toChannel := map[string]string{
		string(broker.NoticeAudit): "CAUDIT", string(broker.NoticeApproval): "CAPPROVALS", string(broker.NoticeRemind): "CAPPROVALS", string(broker.NoticeEscalate): "CAPPROVALS",
	}
	kinds := constants(t, "NoticeKind", "../broker")
	if len(kinds) < 13 {
		t.Fatalf("there are only the kinds %v", kinds)
	}
	unseen := broker.Session{ID: "S", State: broker.SessionIssued, AccessKeyID: "ASIA1", BeganAt: noon, ExpiresAt: noon.Add(time.Hour), UndeliveredAt: noon}
	for _, kind := range kinds {
		if slices.Contains(nobodyTold, kind) {
			continue
		}
		for _, state := range constants(t, "State", "../broker") {
			for _, user := range []policy.UserName{"", "ci"} {
				channels = nil
				r := put(broker.State(state), func(r *broker.Request) {
					r.User, r.Slack, r.TokenID, r.Sessions = user, broker.SlackID{}, "AbCdEf123456", []broker.Session{unseen}
				})
				app := broker.User{Name: "ci", IsApp: true, Owner: "alice", Expires: noon.Add(time.Hour)}
				e := &broker.Event{Event: broker.EventUndelivered, RequestID: r.ID, SessionID: "S", TokenID: r.TokenID}
				_, err := client.Tell(t.Context(), broker.Telling{
					Kind: broker.NoticeKind(kind), Now: noon, Request: &r, User: &app, To: &broker.User{Name: "alice"}, Post: "1.0", Thread: "1.0",
					Notices: []broker.Notice{{Kind: broker.NoticeKind(kind), Event: e, About: app.Expires}},
				})
				if err != nil {
					t.Errorf("%s of what is %s: %v", kind, state, err)
				}
				if slices.ContainsFunc(channels, func(c string) bool { return c != toChannel[kind] }) || (toChannel[kind] != "") != (len(channels) > 0) {
					t.Errorf("%s of what is %s goes to %q", kind, state, channels)
				}
			}
		}
	}
}

// Nobody can press Reveal for a Token: what it asked and others approved is
// fetched with it.
func TestNoRevealWithAToken(t *testing.T) {
	withToken := func(r *broker.Request) {
		r.User, r.Slack, r.TokenID = "ci", broker.SlackID{}, "AbCdEf123456"
	}
	approved, open, lapsed := put(broker.StateApproved, withToken), put(broker.StateOpen, withToken), put(broker.StateLapsed, withToken)
	lapsed.Approvals = append(lapsed.Approvals, broker.Approval{User: "ida", UserID: "01IDA", Yes: true, At: noon})
	open.Sessions = []broker.Session{{ID: "S", State: broker.SessionIssued, AccessKeyID: "ASIA1", BeganAt: noon, ExpiresAt: noon.Add(time.Hour)}}
	for name, tt := range map[string]struct{ said, want string }{
		"approved": {howItStands(&approved), "It waits for `ci` to fetch the credentials"},
		"open":     {howItStands(&open), "Approved by `lea` (for 2h), `ida`, and issued. It ends "},
		"lapsed":   {howItStands(&lapsed), "and not fetched in time"},
		"answer":   {answeredMessage(&approved, broker.Answer{Yes: true}).text, "ci can fetch the credentials now"},
		"thread":   {progressWhat(&open, broker.Event{Event: broker.EventIssued, SessionID: "S"}), "fetched by `ci`"},
	} {
		if !strings.Contains(tt.said, tt.want) {
			t.Errorf("%s: %q lacks %q", name, tt.said, tt.want)
		}
	}
}
