package main

import (
	"fmt"
	"strings"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// mostNames is how many names one line on people lists.
const mostNames = 10

// printPlan says what an apply changes, and what that means.
func (p *program) printPlan(plan *broker.Plan) {
	if !plan.Changes() {
		fmt.Fprintf(p.stdout, "Nothing changes: the policy is at version %d and says this already.\n", plan.PolicyVersion)
		return
	}
	if plan.PolicyChanged {
		fmt.Fprintf(p.stdout, "The policy becomes version %d.\n", plan.PolicyVersion)
	} else {
		fmt.Fprintf(p.stdout, "The policy stays at version %d.\n", plan.PolicyVersion)
	}
	p.printDifferences(plan.Policy)
	p.printUserChanges(plan.Users)
	if lines := plan.Impact.Lines(mostNames); len(lines) > 0 {
		fmt.Fprintln(p.stdout, "\nWhat it means for people:")
		for _, line := range lines {
			fmt.Fprintln(p.stdout, "  "+line)
		}
	}
	if plan.Soon.Losing > plan.Impact.Losing {
		fmt.Fprintln(p.stdout, "\nIn 7 days, besides what ends by itself:")
		for _, line := range plan.Soon.Lines(mostNames) {
			fmt.Fprintln(p.stdout, "  "+line)
		}
	}
	if plan.Loud != "" {
		fmt.Fprintln(p.stdout, "\nEverybody is told: "+printable(plan.Loud))
	}
	if plan.Lacking != nil {
		p.printLacking(plan.Lacking)
	}
}

// printLacking says what a file lacks that commands have changed.
func (p *program) printLacking(l *broker.Lacking) {
	fmt.Fprintln(p.stdout, "\nCommands have changed this, and the file lacks it:")
	p.printDifferences(l.Policy)
	for _, u := range l.Users {
		fmt.Fprintf(p.stdout, "  user %s: %s\n", u.Name, u.Detail)
	}
	fmt.Fprintf(p.stdout, "\nTo keep it, merge into the file:\n\n%s", l.YAML)
}

// printDifferences prints Differences under the sections of a policy file.
func (p *program) printDifferences(differences []policy.Difference) {
	section := ""
	for _, d := range differences {
		if d.Path[0] != section {
			section = d.Path[0]
			fmt.Fprintln(p.stdout, "\n"+section+":")
		}
		line := differenceWords(d)
		if d.Weakens {
			line += "  (weaker)"
		}
		p.printSigned(signOf(d.Kind), line)
	}
}

// differenceWords is a Difference without what its section and its sign say.
func differenceWords(d policy.Difference) string {
	line := strings.TrimPrefix(d.String(), d.Path[0]+".")
	switch d.Kind {
	case policy.Added:
		return strings.Replace(strings.TrimSuffix(line, ": added"), ": added, ", ": ", 1)
	case policy.Removed:
		return strings.Replace(strings.TrimSuffix(line, ": removed"), ": removed, was ", ": ", 1)
	default:
		return line
	}
}

func (p *program) printUserChanges(changes []broker.UserChange) {
	if len(changes) > 0 {
		fmt.Fprintln(p.stdout, "\nusers:")
	}
	for _, u := range changes {
		sign := changedSign
		switch u.Event {
		case broker.EventUserCreated:
			sign = addedSign
		case broker.EventUserDisabled:
			sign = removedSign
		}
		p.printSigned(sign, fmt.Sprintf("%s: %s", u.Name, u.Detail))
	}
}

// A sign says what became of a line, in a character and a colour.
type sign struct{ mark, colour string }

var (
	addedSign   = sign{"+", green}
	removedSign = sign{"-", red}
	changedSign = sign{"~", yellow}
)

func signOf(k policy.Kind) sign {
	switch k {
	case policy.Added:
		return addedSign
	case policy.Removed:
		return removedSign
	default:
		return changedSign
	}
}

func (p *program) printSigned(s sign, line string) {
	line = "  " + s.mark + " " + printable(line)
	if p.colours() {
		line = s.colour + line + plain
	}
	fmt.Fprintln(p.stdout, line)
}
