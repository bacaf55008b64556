package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// admin carries out what somebody typed after "admin", if they are an
// administrator now.
func (w *Worker) admin(ctx context.Context, todo work, c command) error {
	a, err := w.Broker.AsAdmin(ctx, todo.Caller, todo.Key)
	if err != nil {
		return w.refused(ctx, todo, c, err)
	}
	if w.late(todo) {
		return w.answer(ctx, todo, lateChange())
	}
	m, err := w.administer(ctx, a, todo, c.words)
	if err != nil {
		m = w.failed(todo, err)
	}
	return w.answer(ctx, todo, m)
}

// failed says why an administrator's command was not carried out. What is no
// mistake of theirs is logged.
func (w *Worker) failed(todo work, err error) message {
	if mistakeIn(err) == nil {
		w.Log.Error("an administrator's command failed", "job", todo.id(), "slack", todo.Caller, "err", err)
	}
	return explain(err, command{verb: verbAdmin})
}

// late says whether nobody waits for the answer any more.
func (w *Worker) late(todo work) bool { return !w.Now().Before(todo.Received.Add(jobPatience)) }

// administer answers an administrator's words.
func (w *Worker) administer(ctx context.Context, a *broker.Admin, todo work, text string) (message, error) {
	words, err := splitWords(withoutLabels(text))
	if err != nil {
		return unclosedMessage(), nil
	}
	if len(words) == 0 || strings.EqualFold(words[0], "help") {
		return adminHelp(words[min(1, len(words)):]), nil
	}
	if words, err = resolveMentions(ctx, a, todo.Caller.Team, words); err != nil {
		return message{}, err
	}
	if strings.EqualFold(opOf(words), "token create") {
		return noTokenHere(), nil
	}
	if q, args := findQuestion(words); q != nil {
		if len(args) < q.least || len(args) > q.most {
			return q.misused(), nil
		}
		return q.answer(w, ctx, a, args)
	}
	if !slices.ContainsFunc(broker.Commands, func(c broker.Command) bool { return strings.EqualFold(string(c.Op), opOf(words)) }) {
		return unknownAdmin(words), nil
	}
	ch, err := broker.ParseCommand(words)
	var usage *broker.UsageError
	switch {
	case errors.As(err, &usage) && usage.Command != nil:
		return usageMessage(usage.Problem, usage.Command.Usage()), nil
	case err != nil:
		return message{}, err
	}
	if ch.Until.For > 0 {
		// From when it was typed: carried out once more, it changes nothing.
		ch.Until = broker.When{At: todo.Received.Add(ch.Until.For).UTC().Truncate(time.Second)}
	}
	return change(ctx, a, ch)
}

// opOf is the first two words, which say what is to be done.
func opOf(words []string) string { return strings.Join(words[:min(2, len(words))], " ") }

// change carries out a Change. A Job may be carried out twice, so what was done
// before is told as done, not as something that cannot be done.
func change(ctx context.Context, a *broker.Admin, ch broker.Change) (message, error) {
	p, err := waitingFor(ctx, a, ch)
	if err != nil {
		return message{}, err
	}
	if p != nil {
		return doneMessage(broker.Done{Change: ch, Proposal: p}), nil
	}
	if ch.Op == broker.OpUserRemove {
		if ch.Users, err = notRemoved(ctx, a, ch.Users); err != nil {
			return message{}, err
		}
		if len(ch.Users) == 0 {
			return doneMessage(broker.Done{Change: ch, Same: true}), nil
		}
	}
	done, err := a.Do(ctx, ch)
	if errors.Is(err, broker.ErrNotFound) || errors.Is(err, broker.ErrConflict) {
		same, otherErr := soAlready(ctx, a, ch)
		if otherErr != nil {
			return message{}, otherErr
		}
		if same {
			return doneMessage(broker.Done{Change: ch, Same: true}), nil
		}
	}
	if err != nil {
		return message{}, err
	}
	return doneMessage(done), nil
}

// notRemoved returns names without those of users who were removed.
func notRemoved(ctx context.Context, a *broker.Admin, names []policy.UserName) ([]policy.UserName, error) {
	var left []policy.UserName
	for _, name := range names {
		m, err := a.User(ctx, name)
		if err != nil && !errors.Is(err, broker.ErrNotFound) {
			return nil, err
		}
		if !m.User.Removed {
			left = append(left, name)
		}
	}
	return left, nil
}

// waitingFor returns the author's own Proposal of that very Change, if it waits
// for a second administrator; nil if none does.
func waitingFor(ctx context.Context, a *broker.Admin, ch broker.Change) (*broker.Proposal, error) {
	_, doc, err := a.Policy(ctx)
	if err != nil || !doc.Settings.TwoAdmins {
		return nil, err
	}
	open, err := a.OpenProposals(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range open {
		if p.User == a.Author.User && p.State == broker.ProposalWaiting && sameChange(p.Change, ch) {
			return &p, nil
		}
	}
	return nil, nil
}

// sameChange compares Changes as they are stored.
func sameChange(a, b broker.Change) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// soAlready says whether what ch wants is so already, where the broker says
// that it cannot be done for that very reason.
func soAlready(ctx context.Context, a *broker.Admin, ch broker.Change) (bool, error) {
	switch ch.Op {
	case broker.OpUserAdd:
		m, err := a.User(ctx, ch.Users[0])
		if errors.Is(err, broker.ErrNotFound) {
			return false, nil
		}
		u := m.User
		return !u.Removed && u.Enabled && u.Slack == ch.Slack && u.Email == ch.Email && u.Owner == ch.Owner &&
			slices.Equal(u.Groups, slices.Compact(slices.Sorted(slices.Values(ch.Groups)))), err
	case broker.OpGroupRemove:
		_, doc, err := a.Policy(ctx)
		return err == nil && slices.Contains(doc.Removed, ch.Group), err
	default:
		return false, nil
	}
}

var (
	mention         = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^<@([UW][A-Z0-9]+)>$`) })
	labelledMention = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<@([UW][A-Z0-9]+)\|[^<>]*>`) })
)

// withoutLabels takes the names out of Slack's mentions: they may hold space,
// and anybody can choose theirs.
func withoutLabels(text string) string { return labelledMention().ReplaceAllString(text, "<@$1>") }

// resolveMentions turns Slack's mentions into what commands take: TEAM/USER
// after --slack, and elsewhere the name of the user who is bound to that
// account. A message to the trail is left as it is.
func resolveMentions(ctx context.Context, a *broker.Admin, team string, words []string) ([]string, error) {
	var out []string
	for i, word := range words {
		option, value, given := strings.Cut(word, "=")
		if !given || !strings.HasPrefix(option, "--") {
			option, value = "", word
			if i > 0 {
				option = words[i-1]
			}
		}
		found := mention().FindStringSubmatch(value)
		if found == nil || option == "--message" {
			out = append(out, word)
			continue
		}
		id := broker.SlackID{Team: team, User: found[1]}
		named := id.String()
		if option != "--slack" {
			name, err := a.UserOf(ctx, id)
			if errors.Is(err, broker.ErrNotFound) {
				return nil, nobody{id}
			}
			if err != nil {
				return nil, err
			}
			named = string(name)
		}
		out = append(out, strings.TrimSuffix(word, value)+named)
	}
	return out, nil
}

// A nobody says that an account in Slack is no user's.
type nobody struct{ id broker.SlackID }

// Error describes the case for logs.
func (n nobody) Error() string { return n.id.String() + " is bound to nobody" }

// Unwrap returns broker.ErrNotFound.
func (n nobody) Unwrap() error { return broker.ErrNotFound }
