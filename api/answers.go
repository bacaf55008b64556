package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A secret is a value that its bearer is answered with. Printed it reads as every
// other Secret; the JSON of an answer alone holds it.
type secret struct{ broker.Secret }

// MarshalJSON implements json.Marshaler.
func (s secret) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	to := json.NewEncoder(&out)
	to.SetEscapeHTML(false) // a link stays one that can be copied
	err := to.Encode(s.Reveal())
	return out.Bytes(), err
}

// Schema implements huma.SchemaProvider.
func (secret) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeString} }

// credentials answers an ask with what was issued for it.
type credentials struct {
	RequestID       string          `json:"request_id"`
	SessionID       string          `json:"session_id"`
	Role            policy.RoleName `json:"role"`
	AccountID       string          `json:"account_id"`
	Region          string          `json:"region,omitempty" doc:"Where STS was called, if the role says so"`
	AccessKeyID     string          `json:"access_key_id"`
	SecretAccessKey secret          `json:"secret_access_key"`
	SessionToken    secret          `json:"session_token"`
	Expiration      time.Time       `json:"expiration" doc:"When AWS ends these credentials"`
	WindowEnd       time.Time       `json:"window_end" doc:"Until when more can be had under the same request"`
	ConsoleURL      secret          `json:"console_url,omitzero" doc:"Opens the AWS console; good for 15 minutes"`
	ConsoleProblem  string          `json:"console_problem,omitempty" doc:"Why there is no console_url where there should be one"`
}

func credentialsOf(i broker.Issued) credentials {
	c := credentials{
		RequestID: i.Request.ID, SessionID: i.Session.ID, Role: i.Role.Name, AccountID: i.Role.AccountID, Region: i.Role.Region,
		AccessKeyID: i.Credentials.AccessKeyID, SecretAccessKey: secret{i.Credentials.SecretKey}, SessionToken: secret{i.Credentials.SessionToken},
		Expiration: stamp(i.Session.ExpiresAt), WindowEnd: stamp(i.Request.WindowEnd), ConsoleURL: secret{i.Console},
	}
	if i.ConsoleErr != nil {
		c.ConsoleProblem = "AWS gave no console link. The credentials are good; more of the same request come with another try."
	}
	return c
}

// needs is what a Request still waits for.
type needs struct {
	Count int                `json:"count" doc:"How many must agree"`
	By    []policy.GroupName `json:"by" doc:"Members of which groups"`
}

func needsOf(a *policy.Approval) *needs {
	if a == nil {
		return nil
	}
	return &needs{Count: a.Count, By: a.Groups()}
}

// waiting answers an ask that somebody must approve first. To huma it is an
// error, which has a status and headers of its own.
type waiting struct {
	RequestID string       `json:"request_id"`
	State     broker.State `json:"state"`
	Needs     *needs       `json:"needs"`
	LapsesAt  time.Time    `json:"lapses_at" doc:"When it is over unless it was approved"`
}

// askAgainAfter is when it is worth looking whether somebody has approved.
const askAgainAfter = 10 * time.Second

func waitingOf(r *broker.Request) *waiting {
	return &waiting{RequestID: r.ID, State: r.State, Needs: needsOf(r.Needs), LapsesAt: stamp(r.LapsesAt)}
}

// Error implements error.
func (*waiting) Error() string { return "waiting for approval" }

// GetStatus implements huma.StatusError.
func (*waiting) GetStatus() int { return http.StatusAccepted }

// GetHeaders implements huma.HeadersError.
func (w *waiting) GetHeaders() http.Header {
	return http.Header{"Location": {Prefix + "requests/" + w.RequestID}, "Retry-After": {seconds(askAgainAfter)}}
}

// request is how a Request stands.
type request struct {
	RequestID string          `json:"request_id"`
	State     broker.State    `json:"state" enum:"asked,pending,approved,open,denied,withdrawn,lapsed,void,closed"`
	Role      policy.RoleName `json:"role"`
	Rule      policy.Rule     `json:"rule,omitempty" doc:"What decided last"`
	Needs     *needs          `json:"needs,omitempty"`
	Approvals []approval      `json:"approvals"`
	WindowEnd time.Time       `json:"window_end,omitzero" doc:"Until when more can be had, of a request that is open"`
	LapsesAt  time.Time       `json:"lapses_at,omitzero" doc:"When it is over unless it was approved, or used"`
	Sessions  []session       `json:"sessions" doc:"What was issued, in order"`
}

// approval is an approver's answer.
type approval struct {
	By     policy.UserName `json:"by"`
	Yes    bool            `json:"yes"`
	Reason string          `json:"reason,omitempty" doc:"Why not"`
	At     time.Time       `json:"at"`
}

// session is one set of credentials that was issued.
type session struct {
	SessionID   string    `json:"session_id"`
	AccessKeyID string    `json:"access_key_id"`
	Expiration  time.Time `json:"expiration"`
	State       string    `json:"state" enum:"live,ending,ended,expired"`
}

func requestOf(r broker.Request, now time.Time) request {
	out := request{
		RequestID: r.ID, State: r.State, Role: r.Role, Rule: told(r.Rule), Needs: needsOf(r.Needs),
		WindowEnd: stamp(r.WindowEnd), LapsesAt: stamp(r.LapsesAt), Approvals: []approval{}, Sessions: []session{},
	}
	for _, a := range r.Approvals {
		out.Approvals = append(out.Approvals, approval{By: a.User, Yes: a.Yes, Reason: a.Reason, At: stamp(a.At)})
	}
	for _, s := range r.Sessions {
		if s.State == broker.SessionIssued {
			out.Sessions = append(out.Sessions, session{
				SessionID: s.ID, AccessKeyID: s.AccessKeyID, Expiration: stamp(s.ExpiresAt), State: stateOf(s, now),
			})
		}
	}
	return out
}

// stateOf says what has become of a Session that was issued.
func stateOf(s broker.Session, now time.Time) string {
	switch {
	case !s.EndedAt.IsZero():
		return "ended"
	case !now.Before(s.ExpiresAt):
		return "expired"
	case !s.EndAsked.IsZero():
		return "ending"
	default:
		return "live"
	}
}

// roles is what a Token may ask for.
type roles struct {
	Roles []role `json:"roles"`
}

// role is one Role, and what it takes.
type role struct {
	Name            policy.RoleName    `json:"name"`
	Description     string             `json:"description,omitempty"`
	Account         policy.AccountName `json:"account" doc:"Its name in the policy"`
	AccountID       string             `json:"account_id"`
	MaxDuration     string             `json:"max_duration" doc:"As in 1h30m"`
	DefaultDuration string             `json:"default_duration"`
	Reason          bool               `json:"reason" doc:"Whether it needs a reason"`
	Ticket          string             `json:"ticket,omitempty" doc:"A regular expression for the ticket that it needs"`
	Console         bool               `json:"console" doc:"Whether there is a console_url"`
	Approval        *needs             `json:"approval,omitempty" doc:"Who must agree first"`
}

func rolesOf(me broker.Me) roles {
	out := roles{Roles: []role{}}
	for _, r := range me.Roles {
		of := role{
			Name: r.Name, Description: r.Description, Account: r.Account, AccountID: r.AccountID,
			MaxDuration: span(r.MaxDuration), DefaultDuration: span(r.DefaultDuration),
			Reason: r.ReasonRequired, Console: r.Console, Approval: needsOf(r.Approval),
		}
		if r.Ticket != nil {
			of.Ticket = r.Ticket.String()
		}
		out.Roles = append(out.Roles, of)
	}
	return out
}

// whoami is who a token stands for.
type whoami struct {
	User        policy.UserName `json:"user"`
	Application bool            `json:"application"`
	Owner       policy.UserName `json:"owner,omitempty" doc:"Who answers for the application"`
	Expires     time.Time       `json:"expires" doc:"When the user's access ends"`
	Token       token           `json:"token"`
}

// token is what is known of a Token; never the token itself.
type token struct {
	ID      string            `json:"id"`
	Label   string            `json:"label,omitempty"`
	Expires time.Time         `json:"expires"`
	AnyRole bool              `json:"any_role" doc:"Whether it is for every role of its user"`
	Roles   []policy.RoleName `json:"roles" doc:"Otherwise, for these"`
}

func whoamiOf(me broker.Me) whoami {
	t := me.Token
	return whoami{
		User: me.User.Name, Application: me.User.IsApp, Owner: me.User.Owner, Expires: stamp(me.Ends),
		Token: token{ID: t.ID, Label: t.Label, Expires: stamp(t.Expires), AnyRole: t.AnyRole, Roles: append([]policy.RoleName{}, t.Roles...)},
	}
}

// stamp is a moment as it is answered: in UTC, in whole seconds.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// span writes a length of time of whole minutes as people do: 1h30m.
func span(d time.Duration) string {
	d = d.Truncate(time.Minute)
	text := d.String() // 1h30m0s
	for _, zero := range []string{"0s", "0m"} {
		if cut := len(text) - len(zero); cut > 0 && text[cut:] == zero && (text[cut-1] < '0' || text[cut-1] > '9') {
			text = text[:cut]
		}
	}
	return text
}
