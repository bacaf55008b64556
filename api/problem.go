package api

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A code says to a program what is wrong. Codes are added to, never changed.
type code string

// The codes.
const (
	codeInvalid      code = "invalid"        // the request itself; Field says where
	codeUnauthorized code = "unauthorized"   // no token, or none that is good
	codeDenied       code = "denied"         // Rule says by what
	codeNotFound     code = "not_found"      //
	codeMethod       code = "method"         //
	codeTooLarge     code = "too_large"      //
	codeMediaType    code = "media_type"     //
	codeAlready      code = "already_issued" // the same ask was carried out before
	codeKeyReused    code = "key_reused"     // another ask had that key
	codeBusy         code = "busy"           // the same ask is being carried out
	codeSettled      code = "settled"        // the request is over; State says how
	codeRate         code = "rate"           //
	codeUnavailable  code = "unavailable"    // a neighbour failed, and nothing was issued
	codeInternal     code = "internal"       //
)

// kinds are the status and the title of each code.
var kinds = map[code]struct {
	status int
	title  string
}{
	codeInvalid:      {http.StatusUnprocessableEntity, "The request is not right"},
	codeUnauthorized: {http.StatusUnauthorized, "No token that is good"},
	codeDenied:       {http.StatusForbidden, "Refused"},
	codeNotFound:     {http.StatusNotFound, "Not found"},
	codeMethod:       {http.StatusMethodNotAllowed, "Another method"},
	codeTooLarge:     {http.StatusRequestEntityTooLarge, "Too large"},
	codeMediaType:    {http.StatusUnsupportedMediaType, "Not JSON"},
	codeAlready:      {http.StatusConflict, "Carried out already"},
	codeKeyReused:    {http.StatusUnprocessableEntity, "The key of another ask"},
	codeBusy:         {http.StatusConflict, "In progress"},
	codeSettled:      {http.StatusConflict, "Over"},
	codeRate:         {http.StatusTooManyRequests, "Too many"},
	codeUnavailable:  {http.StatusServiceUnavailable, "Not available now"},
	codeInternal:     {http.StatusInternalServerError, "Something went wrong"},
}

// A problem is an answer that refuses, as RFC 9457 has it, with more members of
// our own. It is an error, so that huma takes it for one; it holds none.
type problem struct {
	Title     string            `json:"title"`
	Status    int               `json:"status"`
	Detail    string            `json:"detail" doc:"What is wrong and what to do, in a sentence or two"`
	Code      code              `json:"code" doc:"What is wrong, for a program"`
	Field     string            `json:"field,omitempty" doc:"Which field or header is not right"`
	Rule      policy.Rule       `json:"rule,omitempty" doc:"The rule that refused, as in the audit trail"`
	RequestID string            `json:"request_id,omitempty"`
	State     broker.State      `json:"state,omitempty" doc:"How a request has ended"`
	MayAsk    []policy.RoleName `json:"may_ask,omitempty" doc:"The roles that the token may ask for"`

	retry time.Duration // before which another try is no use; 0: not said
}

// newProblem returns what is told of a code in the words of detail.
func newProblem(c code, detail string) *problem {
	return &problem{Title: kinds[c].title, Status: kinds[c].status, Detail: detail, Code: c}
}

func unauthorized(detail string, rule policy.Rule) *problem {
	p := newProblem(codeUnauthorized, detail)
	p.Rule = rule
	return p
}

// about says which Request it is about.
func (p *problem) about(id string) *problem {
	p.RequestID = id
	return p
}

// after says when to try again.
func (p *problem) after(d time.Duration) *problem {
	p.retry = d
	return p
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// GetHeaders implements huma.HeadersError.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.Code == codeUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="starback"`)
	}
	if p.retry > 0 {
		h.Set("Retry-After", seconds(p.retry))
	}
	return h
}

// seconds writes a length of time as Retry-After does: in whole seconds, at least
// one.
func seconds(d time.Duration) string {
	return strconv.Itoa(int(max(1, math.Ceil(d.Seconds()))))
}

// Unanswered is the answer where somebody else was to give one and did not, so that
// it is not known what came of it.
func Unanswered(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	newProblem(codeUnavailable, "Starback did not answer in time, and may have carried this out all the same. Send it again after Retry-After, with the same Idempotency-Key.").
		after(soon).write(w)
}

// write sends the problem by itself.
func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // whoever is gone is not told
}
