package bot

import (
	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// voidWords say why a Request does not hold any more, as the end of a sentence:
// to whoever reads of it, and to its requester, who is then told what to do.
type voidWords struct {
	they, you string
	again     bool // the requester may well ask again
}

// voids are the words, by the rule that made a Request void.
var voids = map[policy.Rule]voidWords{
	broker.RuleChanged: {"the role has changed since it was asked for", "the role has changed since you asked for it", true},
	broker.RuleEnded: {
		"it was ended, with all that its requester held", "it was ended, with all that you held. Ask an administrator if you still need it", false,
	},
	broker.RuleNotYours: {
		"its requester's Slack account is another user's now", "your Slack account is bound to another user of Starback than when you asked", true,
	},
	policy.RuleApprovalRequired: {"an approval does not count any more", "an approval does not count any more", true},
	policy.RuleUserUnknown:      unknownUser,
	broker.RuleUnbound:          unknownUser,
	broker.RuleEmailMissing:     unknownUser,
	broker.RuleEmailUnknown:     unknownUser,
	broker.RuleEmailAmbiguous:   unknownUser,
	broker.RuleEmailPinned:      unknownUser,
	policy.RuleUserDisabled: {
		"its requester was switched off", "your access to Starback is switched off. Ask an administrator to switch it on again", false,
	},
	policy.RuleUserExpired: {
		"its requester's access has expired", "your access to Starback has expired. Ask an administrator to renew it", false,
	},
	policy.RuleOwnerMissing: {
		"nobody answers for its requester", "nobody answers for this application. Ask an administrator to give it an owner", false,
	},
	policy.RuleOwnerDisabled: {
		"the owner of its requester was switched off", "the owner of this application is switched off. Ask an administrator to switch them on again", false,
	},
	policy.RuleOwnerExpired: {
		"the access of its requester's owner has expired", "the access of this application's owner has expired. Ask an administrator to renew it", false,
	},
	broker.RuleGuest: {
		"its requester is a guest of this workspace", "guests of this workspace cannot use Starback. Ask an administrator for a full Slack account", false,
	},
	broker.RuleBot:      {"its requester is a bot", "bots cannot use Starback", false},
	broker.RuleDeleted:  {"its requester's Slack account is deactivated", "Slack says that this account is deactivated", false},
	broker.RuleForeign:  {"its requester is a member of another workspace", "you are a member of another workspace, and Starback serves only its own", false},
	broker.RuleStanding: {"Slack does not say whether its requester is in good standing", "Slack does not say whether your account is in good standing", true},
	policy.RuleRoleUnknown: {
		"its requester may not ask for the role any more", "you may not ask for the role any more. Ask an administrator if you still need it", false,
	},
	policy.RuleNotGranted: {
		"its requester may not ask for the role any more", "you may not ask for the role any more. Ask an administrator if you still need it", false,
	},
	policy.RuleGrantExpired: {
		"its requester's grant of the role has expired", "your grant of the role has expired. Ask an administrator to renew it", false,
	},
	policy.RuleEndsSoon: {
		"its requester's access, or grant, ends in less than 15 minutes",
		"your access, or your grant of the role, ends in less than 15 minutes. Ask an administrator to renew it", false,
	},
	policy.RuleDurationLong:   {"it is for longer than the role can be had now", "it is for longer than the role can be had now", true},
	policy.RuleDurationShort:  {"it is for less than AWS issues", "it is for less than AWS issues", true},
	policy.RuleTicketMissing:  {"the role needs a ticket now", "the role needs a ticket now", true},
	policy.RuleTicketMismatch: {"the role needs another ticket now", "the role needs another ticket now", true},
	policy.RuleReasonMissing:  {"the role needs a reason now", "the role needs a reason now", true},
	policy.RulePolicyMissing:  {"there is no policy any more", "Starback has no policy any more. Ask an administrator to apply one", false},
}

var unknownUser = voidWords{
	"Starback does not know its requester any more", "Starback does not know you any more. Ask an administrator to add you", false,
}

// voidOf returns the words for a rule. One that has none was not expected.
func voidOf(rule policy.Rule) voidWords {
	if words, ok := voids[rule]; ok {
		return words
	}
	return voidWords{"it is refused now", "it is refused now. Ask an administrator, and give them the request id", false}
}
