package bot

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A question is what administrators can type besides the changes of
// broker.Commands.
type question struct {
	words       string // what it begins with: one word or two
	args        string // what follows, as help shows it
	least, most int    // of how many words
	short       string // one line of help
	example     string
	answer      func(w *Worker, ctx context.Context, a *broker.Admin, args []string) (message, error)
}

// usage is how the question is written.
func (q question) usage() string { return strings.TrimSpace(q.words + " " + q.args) }

// misused says how the question is asked.
func (q question) misused() message {
	return usageMessage("That is not how it is asked.", q.usage())
}

// questions lists every question, in the order in which help shows them.
var questions = []question{
	{"can", "USER ROLE", 2, 2, "Whether and why somebody may ask for a role", "can alice prod-admin", (*Worker).can},
	{"who-can", "ROLE", 1, 1, "Who may ask for a role, and how they come by it", "who-can prod-admin", (*Worker).whoCan},
	{"user show", "USER", 1, 1, "A user, and what they may ask for", "user show alice", (*Worker).showUser},
	{"user list", "[GROUP]", 0, 1, "The users, or those of a group", "user list sre", (*Worker).listUsers},
	{"expiring", "[WITHIN]", 0, 1, "Whose access ends soon, or has ended; within 14d unless you say otherwise", "expiring 30d", (*Worker).expiring},
	{"group show", "GROUP", 1, 1, "A group: its grants, its members, and what it is for", "group show sre", (*Worker).showGroup},
	{"group list", "", 0, 0, "The groups", "group list", (*Worker).listGroups},
	{"policy history", "", 0, 0, "The newest versions of the policy", "policy history", (*Worker).history},
	{"policy preview", "VERSION", 1, 1, "What rolling back to a version would change, and for whom", "policy preview 12", (*Worker).preview},
	{"end session", "ID", 1, 1, "End a session before its time, by its ID or its access key ID", "end session ASIAQ7XK2M9QXDEXAMPL", (*Worker).endAny},
	{"end user", "USER", 1, 1, "End all sessions that a user has open", "end user alice", (*Worker).endUser},
	{"end role", "ROLE", 1, 1, "End all sessions of a role, whoever has them", "end role prod-admin", (*Worker).endRole},
	{"changes", "", 0, 0, "The changes that wait for a second administrator", "changes", (*Worker).openProposals},
	{"change confirm", "ID", 1, 1, "Carry out another administrator's change, as things are now", "change confirm 7K2M9QXD", (*Worker).confirm},
	{"change reject", "ID", 1, 1, "Drop a change that waits: another's, or your own", "change reject 7K2M9QXD", (*Worker).reject},
}

// findQuestion returns the question that words ask, and what follows it; nil if
// they ask none.
func findQuestion(words []string) (*question, []string) {
	for n := min(2, len(words)); n > 0; n-- {
		asked := strings.ToLower(strings.Join(words[:n], " "))
		if at := slices.IndexFunc(questions, func(q question) bool { return q.words == asked }); at >= 0 {
			return &questions[at], words[n:]
		}
	}
	return nil, nil
}

func (w *Worker) can(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	name, role := policy.UserName(args[0]), policy.RoleName(args[1])
	x, err := a.Can(ctx, name, role, time.Time{})
	if err != nil {
		return message{}, err
	}
	footer := "As things are now"
	if !x.Since.IsZero() {
		footer += "  ·  The first of these ways has been there since " + when(x.Since)
	}
	return explanation("*"+string(name)+"*", role, x.Explanation, footer), nil
}

func (w *Worker) whoCan(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	holders, err := a.WhoCan(ctx, policy.RoleName(args[0]))
	if err != nil {
		return message{}, err
	}
	return whoCanMessage(policy.RoleName(args[0]), holders), nil
}

func whoCanMessage(role policy.RoleName, holders []policy.Holder) message {
	lines := make([]string, len(holders))
	for i, h := range holders {
		lines[i] = pathCode(h.Path) + "  until " + when(h.Expires)
		if h.NeedsApproval {
			lines[i] += ", with approval"
		}
	}
	head := count(len(holders), "user", "users") + " may ask for " + word(string(role)) + "."
	return listMessage(head, lines, "starback who-can "+string(role))
}

func (w *Worker) listUsers(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	_, doc, err := a.Policy(ctx)
	if err != nil {
		return message{}, err
	}
	var group policy.GroupName
	cli := "starback user list"
	if len(args) > 0 {
		group = policy.GroupName(args[0])
		if _, ok := doc.Groups[group]; !ok {
			return noGroup(group, doc), nil
		}
		cli += " --group " + string(group)
	}
	users, err := a.ListUsers(ctx, broker.UserFilter{Group: group})
	if err != nil {
		return message{}, err
	}
	return usersMessage(users, doc, group, w.Now(), cli), nil
}

func usersMessage(users []broker.User, doc *policy.Document, group policy.GroupName, now time.Time, cli string) message {
	head := count(len(users), "user", "users")
	if group != "" {
		head += " in " + word(string(group))
	}
	return listMessage(head+".", userLines(users, doc, now), cli)
}

// userLines are Users, one a line.
func userLines(users []broker.User, doc *policy.Document, now time.Time) []string {
	lines := make([]string, len(users))
	for i, u := range users {
		lines[i] = "`" + string(u.Name) + "`"
		if u.IsApp {
			lines[i] += "  application of `" + string(u.Owner) + "`"
		}
		lines[i] += "  " + accessOf(u, now)
		if groups := groupWords(u.Groups, u.RemovedGroups(doc), 5); groups != "" {
			lines[i] += "  in " + groups
		}
	}
	return lines
}

// accessOf says whether a User has access, and until when.
func accessOf(u broker.User, now time.Time) string {
	switch {
	case u.Removed:
		return "removed for good"
	case !u.Enabled:
		return "switched off"
	case now.Before(u.Expires):
		return "until " + when(u.Expires)
	default:
		return "ended " + when(u.Expires)
	}
}

// soon is what counts as soon where nobody says otherwise.
const soon = 14 * 24 * time.Hour

func (w *Worker) expiring(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	within, given := soon, "14d"
	if len(args) > 0 {
		var err error
		if within, err = policy.ParseLifetime(args[0]); err != nil {
			return usageMessage(args[0]+" is not a length of time such as 14d or 12h.", "expiring [WITHIN]"), nil
		}
		given = args[0]
	}
	_, doc, err := a.Policy(ctx)
	if err != nil {
		return message{}, err
	}
	users, err := a.ListUsers(ctx, broker.UserFilter{Expiring: within})
	if err != nil {
		return message{}, err
	}
	return expiringMessage(users, doc, given, w.Now()), nil
}

func expiringMessage(users []broker.User, doc *policy.Document, within string, now time.Time) message {
	if len(users) == 0 {
		return say("Nobody's access ends within "+within+".", "")
	}
	m := listMessage("The access of "+count(len(users), "user", "users")+" ends within "+within+", or has ended.",
		userLines(users, doc, now), "starback user list --expiring "+within)
	m.blocks = append(m.blocks, small("To renew it, type "+adminCommand("user renew USER")+" or "+adminCommand("user renew USER --until WHEN")))
	return m
}

func (w *Worker) showGroup(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	name := policy.GroupName(args[0])
	_, doc, err := a.Policy(ctx)
	if err != nil {
		return message{}, err
	}
	if _, ok := doc.Groups[name]; !ok {
		return noGroup(name, doc), nil
	}
	members, err := a.ListUsers(ctx, broker.UserFilter{Group: name})
	if err != nil {
		return message{}, err
	}
	return groupMessage(name, doc, members, w.Now()), nil
}

// noGroup says that there is no such group, and which was likely meant.
func noGroup(name policy.GroupName, doc *policy.Document) message {
	all := make([]policy.GroupName, 0, len(doc.Groups))
	for group := range doc.Groups {
		all = append(all, group)
	}
	words := "There is no group " + word(string(name)) + "."
	if near, ok := policy.Suggest(string(name), all); ok {
		words += " Did you mean `" + string(near) + "`?"
	}
	return say(words, "")
}

func groupMessage(name policy.GroupName, doc *policy.Document, members []broker.User, now time.Time) message {
	facts := []string{"Grants: " + orNone(grantWords(doc.Groups[name].Grants, 10))}
	if slices.Contains(doc.Admins, name) {
		facts = append(facts, "Its members administer Starback")
	}
	if roles := doc.ApprovedBy(name); len(roles) > 0 {
		facts = append(facts, "Its members approve requests for "+names(roles, 10))
	}
	head := word(string(name)) + ": " + count(len(members), "member", "members") + "."
	return listMessage(head+"\n"+strings.Join(facts, "\n"), userLines(members, doc, now), "starback group show "+string(name))
}

// grantWords lists Grants, at most most of them.
func grantWords(grants []policy.Grant, most int) string {
	var words []string
	for i, g := range grants {
		if i == most {
			words = append(words, fmt.Sprintf("and %d more", len(grants)-most))
			break
		}
		text := "`" + string(g.Role) + "`"
		if !g.Expires.IsZero() {
			text += " until " + when(g.Expires)
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}

func (w *Worker) listGroups(ctx context.Context, a *broker.Admin, _ []string) (message, error) {
	_, doc, err := a.Policy(ctx)
	if err != nil {
		return message{}, err
	}
	return groupsMessage(doc), nil
}

func groupsMessage(doc *policy.Document) message {
	lines := make([]string, 0, len(doc.Groups))
	for name, g := range doc.Groups {
		line := "`" + string(name) + "`  " + orNone(grantWords(g.Grants, 5))
		if slices.Contains(doc.Admins, name) {
			line += "  administers"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return listMessage(count(len(lines), "group", "groups")+", and what each may ask for.", lines, "starback group list")
}

// shownVersions is how many versions of the policy a history shows.
const shownVersions = 15

func (w *Worker) history(ctx context.Context, a *broker.Admin, _ []string) (message, error) {
	heads, err := a.History(ctx, shownVersions)
	if err != nil {
		return message{}, err
	}
	return historyMessage(heads), nil
}

// historyMessage lists versions, newest first. Who made one and why is text of
// a user's.
func historyMessage(heads []broker.Head) message {
	m := say("The policy is at version "+fmt.Sprint(heads[0].Version)+".", "")
	items := make([]string, len(heads))
	for i, h := range heads {
		items[i] = fmt.Sprintf("version %d of %s, by %s", h.Version, utc(h.AppliedAt), h.How)
	}
	m.text = aloud(m.text, items)
	lines := make([]string, len(heads))
	for i, h := range heads {
		lines[i] = fmt.Sprintf("%d  %s  by %s, %s", h.Version, utc(h.AppliedAt), cut(h.Author, 100), h.How)
		if why := cmp.Or(h.Message, strings.Join(h.Changes, "; ")); why != "" {
			lines[i] += ": " + why
		}
	}
	blocks, shown := quotes(lines, maxList)
	m.blocks = append(m.blocks, blocks...)
	if rest := int(heads[0].Version) - shown; rest > 0 {
		m.blocks = append(m.blocks, more(rest, "starback policy history"))
	}
	m.blocks = append(m.blocks, small("To put one back, type "+adminCommand("policy rollback VERSION")+"; to see what that would change, "+adminCommand("policy preview VERSION")))
	return m
}

// preview shows what a rollback would do.
func (w *Worker) preview(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	ch, err := broker.ParseCommand(append(strings.Fields(string(broker.OpRollback)), args...))
	if err != nil {
		return message{}, err
	}
	done, benefit, err := a.Preview(ctx, ch)
	if err != nil {
		return message{}, err
	}
	return previewMessage(done, benefit), nil
}

// previewMessage says what a rollback would do, and for whom.
func previewMessage(d broker.Done, benefit string) message {
	what := fmt.Sprintf("Rolling back to version %d", d.Change.Version)
	if d.Same {
		return say(what+" would change nothing: it is so already.", "")
	}
	m := say(what+" would change this. Nothing was changed yet.", "")
	m.text += " Open the message to read " + count(len(d.Detail), "line", "lines") + "."
	blocks, shown := quotes(d.Detail, maxMessage/2)
	m.blocks = append(m.blocks, blocks...)
	if rest := len(d.Detail) - shown; rest > 0 {
		m.blocks = append(m.blocks, more(rest, fmt.Sprintf("starback policy preview %d", d.Change.Version)))
	}
	if benefit != "" {
		m.blocks = append(m.blocks, quote("It would wait for another administrator, because it benefits you:", benefit))
	}
	if d.Loud != "" {
		m.blocks = append(m.blocks, quote("⚠️ Everybody in the audit channel would be told:", d.Loud))
	}
	m.blocks = append(m.blocks, small("To do it, type "+adminCommand(fmt.Sprintf("policy rollback %d", d.Change.Version))))
	return m
}

// listMessage is a list of lines of ours, cut to what Slack takes; cli is the
// command that shows all of it.
func listMessage(head string, lines []string, cli string) message {
	m := say(head, "")
	m.text = aloud(head, lines)
	blocks, shown := list(lines, maxList-maxSection)
	m.blocks = append(m.blocks, blocks...)
	if rest := len(lines) - shown; rest > 0 {
		m.blocks = append(m.blocks, more(rest, cli))
	}
	return m
}

// more says that a list goes on.
func more(n int, cli string) slack.Block {
	return small(fmt.Sprintf("And %d more. On the command line, `%s` shows all of them", n, cli))
}

// count writes a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
