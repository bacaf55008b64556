package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) auditCommand() *cobra.Command {
	var q broker.EventQuery
	var role, since, until string
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Search the audit trail: by access key, request, user, role or time",
		Long: `Search the audit trail, the oldest first: which key was issued to whom and why,
what became of a request, what a user or administrator did. All that is given
must hold. What no server has passed on yet is not there: with one running, that
is what happened within the last seconds.

With --json it prints an object a line, as the log has them.`,
		Example: "  starback audit --key ASIAEFNKQS4A4AW5BHEK",
		Args:    noArgs,
	}
	cmd.Flags().StringVar(&q.AccessKeyID, "key", "", "what is about this access key id")
	cmd.Flags().StringVar(&q.RequestID, "request", "", "what is about this request")
	cmd.Flags().StringVar(&q.Actor, "user", "", "what this user did, or an administrator, as the trail names them")
	cmd.Flags().StringVar(&role, "role", "", "what is about this role")
	cmd.Flags().StringVar(&since, "since", "", "from this on: a date in UTC or an RFC 3339 time")
	cmd.Flags().StringVar(&until, "until", "", "before this: a date in UTC or an RFC 3339 time")
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON, one a line")
	p.completeFlag(cmd, "user", "USER")
	p.completeFlag(cmd, "role", "ROLE")
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if q.Role = policy.RoleName(role); q == (broker.EventQuery{}) && since == "" && until == "" {
			return usageError{errors.New("what about? Give --key, --request, --user, --role, --since or --until")}
		}
		if q.Since, err = momentFlag("since", since); err != nil {
			return err
		}
		q.Until, err = momentFlag("until", until)
		return err
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		var rows [][]string
		err := a.Events(ctx, q, func(e broker.Event) {
			if *asJSON {
				writeJSON(p.stdout, e)
				return
			}
			rows = append(rows, []string{
				moment(e.Time), string(e.Event), e.Actor, string(e.Role), e.AccessKeyID, e.RequestID, eventWords(e),
			})
		})
		switch {
		case err != nil || *asJSON:
		case len(rows) == 0:
			fmt.Fprintln(p.stdout, "The trail holds nothing of that.")
		default:
			p.printTable([]string{"WHEN", "EVENT", "WHO", "ROLE", "KEY", "REQUEST", "WHAT"}, rows)
		}
		return err
	})
}

// momentFlag reads the value of a flag that is a moment; a date is its beginning
// in UTC, and nothing the zero time.
func momentFlag(flag, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, value); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("--%s: %q is not a date such as 2027-06-30 or an RFC 3339 time", flag, value)}
}

// eventWords is what else there is to say of an Event.
func eventWords(e broker.Event) string {
	var words []string
	say := func(what, value string) {
		if value != "" {
			words = append(words, strings.TrimPrefix(what+": "+value, ": "))
		}
	}
	say("", e.Subject)
	say("", e.Detail)
	say("ticket", e.Ticket)
	say("reason", e.Reason)
	say("rule", string(e.Rule))
	if e.Outcome != broker.OutcomeOK {
		say("outcome", e.Outcome)
	}
	return strings.Join(words, "; ")
}
