package broker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// A Command is how a Change is said in words: the same on the command line and
// in Slack.
type Command struct {
	Op      Op
	Args    []string // what is named, in order: "USER", "GROUP", "ROLE", "VERSION"; a last "USER..." takes several
	Flags   []Flag
	Short   string // one line of help
	Example string // what follows the program's name
}

// A Flag is an option of a Command, with a value.
type Flag struct {
	Name  string // without dashes
	Value string // what the value stands for: "GROUP"
	Usage string
	Many  bool // may be given more than once
}

var (
	untilFlag   = Flag{Name: "until", Value: "WHEN", Usage: "a date (2027-06-30), an RFC 3339 time, or how long from now (90d, 12h)"}
	messageFlag = Flag{Name: "message", Value: "WHY", Usage: "why, for the trail"}
	slackFlag   = Flag{Name: "slack", Value: "TEAM/USER", Usage: "the account in Slack, as in T012AB/U0456"}
	toFlags     = []Flag{
		{Name: "group", Value: "GROUP", Usage: "grant it to this group"},
		{Name: "user", Value: "USER", Usage: "grant it to this user alone"},
	}
)

// Commands lists every Command, in the order in which help shows them.
var Commands = []Command{
	{
		Op: OpUserAdd, Args: []string{"USER"}, Short: "Add a person, or an application with --owner",
		Flags: []Flag{
			slackFlag,
			{Name: "email", Value: "ADDRESS", Usage: "known by this address, where the policy binds by e-mail"},
			{Name: "group", Value: "GROUP", Usage: "a member of this group", Many: true},
			{Name: "owner", Value: "USER", Usage: "the person who answers for it: makes it an application"},
			untilFlag, messageFlag,
		},
		Example: "user add alice --slack T012AB/U0456 --group dev",
	},
	{Op: OpUserDisable, Args: []string{"USER..."}, Short: "Switch users off, from their next request on", Flags: []Flag{messageFlag}, Example: "user disable alice"},
	{Op: OpUserEnable, Args: []string{"USER..."}, Short: "Switch users on again", Flags: []Flag{messageFlag}, Example: "user enable alice"},
	{Op: OpUserRenew, Args: []string{"USER..."}, Short: "Set when users' access ends; without --until, by the policy's user_lifetime", Flags: []Flag{untilFlag, messageFlag}, Example: "user renew alice --until 2027-06-30"},
	{Op: OpUserBind, Args: []string{"USER"}, Short: "Bind a user to an account in Slack, instead of the one before", Flags: []Flag{slackFlag, messageFlag}, Example: "user bind alice --slack T012AB/U0456"},
	{Op: OpUserRemove, Args: []string{"USER..."}, Short: "Remove users for good; their names are never used again", Flags: []Flag{messageFlag}, Example: "user remove alice"},
	{Op: OpGroupAdd, Args: []string{"GROUP"}, Short: "Add a group", Flags: []Flag{messageFlag}, Example: "group add data"},
	{Op: OpGroupRemove, Args: []string{"GROUP"}, Short: "Remove a group; only a rollback brings it, and its name, back", Flags: []Flag{messageFlag}, Example: "group remove data"},
	{Op: OpMemberAdd, Args: []string{"GROUP", "USER..."}, Short: "Put users into a group", Flags: []Flag{messageFlag}, Example: "group add-member sre alice bob"},
	{Op: OpMemberRemove, Args: []string{"GROUP", "USER..."}, Short: "Take users out of a group", Flags: []Flag{messageFlag}, Example: "group remove-member sre alice"},
	{Op: OpGrantAdd, Args: []string{"ROLE"}, Short: "Let a group, or one user, ask for a role", Flags: append(slices.Clone(toFlags), untilFlag, messageFlag), Example: "grant add prod-readonly --group dev --until 2027-01-31"},
	{Op: OpGrantRemove, Args: []string{"ROLE"}, Short: "Take a grant back", Flags: append(slices.Clone(toFlags), messageFlag), Example: "grant remove prod-readonly --group dev"},
	{Op: OpAdminsAdd, Args: []string{"GROUP"}, Short: "Make the members of a group administrators", Flags: []Flag{messageFlag}, Example: "admins add platform"},
	{Op: OpAdminsRemove, Args: []string{"GROUP"}, Short: "Stop the members of a group from being administrators", Flags: []Flag{messageFlag}, Example: "admins remove platform"},
	{Op: OpRollback, Args: []string{"VERSION"}, Short: "Put an older version of the policy back, as a new version", Flags: []Flag{messageFlag}, Example: "policy rollback 12 --message 'the new one locks dev out'"},
	{Op: OpTokenRevoke, Args: []string{"USER", "TOKEN"}, Short: "Revoke an access token", Flags: []Flag{messageFlag}, Example: "token revoke ci-deploy 7Qm2xK9fLp0a"},
}

// Usage is how the Command is written, less the program's name.
func (c Command) Usage() string {
	words := append([]string{string(c.Op)}, c.Args...)
	for _, f := range c.Flags {
		words = append(words, "[--"+f.Name+" "+f.Value+"]")
	}
	return strings.Join(words, " ")
}

// A UsageError says what is wrong with the words of a Command, in one
// sentence. It wraps ErrInvalid.
type UsageError struct {
	Command *Command // nil if there is no such one
	Problem string
}

// Error is the sentence.
func (e *UsageError) Error() string { return e.Problem }

// Unwrap returns ErrInvalid.
func (e *UsageError) Unwrap() error { return ErrInvalid }

func (c Command) wrong(format string, args ...any) error {
	return &UsageError{&c, fmt.Sprintf(format, args...)}
}

// ParseCommand reads a whole Command, as it is typed in Slack: two words that
// say what to do, names, and options as "--name value" or "--name=value",
// anywhere after the first two.
func ParseCommand(words []string) (Change, error) {
	if len(words) < 2 {
		return Change{}, &UsageError{nil, "What is to be done? As in: " + Commands[0].Example}
	}
	op := strings.ToLower(words[0] + " " + words[1])
	at := slices.IndexFunc(Commands, func(c Command) bool { return string(c.Op) == op })
	if at < 0 {
		return Change{}, unknownCommand(op)
	}
	c := Commands[at]
	var args []string
	flags := map[string][]string{}
	for rest := words[2:]; len(rest) > 0; rest = rest[1:] {
		option, ok := strings.CutPrefix(rest[0], "--")
		if !ok {
			args = append(args, rest[0])
			continue
		}
		name, value, given := strings.Cut(option, "=")
		if !given {
			if len(rest) < 2 {
				return Change{}, c.wrong("--%s needs a value.", name)
			}
			value, rest = rest[1], rest[1:]
		}
		flags[name] = append(flags[name], value)
	}
	return c.Change(args, flags)
}

func unknownCommand(op string) error {
	ops := make([]string, len(Commands))
	for i, c := range Commands {
		ops[i] = string(c.Op)
	}
	problem := fmt.Sprintf("There is no command %q.", op)
	if near, ok := policy.Suggest(op, ops); ok {
		problem += fmt.Sprintf(" Did you mean %q?", near)
	}
	return &UsageError{nil, problem}
}

// Change makes the Change that the Command's arguments and options say.
func (c Command) Change(args []string, flags map[string][]string) (Change, error) {
	ch := Change{Op: c.Op}
	for i, arg := range c.Args {
		name, many := strings.CutSuffix(arg, "...")
		if i >= len(args) {
			return Change{}, c.wrong("%s needs a %s. As in: %s", c.Op, strings.ToLower(name), c.Example)
		}
		values := args[i : i+1]
		if many {
			values = args[i:]
		}
		for _, value := range values {
			if err := c.set(&ch, name, value); err != nil {
				return Change{}, err
			}
		}
		if many {
			args = args[:i+1]
		}
	}
	if len(args) > len(c.Args) {
		return Change{}, c.wrong("%s takes no %q. As in: %s", c.Op, args[len(c.Args)], c.Example)
	}
	for name, values := range flags {
		at := slices.IndexFunc(c.Flags, func(f Flag) bool { return f.Name == name })
		if at < 0 {
			return Change{}, c.wrong("%s has no option --%s.%s", c.Op, name, c.nearestFlag(name))
		}
		f := c.Flags[at]
		if len(values) > 1 && !f.Many {
			return Change{}, c.wrong("--%s is given twice.", name)
		}
		for _, value := range values {
			if value == "" {
				return Change{}, c.wrong("--%s needs a value.", name)
			}
			if err := c.set(&ch, "--"+name, value); err != nil {
				return Change{}, err
			}
		}
	}
	return ch, c.check(ch)
}

func (c Command) nearestFlag(name string) string {
	var names []string
	for _, f := range c.Flags {
		names = append(names, f.Name)
	}
	if near, ok := policy.Suggest(name, names); ok {
		return " Did you mean --" + near + "?"
	}
	return ""
}

// set puts one argument or option into ch.
func (c Command) set(ch *Change, what, value string) error {
	switch what {
	case "USER":
		name := policy.UserName(value)
		if !name.Valid() {
			return c.wrong("%q is not a user's name: 2 to 32 small letters, digits, dots, dashes and underscores.", value)
		}
		if slices.Contains(ch.Users, name) {
			return c.wrong("%s is named twice.", name)
		}
		ch.Users = append(ch.Users, name)
	case "--user":
		return c.set(ch, "USER", value)
	case "--owner":
		ch.Owner = policy.UserName(value)
	case "GROUP":
		ch.Group = policy.GroupName(value)
	case "--group":
		if c.Op == OpUserAdd {
			ch.Groups = append(ch.Groups, policy.GroupName(value))
		} else {
			ch.Group = policy.GroupName(value)
		}
	case "ROLE":
		ch.Role = policy.RoleName(value)
	case "TOKEN":
		ch.Token = value
	case "VERSION":
		n, err := strconv.ParseInt(strings.TrimPrefix(value, "v"), 10, 64)
		if err != nil || n < 1 {
			return c.wrong("%q is not the number of a version.", value)
		}
		ch.Version = n
	case "--slack":
		id, err := ParseSlackID(value)
		if err != nil {
			return c.wrong("%q is not an account in Slack, as in T012AB/U0456.", value)
		}
		ch.Slack = id
	case "--email":
		if !policy.ValidEmail(value) {
			return c.wrong("%q is not an e-mail address, as in alice@example.com.", value)
		}
		ch.Email = strings.ToLower(value)
	case "--until":
		when, err := ParseWhen(value)
		if err != nil {
			return c.wrong("%q is not a date such as 2027-06-30, an RFC 3339 time, or a length of time such as 90d.", value)
		}
		ch.Until = when
	case "--message":
		ch.Message = value
	}
	return nil
}

// check refuses a Change that lacks an option it cannot do without.
func (c Command) check(ch Change) error {
	switch ch.Op {
	case OpUserAdd:
		if ch.Owner != "" && (!ch.Slack.IsZero() || ch.Email != "") {
			return c.wrong("An application has no account in Slack and no address: leave out --owner, or the others.")
		}
	case OpUserBind:
		if ch.Slack.IsZero() {
			return c.wrong("To which account? As in: %s", c.Example)
		}
	case OpGrantAdd, OpGrantRemove:
		if (ch.Group == "") == (len(ch.Users) == 0) {
			return c.wrong("To whom? Give either --group or --user. As in: %s", c.Example)
		}
	}
	return nil
}

// ParseWhen reads a date, which ends with that day in UTC, an RFC 3339 time,
// or a length of time from now, such as 90d or 12h.
func ParseWhen(s string) (When, error) {
	if d, err := policy.ParseLifetime(s); err == nil {
		return When{For: d}, nil
	}
	at, err := policy.ParseInstant(s)
	if err != nil {
		return When{}, fmt.Errorf("%q is not a moment: %w", s, ErrInvalid)
	}
	return When{At: at}, nil
}

// from returns the moment, to the second, where now is now; zero if none was said.
func (w When) from(now time.Time) time.Time {
	if w.For > 0 {
		return now.Add(w.For).Truncate(time.Second)
	}
	return w.At
}
