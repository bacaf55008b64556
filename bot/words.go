package bot

import (
	"errors"
	"fmt"
	"strings"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// explain turns an error into what the person is told: one sentence on what
// happened, one on what to do, and the request id. It is the only place that
// does; an error's own text is never shown.
func explain(err error, asked command) message {
	var (
		refusal *broker.Refusal
		fault   *broker.Fault
		already *broker.AlreadyIssued
		settled *broker.Settled
	)
	switch {
	case errors.As(err, &settled):
		return settledRequest(&settled.Request)
	case errors.As(err, &refusal):
		return say(refusalWords(refusal, asked), requestLine(refusal.RequestID))
	case errors.As(err, &fault):
		return say(faultWords(fault.Code), requestLine(fault.RequestID))
	case errors.As(err, &already):
		return say("This command was carried out already, and nothing is issued twice for it. If you cannot see its answer, type it again.", requestLine(already.RequestID))
	case asked.verb == verbAdmin:
		return adminProblem(err)
	case errors.Is(err, broker.ErrNotFound):
		return say("That request is not known any more. Ask for the role again.", "")
	case errors.Is(err, broker.ErrInvalid):
		return say("I cannot take that command as it is: the name of a role has at most 63 characters, and a reason may have 1,000. Shorten it and try again.", "")
	default:
		return say("Something went wrong and nothing was issued. Try again in a minute.", "")
	}
}

// identityWords say why somebody is refused for who they are, whatever they
// asked for.
var identityWords = map[policy.Rule]string{
	broker.RuleGuest:          "Guests of this workspace cannot use Starback. Ask an administrator for a full Slack account.",
	broker.RuleBot:            "Bots cannot use Starback. An application asks through its own token instead.",
	broker.RuleDeleted:        "Slack says that this account is deactivated, so nothing can be issued to it.",
	broker.RuleForeign:        "You are a member of another workspace, and Starback serves only its own.",
	broker.RuleStanding:       "Slack does not say whether your account is in good standing, so nothing can be issued. Try again in a minute.",
	broker.RuleEmailMissing:   "Starback would know you by your e-mail address, but Slack has no confirmed address of yours. Confirm it in Slack and try again.",
	broker.RuleEmailUnknown:   "Starback knows nobody with your e-mail address. Ask an administrator to add you.",
	broker.RuleEmailAmbiguous: "Starback knows more than one user with your e-mail address. Ask an administrator to bind you by hand.",
	broker.RuleEmailPinned:    "The user with your e-mail address is bound to another Slack account. Ask an administrator to look into it.",
	policy.RuleUserDisabled:   "Your access to Starback is switched off. Ask an administrator to switch it on again.",
	policy.RuleUserExpired:    "Your access to Starback has expired. Ask an administrator to renew it.",
	policy.RuleOwnerMissing:   "Nobody answers for this application, so nothing can be issued to it. Ask an administrator to give it an owner.",
	policy.RuleOwnerDisabled:  "The owner of this application is switched off, so nothing can be issued to it. Ask an administrator to switch them on again.",
	policy.RuleOwnerExpired:   "The access of this application's owner has expired, so nothing can be issued to it. Ask an administrator to renew it.",
	broker.RuleTokenUnknown:   "Starback does not know this token. Have one made.",
	broker.RuleTokenRevoked:   "This token was revoked. Have another made.",
	broker.RuleTokenExpired:   "This token has expired. Have another made.",
	broker.RuleNotAdmin:       "Only administrators of Starback can do that, and you are not one of them. Nothing was changed.",
	broker.RuleApproveOwn:     "You cannot approve or deny what you, or an application of yours, asked for. Somebody else has to.",
	broker.RuleNotApprover:    "You are not one of those who may answer this request. Nothing was changed.",
	broker.RuleAnsweredTwice:  "You have answered this request already. Your answer stands; nothing was changed.",
	broker.RuleNotYours:       "This is somebody else's request. Nothing was changed.",
	broker.RuleChanged:        "The role has changed since the request was made, so it cannot be approved any more. It has to be asked for again.",
	broker.RuleDeclined:       "An approver has denied this request.",
	broker.RuleEnded:          "An administrator has ended this request. It has to be asked for again.",
	policy.RulePolicyMissing:  "Starback has no policy yet, so nothing can be issued. Ask an administrator to apply one.",
	policy.RuleTimeMissing:    "Starback does not know what time it is, so nothing can be issued. Tell an administrator.",
	policy.RuleUserUnknown:    "Starback does not know you yet. Ask an administrator to add you.",
}

// refusalWords explain a denial. They name only roles that the person may ask
// for: whether another exists is not said.
func refusalWords(r *broker.Refusal, asked command) string {
	d := r.Decision
	if words, ok := identityWords[d.Rule]; ok {
		return words
	}
	role := word(string(asked.role))
	switch d.Rule {
	case broker.RuleUnbound:
		return "Starback does not know you yet. Give an administrator your Slack id from the line below, and ask to be added."
	case policy.RuleRoleMissing:
		return "Which role? " + mayAsk(r.MayAsk)
	case policy.RuleRoleUnknown, policy.RuleNotGranted:
		if near, ok := policy.Suggest(string(asked.role), r.MayAsk); ok && near != asked.role {
			return fmt.Sprintf("There is no role %s that you may ask for. Did you mean `%s`?", role, near)
		}
		return fmt.Sprintf("There is no role %s that you may ask for. %s", role, mayAsk(r.MayAsk))
	case policy.RuleGrantExpired:
		return fmt.Sprintf("Your grant of %s has expired. Ask an administrator to renew it.", role)
	case policy.RuleTokenLimited:
		return fmt.Sprintf("This token is not for %s. Use one that is, or have one made.", role)
	case policy.RuleDurationShort:
		return "AWS issues nothing for less than 15 minutes. Ask for `15m` or more."
	case policy.RuleDurationLong:
		longest := d.Role.MaxDuration
		return fmt.Sprintf("%s can be had for %s at most. Type `/starback %s %s` and the rest as before.", role, span(longest), d.Role.Name, span(longest))
	case policy.RuleEndsSoon:
		return "Your access ends in less than 15 minutes, and AWS issues nothing shorter. Ask an administrator to renew it."
	case policy.RuleTicketMissing:
		return fmt.Sprintf("%s needs a ticket that looks like %s, as in `/starback %s 1h TICKET why`.", role, word(d.Role.Ticket.String()), d.Role.Name)
	case policy.RuleTicketMismatch:
		return fmt.Sprintf("%s needs a ticket that looks like %s.", role, word(d.Role.Ticket.String()))
	case policy.RuleReasonMissing:
		return fmt.Sprintf("%s needs a reason: put it at the end, as in `/starback %s 1h looking into the queue`.", role, d.Role.Name)
	case policy.RuleApprovalRequired:
		return fmt.Sprintf("%s needs the approval of %s, and an approval that you had does not count any more. Ask for the role again.", role, names(d.Role.Approval.By, 5))
	case broker.RuleRate:
		return "You have asked for a lot in a short time. Wait a minute and try again."
	case broker.RuleWindowEnding:
		return "What you asked for is over, or will be in less than 15 minutes, and AWS issues nothing shorter. Ask for the role again."
	default:
		return "That was refused. Ask an administrator, and give them the request id."
	}
}

// mayAsk lists what the person may ask for instead.
func mayAsk(roles []policy.RoleName) string {
	if len(roles) == 0 {
		return "You may not ask for any role yet: an administrator grants them."
	}
	return "You may ask for " + names(roles, 10) + "."
}

// faultWords say which neighbour failed, that nothing was issued, and what to
// do about it.
func faultWords(code broker.FaultCode) string {
	switch code {
	case broker.FaultStore:
		return "Starback cannot reach its store, and without a record it issues nothing. Try again in a minute."
	case broker.FaultDirectory:
		return "Slack did not tell Starback who you are, so nothing was issued. Try again in a minute."
	case broker.FaultRecord:
		return "AWS issued credentials, but Starback could not record that, so they were thrown away unseen. Try again in a minute."
	case broker.FaultLost:
		return "This took so long that another worker took it over. Its answer counts; this one was thrown away unseen."
	case broker.FaultOver:
		return "The request ended while AWS answered, so the credentials were thrown away unseen."
	case broker.FaultBase:
		return "AWS does not accept Starback's own credentials, so nothing was issued. Tell an administrator: the base credentials need a look."
	case broker.FaultAccess:
		return "AWS refused to let Starback assume that role, so nothing was issued. Tell an administrator: the role is missing, or its trust policy does not let Starback in with tags and source identity."
	case broker.FaultThrottled:
		return "AWS is being asked too much at the moment, so nothing was issued. Try again in a minute."
	case broker.FaultRegion:
		return "STS is not switched on for that account in its Region, so nothing was issued. Tell an administrator."
	case broker.FaultPackedPolicy:
		return "The role's session policy and tags are too large together for AWS, so nothing was issued. Tell an administrator."
	case broker.FaultSessionPolicy:
		return "AWS does not accept the role's session policy, so nothing was issued. Tell an administrator."
	case broker.FaultDuration:
		return "The IAM role itself does not allow that long, so nothing was issued. Ask for less, and tell an administrator."
	case broker.FaultTimeout:
		return "AWS did not answer in time, so nothing was issued. Try again in a minute."
	case broker.FaultNoBoundary:
		return "AWS cannot end sessions of that role early: its IAM role lacks the permissions boundary. They end by themselves. Tell an administrator."
	case broker.FaultBoundaryFull:
		return "So many sessions of that role were ended that AWS cannot deny more yet. This one is next, or ends by itself."
	case broker.FaultExpiredRequest:
		return "Your command waited too long to be carried out, so nothing was issued. Type it again."
	default:
		return "AWS answered with something unexpected, so nothing was issued. Try again in a minute."
	}
}

// foreignTeam answers a command from a workspace that is not ours.
func foreignTeam(requestID string) message {
	return say("This Starback does not serve your workspace.", requestLine(requestID))
}

// notTaken answers a command that could not be queued.
func notTaken(requestID string) message {
	return say("Starback could not take your command for certain. If no answer follows within a minute, type it again.", requestLine(requestID))
}

// givenUp answers a command that failed time and again.
func givenUp(requestID string) message {
	return say("Your command failed time and again, and will not be tried any more. If you see no answer to it, type it again.", requestLine(requestID))
}

// helpMessage says what can be typed. A word that means nothing here is named.
func helpMessage(unknown string) message {
	lead := "*Starback* gives you short-term AWS credentials, in a message only you can see."
	if unknown != "" {
		lead = "There is no command `" + unknown + "` here. This is what there is."
	}
	lines := []string{
		"`/starback`  a form to fill in",
		"`/starback ROLE [duration] [ticket] [reason]`  credentials for a role, as in `/starback prod-readonly 1h looking at the queue`",
		"`/starback roles`  the roles you may ask for",
		"`/starback why ROLE`  whether you may ask for a role, how you come by it, and what it takes",
		"`/starback sessions`  what you have open, with buttons to renew and to end it",
		"`/starback end [session]`, `/starback renew [session]`  the same, typed; a session by the end of its id",
		"`/starback whoami`  who you are to Starback, and until when",
		"`/starback admin`  users, groups, grants and the policy; for administrators",
		"`/starback version`  which Starback this is",
		"`/starback help`  this",
	}
	m := say(lead, "")
	m.blocks = append(m.blocks, section(strings.Join(lines, "\n")), small("A duration is `30m`, `2h` or `1h30m`. Everything asked for is recorded."))
	m.text = aloud(lead, lines)
	return m
}

// versionMessage says which Starback answers.
func versionMessage(version string) message { return say("Starback `"+escape(version)+"`", "") }

// unknownCaller adds the identity itself, which an administrator needs.
func unknownCaller(m message, id broker.SlackID) message {
	m.blocks = append(m.blocks, small("Your Slack id is `"+id.String()+"`"))
	m.text += " Your Slack id is " + id.String() + "."
	return m
}
