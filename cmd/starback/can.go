package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A routeView is one way to a role, as JSON.
type routeView struct {
	Path    string           `json:"path"`
	Group   policy.GroupName `json:"group,omitempty"` // whose grant it is; absent for the user's own
	Granted policy.RoleName  `json:"granted"`
	Expires time.Time        `json:"expires"`
	Expired bool             `json:"expired,omitempty"`
}

// An explanationView is what can says, as JSON.
type explanationView struct {
	User           policy.UserName `json:"user"`
	Role           policy.RoleName `json:"role"`
	At             time.Time       `json:"at"`
	Decision       string          `json:"decision"` // as in the trail: allow, needs approval or deny
	Rule           policy.Rule     `json:"rule"`
	Reason         string          `json:"reason"`
	Path           string          `json:"path,omitempty"`
	Since          time.Time       `json:"since,omitzero"` // absent: not known
	Expires        time.Time       `json:"expires,omitzero"`
	Needs          []string        `json:"needs"`
	LongestSeconds int             `json:"longest_seconds"` // the longest window; 0 when denied
	Routes         []routeView     `json:"routes"`
}

func (p *program) canCommand() *cobra.Command {
	var at string
	var asJSON bool
	var when time.Time
	cmd := &cobra.Command{
		Use:   "can USER ROLE",
		Short: "Say whether and why a user may ask for a role",
		Long: `Say whether a user may ask for a role, now or at another time, why, and what it
takes. Of another time too it says what comes of what is granted now. It ends
with 0 if they may ask, even if somebody must approve, and with 3 if not.`,
		Example: "  starback can alice prod-readonly --at 2027-06-30",
		Args:    takes("USER", "ROLE"), ValidArgsFunction: p.completeArgs("USER", "ROLE"),
	}
	cmd.Flags().StringVar(&at, "at", "", "another time than now: a date, of which it is the beginning in UTC, an RFC 3339 time, or how long from now (7d)")
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonUsage)
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		when, err = p.parseAt(at)
		return err
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		user, role := policy.UserName(args[0]), policy.RoleName(args[1])
		x, err := a.Can(ctx, user, role, when)
		if err != nil {
			return err
		}
		if asJSON {
			writeJSON(p.stdout, viewExplanation(user, role, when, x))
		} else {
			p.printExplanation(user, role, x)
		}
		if x.Effect == policy.Deny {
			return status(exitDenied)
		}
		return nil
	})
}

// parseAt reads the moment that a question is about: now, if it does not say.
func (p *program) parseAt(s string) (time.Time, error) {
	if s == "" {
		return p.now(), nil
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day, nil
	}
	when, err := broker.ParseWhen(s)
	if err != nil {
		return time.Time{}, usageError{fmt.Errorf("--at: %q is not a date such as 2027-06-30, an RFC 3339 time, or a length of time such as 7d", s)}
	}
	if when.For > 0 {
		return p.now().Add(when.For), nil
	}
	return when.At, nil
}

func viewExplanation(user policy.UserName, role policy.RoleName, at time.Time, x broker.Access) explanationView {
	v := explanationView{
		User: user, Role: role, At: at.UTC(), Decision: x.Effect.String(), Rule: x.Rule, Reason: x.Reason, Path: strings.Join(x.Path, " "),
		Since: x.Since, Expires: x.Expires, Needs: append([]string{}, x.Needs...), LongestSeconds: int(x.Longest / time.Second), Routes: []routeView{},
	}
	for _, r := range x.Routes {
		v.Routes = append(v.Routes, routeView{r.PathString(), r.Via, r.Granted, r.Expires, r.Expired})
	}
	return v
}

func (p *program) printExplanation(user policy.UserName, role policy.RoleName, x broker.Access) {
	var c card
	if x.Effect == policy.Deny {
		fmt.Fprintf(p.stdout, "%s may not ask for %s. %s (%s)\n", user, role, x.Reason, x.Rule)
		for _, need := range x.Needs {
			c.add("it takes", need)
		}
	} else {
		fmt.Fprintf(p.stdout, "%s may ask for %s. %s (%s)\n", user, role, x.Reason, x.Rule)
		c.add("because", strings.Join(x.Path, " "))
		c.add("since", moment(x.Since))
		c.add("until", end(x.Expires))
		c.add("for", fmt.Sprintf("%s at most", span(int(x.Longest/time.Second))))
		for _, need := range x.Needs {
			c.add("it takes", need)
		}
	}
	also := "also"
	if x.Effect == policy.Deny {
		also = "granted"
	}
	for _, r := range x.Routes {
		path, until := r.PathString(), ""
		if !r.Expires.IsZero() { // as it is where nobody answers for an application
			until = fmt.Sprintf(" (until %s)", end(r.Expires))
		}
		switch {
		case r.Expired:
			c.add("no more", path+until)
		case path != strings.Join(x.Path, " "):
			c.add(also, path+until)
		}
	}
	p.printCard(c)
}

// A holderView is one User who may ask for a role, as JSON.
type holderView struct {
	User          policy.UserName `json:"user"`
	Path          string          `json:"path"`
	Expires       time.Time       `json:"expires"` // when the authority ends
	NeedsApproval bool            `json:"needs_approval"`
}

func (p *program) whoCanCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "who-can ROLE", Short: "List who may ask for a role, and why", Example: "  starback who-can prod-admin",
		Args: takes("ROLE"), ValidArgsFunction: p.completeArgs("ROLE"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		holders, err := a.WhoCan(ctx, policy.RoleName(args[0]))
		if err != nil {
			return err
		}
		views, rows := []holderView{}, [][]string{}
		for _, h := range holders {
			v := holderView{h.User, strings.Join(h.Path, " "), h.Expires, h.NeedsApproval}
			views = append(views, v)
			rows = append(rows, []string{string(v.User), end(v.Expires), yesIf(v.NeedsApproval), v.Path})
		}
		switch {
		case *asJSON:
			writeJSON(p.stdout, views)
		case len(rows) == 0:
			fmt.Fprintf(p.stdout, "Nobody may ask for %s.\n", args[0])
		default:
			p.printTable([]string{"USER", "UNTIL", "APPROVAL", "BECAUSE"}, rows)
		}
		return nil
	})
}
