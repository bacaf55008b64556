package bot

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/starback/starback/broker/policy"
)

// A seenView is a modal as Slack tells of it when something is done in it.
type seenView struct {
	ID              string `json:"id"`
	Hash            string `json:"hash"` // changes with every update
	CallbackID      string `json:"callback_id"`
	PrivateMetadata string `json:"private_metadata"` // of the form, the link that its reason began with
	State           struct {
		// Values are what was filled in, by block and by action.
		Values map[string]map[string]struct {
			Value          string `json:"value"`
			SelectedOption choice `json:"selected_option"`
		} `json:"values"`
	} `json:"state"`
}

// shows says whether the view has an input.
func (v seenView) shows(block string) bool {
	_, ok := v.State.Values[block]
	return ok
}

// draft reads what was filled in. What cannot be read is left empty.
func (v seenView) draft() draft {
	values := v.State.Values
	typed := func(block string) string {
		return strings.Join(strings.Fields(cleanText(values[block][actionInput].Value)), " ")
	}
	d := draft{ticket: typed(blockTicket), reason: typed(blockReason)}
	if link := v.PrivateMetadata; permalinkPattern().MatchString(link) && slices.Contains(strings.Fields(d.reason), link) {
		d.link = link
	}
	role := strings.Fields(cleanText(values[blockRole][actionRole].SelectedOption.Value))
	if len(role) != 1 {
		return d
	}
	d.role = policy.RoleName(strings.ToLower(role[0]))
	chosen := values[blockDuration+string(d.role)][actionInput].SelectedOption.Value
	if length, err := policy.ParseDuration(chosen); err == nil {
		d.duration = length
	}
	return d
}

// complete says whether the view has every input that the role wants. One that
// was submitted before it was brought up to date, or before the role's rules
// changed, has not.
func (v seenView) complete(role *policy.Role) bool {
	return v.shows(durationBlock(role)) && v.shows(blockReason) && (role.Ticket == nil || v.shows(blockTicket))
}

// What a link to a message is made of, as Slack writes it.
var (
	domainPattern  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,80}$`) })
	channelPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Z0-9]{2,40}$`) })
	stampPattern   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]{1,20})\.([0-9]{6})$`) })
	// permalinkPattern is the whole of one.
	permalinkPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^https://[a-z0-9][a-z0-9.-]{0,80}\.slack\.com/archives/[A-Z0-9]{2,40}/p[0-9]{7,26}$`)
	})
)

// permalink is the link to the message that a shortcut was chosen on; empty if
// Slack did not say enough for one.
func (p interaction) permalink() string {
	stamp := stampPattern().FindStringSubmatch(p.MessageTS)
	if stamp == nil || !domainPattern().MatchString(p.Team.Domain) || !channelPattern().MatchString(p.Channel.ID) {
		return ""
	}
	return "https://" + p.Team.Domain + ".slack.com/archives/" + p.Channel.ID + "/p" + stamp[1] + stamp[2]
}
