package bot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// The request form is a modal. What it shows comes from a broker.View, and is
// decided anew when it comes back.

// The names by which Slack tells which of our views, shortcuts and inputs it
// speaks of. The shortcuts' stand in deploy/slack too.
const (
	callbackForm    = "request_form"
	shortcutGlobal  = "request_access"
	shortcutMessage = "request_access_message"

	blockRole     = "role"
	blockDuration = "duration:" // the role follows: another role has other choices
	blockTicket   = "ticket"
	blockReason   = "reason"

	actionRole  = "role"
	actionInput = "input" // of every other input
)

// maxHint bounds what the hint of an input quotes of a policy, in characters.
// Our own choice.
const maxHint = 150

// What may be typed. A ticket, a space and a reason are the words of an ask,
// of which the broker takes 1,000 characters.
const (
	maxTicket = 99
	maxReason = 900
)

// A draft is what somebody has filled in so far.
type draft struct {
	role     policy.RoleName
	duration time.Duration // 0: none chosen
	ticket   string
	reason   string
	link     string // in the reason: to the message that the shortcut was chosen on
}

// words are a draft's ticket and reason, as they follow a role in a command.
func (d draft) words() string { return strings.TrimSpace(d.ticket + " " + d.reason) }

// text is the command that asks for the same as the draft.
func (d draft) text() string {
	words := []string{string(verbRole), string(d.role)}
	if d.duration > 0 {
		words = append(words, span(d.duration))
	}
	return escape(strings.TrimSpace(strings.Join(append(words, d.words()), " ")))
}

// problems are what is wrong with a draft, by the id of the input where it is.
// Role is nil if there is no such role that the person may ask for.
func (d draft) problems(role *policy.Role) map[string]string {
	if role == nil {
		return map[string]string{blockRole: "There is no such role that you may ask for any more. Choose another."}
	}
	wrong := map[string]string{}
	switch {
	case d.duration > role.MaxDuration:
		wrong[durationBlock(role)] = fmt.Sprintf("This role can be had for %s at most.", span(role.MaxDuration))
	case d.duration < policy.MinDuration:
		wrong[durationBlock(role)] = "AWS issues nothing for less than 15 minutes."
	}
	if role.Ticket != nil {
		if ticket, _ := role.SplitTicket(d.words()); ticket == "" || ticket != d.ticket {
			wrong[blockTicket] = "This is not a ticket as the role wants it. " + ticketHint(role)
		}
	}
	if role.ReasonRequired && d.reason == "" {
		wrong[blockReason] = "This role needs a reason."
	}
	return wrong
}

// draftOf is what a command says of a role, to go on from.
func draftOf(role *policy.Role, c command) draft {
	d := draft{role: role.Name, duration: c.duration}
	d.ticket, d.reason = role.SplitTicket(c.words)
	return d
}

// durationBlock is the id of the input for the duration.
func durationBlock(role *policy.Role) string { return blockDuration + string(role.Name) }

// ticketHint says what a ticket looks like.
func ticketHint(role *policy.Role) string {
	return "A ticket looks like " + cut(cleanText(role.Ticket.String()), maxHint)
}

// roleNamed returns the role of that name among those that the person may ask
// for, or nil.
func roleNamed(me broker.Me, name policy.RoleName) *policy.Role {
	i := slices.IndexFunc(me.Roles, func(r *policy.Role) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return me.Roles[i]
}

// chosenRole is the role that somebody has chosen who has filled in d, or nil.
// Where there is but one, it is chosen.
func chosenRole(me broker.Me, d draft) *policy.Role {
	if d.role == "" && len(me.Roles) == 1 {
		return me.Roles[0]
	}
	return roleNamed(me, d.role)
}

// formView is the form as somebody sees it who has filled in d. Usual is how
// long it usually takes until the role that they have chosen is approved or
// denied; zero: nobody knows.
func formView(me broker.Me, d draft, usual time.Duration) slack.ModalViewRequest {
	role := chosenRole(me, d)
	v := modal(message{})
	v.CallbackID, v.Submit, v.Close = callbackForm, plain("Request"), plain("Cancel")
	v.PrivateMetadata = d.link
	blocks := []slack.Block{roleInput(me, role)}
	if role == nil && d.role != "" {
		blocks = append(blocks, section(fmt.Sprintf("There is no role %s that you may ask for. Choose another.", word(string(d.role)))))
	}
	if role != nil {
		blocks = append(blocks, section(whatHappens(role, usual)))
		if role.Description != "" {
			blocks = append(blocks, small(escape(cut(cleanText(role.Description), maxQuoted))))
		}
		blocks = append(blocks, durationInput(role, d.duration))
	}
	if role != nil && role.Ticket != nil {
		element := slack.NewPlainTextInputBlockElement(nil, actionInput).WithMaxLength(maxTicket).WithInitialValue(cut(d.ticket, maxTicket))
		blocks = append(blocks, slack.NewInputBlock(blockTicket, plain("Ticket"), plain(ticketHint(role)), element))
	}
	element := slack.NewPlainTextInputBlockElement(nil, actionInput).WithMultiline(true).WithMaxLength(maxReason).WithInitialValue(cut(d.reason, maxReason))
	reason := slack.NewInputBlock(blockReason, plain("Reason"), nil, element)
	v.Blocks.BlockSet = append(blocks, reason.WithOptional(role == nil || !role.ReasonRequired))
	return v
}

// roleInput is the menu of roles, whose choices Slack asks us for as the person
// types. Choosing one brings the rest of the form up to date.
func roleInput(me broker.Me, chosen *policy.Role) slack.Block {
	menu := slack.NewOptionsSelectBlockElement(slack.OptTypeExternal, plain("Type part of a role or an account"), actionRole)
	menu.MinQueryLength = new(int) // offers roles before anything is typed
	if chosen != nil {
		menu.InitialOption = roleOption(chosen)
	}
	input := slack.NewInputBlock(blockRole, plain("Role"), nil, menu).WithDispatchAction(true)
	if len(me.Roles) > maxOptions {
		input.Hint = plain(fmt.Sprintf("You may ask for %d roles: type to find yours.", len(me.Roles)))
	}
	return input
}

// durationInput offers the durations that a role can be had for. The one
// wanted is chosen if it is among them, else the role's default.
func durationInput(role *policy.Role, wanted time.Duration) slack.Block {
	menu := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, actionInput)
	if wanted < policy.MinDuration || wanted > role.MaxDuration {
		wanted = role.DefaultDuration
	}
	for _, d := range durations(role, wanted) {
		option := slack.NewOptionBlockObject(span(d), plain(span(d)), nil)
		menu.Options = append(menu.Options, option)
		if d == wanted {
			menu.InitialOption = option
		}
	}
	return slack.NewInputBlock(durationBlock(role), plain("For how long"), nil, menu)
}

// durations are round ones up to the role's longest, that one, its default and
// the one wanted, in order.
func durations(role *policy.Role, wanted time.Duration) []time.Duration {
	all := []time.Duration{role.MaxDuration, role.DefaultDuration, wanted}
	for _, d := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour} {
		if d < role.MaxDuration {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// whatHappens says where a role is, and what comes of asking for it.
func whatHappens(role *policy.Role, usual time.Duration) string {
	lead := "In *" + accountOf(role) + "*. "
	if role.Approval == nil {
		return lead + "Issued at once."
	}
	words := fmt.Sprintf("%sNeeds %s from %s", lead, count(role.Approval.Count, "approval", "approvals"), names(role.Approval.By, 5))
	if usual > 0 {
		words += "; usually answered in " + roughly(usual)
	}
	return words + "."
}

// roughly is about how long something takes, as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", d.Round(time.Minute)/time.Minute)
	case d < 36*time.Hour:
		return fmt.Sprintf("%d h", d.Round(time.Hour)/time.Hour)
	default:
		return fmt.Sprintf("%d days", (d+12*time.Hour)/(24*time.Hour))
	}
}

// modal is a view that shows a message, until it is closed or another takes its
// place. Nothing can be submitted.
func modal(m message) slack.ModalViewRequest {
	return slack.ModalViewRequest{
		Type: slack.VTModal, Title: plain("Request access"), Close: plain("Close"), Blocks: slack.Blocks{BlockSet: m.blocks},
	}
}

// workingView stands in for what is being carried out.
func workingView() slack.ModalViewRequest {
	return modal(say("Working on it…", "Keep this open: credentials show here, and nowhere else"))
}
