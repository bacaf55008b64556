package api

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// explain turns an error into what the caller is told. It is the only place that
// does; an error's own text is never told.
func explain(err error, now time.Time) *problem {
	var (
		refusal *broker.Refusal
		fault   *broker.Fault
		already *broker.AlreadyIssued
		reused  *broker.KeyReused
		busy    *broker.Busy
		settled *broker.Settled
	)
	switch {
	case errors.As(err, &refusal):
		return refused(refusal)
	case errors.As(err, &fault):
		words, after := faultWords(fault.Code)
		return newProblem(codeUnavailable, words).about(fault.RequestID).after(after)
	case errors.As(err, &already):
		return carriedOut(already)
	case errors.As(err, &reused):
		p := newProblem(codeKeyReused, "Another ask had this Idempotency-Key, with another content. Send this one with a key of its own.").about(reused.RequestID)
		p.Field = keyHeader
		return p
	case errors.As(err, &busy):
		return newProblem(codeBusy, "This is being carried out at this moment. Send the same again after Retry-After.").
			about(busy.RequestID).after(max(busy.Until.Sub(now), time.Second))
	case errors.As(err, &settled):
		return over(settled.Request.ID, settled.Request.State, settled.Request.Rule)
	case errors.Is(err, broker.ErrNotFound):
		return noRequest()
	case errors.Is(err, broker.ErrConflict):
		return newProblem(codeBusy, "Others keep changing the same. Send this again after Retry-After.").after(time.Second)
	case errors.Is(err, broker.ErrInvalid):
		return newProblem(codeInvalid, "Starback cannot take this as it is. See /v1/openapi.json for what it takes.")
	default:
		return newProblem(codeInternal, "Something went wrong here, and nothing was issued. Ask again in a minute.")
	}
}

// carriedOut is what is told of an ask that came before, by what has become of it:
// the same key gives nothing more, and whoever was not told how it ended is told
// now.
func carriedOut(a *broker.AlreadyIssued) *problem {
	words := "Nothing was issued for this, and nothing will be under this Idempotency-Key. Post to %[1]srequests/%[2]s/credentials with another."
	switch {
	case a.State.Over():
		return over(a.RequestID, a.State, a.Rule)
	case a.Issued:
		words = "This was carried out before, and nothing is issued twice for it. " +
			"See %[1]srequests/%[2]s for what came of it; post to %[1]srequests/%[2]s/credentials, with another Idempotency-Key, for more of it."
	}
	return newProblem(codeAlready, fmt.Sprintf(words, Prefix, a.RequestID)).about(a.RequestID)
}

// over is what is told of a Request that gives nothing any more.
func over(id string, state broker.State, rule policy.Rule) *problem {
	p := newProblem(codeSettled, settledWords(state)).about(id)
	p.State, p.Rule = state, told(rule)
	return p
}

// told is the rule that is told where this one refused: a list of roles to try is
// not to be had here.
func told(rule policy.Rule) policy.Rule {
	if rule == policy.RuleRoleUnknown {
		return policy.RuleNotGranted
	}
	return rule
}

func hungUp(id string) *problem {
	return newProblem(codeUnavailable, fmt.Sprintf("The connection was closed before the credentials were there, so they are withheld. "+
		"Post to %srequests/%s/credentials for others.", Prefix, id)).about(id).after(soon)
}

func noRequest() *problem {
	return newProblem(codeNotFound, "There is no such request of this token. A request can be seen with the very token that asked.")
}

// rateAfter is when somebody who asked too often may ask again.
const rateAfter = 15 * time.Second

// refused is what is told of a Decision.
func refused(r *broker.Refusal) *problem {
	words := refusalWords(r)
	switch rule := r.Decision.Rule; rule {
	case broker.RuleTokenUnknown, broker.RuleTokenRevoked, broker.RuleTokenExpired:
		return unauthorized(words, rule).about(r.RequestID)
	case broker.RuleRate:
		p := newProblem(codeRate, words).about(r.RequestID).after(rateAfter)
		p.Rule = rule
		return p
	default:
		p := newProblem(codeDenied, words).about(r.RequestID)
		p.Rule, p.MayAsk = told(rule), r.MayAsk
		return p
	}
}

// The person whom what is said of a standing is about: the token's own, or the
// owner of its application.
const person = "whoever answers for this token"

// ruleWords say why something is refused, whatever was asked for.
var ruleWords = map[policy.Rule]string{
	broker.RuleTokenUnknown:  "Starback does not know this token. Have one made.",
	broker.RuleTokenRevoked:  "This token was revoked. Have another made.",
	broker.RuleTokenExpired:  "This token has expired. Have another made.",
	broker.RuleUnbound:       "The Slack account of " + person + " is another's now. Ask an administrator to bind it.",
	broker.RuleGuest:         "In Slack, " + person + " is a guest, and guests cannot use Starback. Ask an administrator for a full account.",
	broker.RuleBot:           "In Slack, " + person + " is a bot, and bots cannot use Starback. Ask an administrator to bind a person's account.",
	broker.RuleDeleted:       "The Slack account of " + person + " is deactivated. Ask an administrator for another owner.",
	broker.RuleForeign:       "In Slack, " + person + " belongs to another workspace. Ask an administrator for another owner.",
	broker.RuleStanding:      "Slack does not say whether " + person + " is in good standing. Ask again in a minute, or ask an administrator.",
	policy.RuleUserUnknown:   "The user of this token is not there any more. Have a token of another made.",
	policy.RuleUserDisabled:  "The user of this token is switched off. Ask an administrator to switch it on again.",
	policy.RuleUserExpired:   "The access of this token's user has expired. Ask an administrator to renew it.",
	policy.RuleOwnerMissing:  "Nobody answers for this application. Ask an administrator to give it an owner.",
	policy.RuleOwnerDisabled: "The owner of this application is switched off. Ask an administrator to switch them on again.",
	policy.RuleOwnerExpired:  "The access of this application's owner has expired. Ask an administrator to renew it.",
	policy.RulePolicyMissing: "Starback has no policy yet. Ask an administrator to apply one.",
	policy.RuleTimeMissing:   "Starback does not know what time it is. Tell an administrator.",
	policy.RuleRoleMissing:   "No role was named. Name one as role.",
	policy.RuleDurationShort: "AWS issues nothing for less than 15 minutes. Ask for 15m or more.",
	policy.RuleEndsSoon:      "This access ends in less than 15 minutes, and AWS issues nothing shorter. Ask an administrator to renew it.",
	broker.RuleRate:          "This token, or its user, has asked for a lot in a short time. Ask again after Retry-After, with another Idempotency-Key.",
	broker.RuleWindowEnding:  "The time that was asked for is over, or will be in less than 15 minutes, and AWS issues nothing shorter. Ask for the role anew.",
	broker.RuleNotYours:      "This request was made by a user of that name who is not there any more. Ask for the role anew.",
}

// refusalWords explain a denial. They name only roles that the Token may ask
// for: whether another exists is not said.
func refusalWords(r *broker.Refusal) string {
	d, role := r.Decision, r.Asked.Role
	if words, ok := ruleWords[d.Rule]; ok {
		return words
	}
	switch d.Rule {
	case policy.RuleRoleUnknown, policy.RuleNotGranted:
		if near, ok := policy.Suggest(string(role), r.MayAsk); ok && near != role {
			return fmt.Sprintf("There is no role %s that this token may ask for. Did you mean %s?", role, near)
		}
		return fmt.Sprintf("There is no role %s that this token may ask for. /v1/roles lists those that it may.", role)
	case policy.RuleGrantExpired:
		return fmt.Sprintf("The grant of %s has expired. Ask an administrator to renew it.", role)
	case policy.RuleTokenLimited:
		return fmt.Sprintf("This token is not for %s. Use one that is, or have one made.", role)
	case policy.RuleDurationLong:
		return fmt.Sprintf("%s can be had for %s at most. Ask for that, or less.", role, span(d.Role.MaxDuration))
	case policy.RuleTicketMissing, policy.RuleTicketMismatch:
		return fmt.Sprintf("%s needs a ticket that matches %s. Give one as ticket.", role, d.Role.Ticket)
	case policy.RuleReasonMissing:
		return fmt.Sprintf("%s needs a reason. Give one as reason.", role)
	case policy.RuleApprovalRequired:
		return fmt.Sprintf("%s needs the approval of others, and one that there was does not count any more. Ask for the role anew.", role)
	default:
		return "That was refused. Ask an administrator, and give them the request_id."
	}
}

// What is said of a neighbour that failed, and when to ask again: soon, or once
// somebody has seen to it.
const (
	soon  = 5 * time.Second
	later = time.Minute

	askAnew = " Nothing was issued: ask anew after Retry-After, with another Idempotency-Key."
	tellOne = " Nothing was issued: tell an administrator, and give them the request_id."
)

// faultWords say which neighbour failed, and when another ask is of use.
func faultWords(c broker.FaultCode) (string, time.Duration) {
	switch c {
	case broker.FaultStore:
		return "Starback cannot reach its store." + askAnew, soon
	case broker.FaultDirectory:
		return "Slack does not say whether " + person + " is in good standing." + askAnew, soon
	case broker.FaultRecord:
		return "Credentials were made, but what became of them could not be recorded, so they are withheld." + askAnew, soon
	case broker.FaultLost:
		return "Credentials were made too late, when another worker had taken over, so they are withheld." + askAnew, soon
	case broker.FaultOver:
		return "The request ended while AWS answered, or the token was revoked, so the credentials are withheld. Ask for the role anew, with another Idempotency-Key.", soon
	case broker.FaultThrottled:
		return "AWS is asked too much at the moment." + askAnew, soon
	case broker.FaultTimeout:
		return "AWS did not answer in time." + askAnew, soon
	case broker.FaultAWS:
		return "AWS failed." + askAnew, soon
	case broker.FaultExpiredRequest:
		return "This came too late to be carried out." + askAnew, soon
	case broker.FaultBase:
		return "AWS does not accept Starback's own credentials." + tellOne, later
	case broker.FaultAccess:
		return "AWS does not let Starback assume this role." + tellOne, later
	case broker.FaultRegion:
		return "AWS has STS switched off for this account in this Region." + tellOne, later
	case broker.FaultPackedPolicy:
		return "For AWS, the session policies and tags of this role are too large together." + tellOne, later
	case broker.FaultSessionPolicy:
		return "AWS does not take the session policy of this role." + tellOne, later
	case broker.FaultDuration:
		return "The IAM role allows no session as long as this. Ask for less, or tell an administrator.", later
	default:
		return "Starback cannot do that at the moment." + askAnew, later
	}
}

// settledWords say how a Request has ended.
func settledWords(s broker.State) string {
	const anew = " Ask for the role anew if it is still needed, with another Idempotency-Key."
	switch s {
	case broker.StateDenied:
		return "This request was denied." + anew
	case broker.StateWithdrawn:
		return "This request was withdrawn." + anew
	case broker.StateLapsed:
		return "This request has lapsed: it was not approved, or not used, in time." + anew
	case broker.StateVoid:
		return "This request does not hold any more: the role has changed, or who may ask for it or approve it." + anew
	case broker.StateClosed:
		return "This request is over." + anew
	case broker.StateAsked:
		return "This request was not decided: whoever worked on it was gone." + anew
	default:
		return "This request does not wait for that." + anew
	}
}

const keyHeader = "Idempotency-Key"

// fieldWords say what a field, or a header, has to be.
var fieldWords = map[string]string{
	"role":     "role has to be the name of a role: at most 64 letters, digits, dots, dashes and underscores.",
	"duration": "duration has to be in hours and minutes, such as 30m, 2h or 1h30m.",
	"ticket":   fmt.Sprintf("ticket has to be one word of at most %d characters.", maxTicket),
	"reason":   fmt.Sprintf("reason has to be text of at most %d characters, without control characters.", maxReason),
	"body":     "The body has to be one JSON object in UTF-8 with each member once, such as {\"role\": \"prod-readonly\"}.",
	keyHeader:  "Idempotency-Key has to be there once, as 1 to 255 printable characters of ASCII, or not at all.",
}

// wrongField is told where a field cannot be what it is.
func wrongField(name string) *problem {
	p := newProblem(codeInvalid, fieldWords[name])
	p.Field = name
	return p
}

// fieldName is what a field could be called, as far as it is told back.
var fieldName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`) })

// fieldOf is which field, or header, huma found something wrong with. What it has
// missed it names in its words alone.
func fieldOf(err error) (field string) {
	found, ok := err.(huma.ErrorDetailer)
	if !ok {
		return "body"
	}
	d := found.ErrorDetail()
	if _, err := fmt.Sscanf(d.Message, validation.MsgExpectedRequiredProperty, &field); err == nil {
		return field
	}
	if _, inside, ok := strings.Cut(d.Location, "."); ok {
		return inside
	}
	return d.Location
}

// malformed is huma.NewError: what is told of a request that huma did not take.
// Its own words are not told, and nothing of what was sent, but for the name of a
// field that there is not.
func malformed(status int, _ string, errs ...error) huma.StatusError {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
	case http.StatusRequestEntityTooLarge:
		return newProblem(codeTooLarge, fmt.Sprintf("The body is larger than %d KiB.", MaxBody>>10))
	case http.StatusUnsupportedMediaType:
		return newProblem(codeMediaType, "The body has to be JSON, and Content-Type application/json.")
	case http.StatusRequestTimeout:
		p := newProblem(codeInvalid, "The body did not come in time. Send it again.")
		p.Status = status
		return p
	default:
		return newProblem(codeInternal, "Something went wrong here, and nothing was issued. Ask again in a minute.")
	}
	field := "body"
	if len(errs) > 0 {
		field = fieldOf(errs[0])
	}
	p := wrongField(field)
	switch {
	case p.Detail != "":
	case fieldName().MatchString(field):
		p.Detail = "There is no field " + field + " here. There are role, duration, ticket and reason."
	default:
		p.Field, p.Detail = "body", "There is a field here that there should not be. There are role, duration, ticket and reason."
	}
	p.Status = status
	return p
}
