package policy

import (
	"maps"
	"slices"
	"strings"
)

// cycles reports the includes that lead back to where they came from: one
// finding for each step that closes a cycle.
func (c *checker) cycles() {
	w := walk{checker: c, depth: map[RoleName]int{}, done: map[RoleName]bool{}}
	for _, name := range slices.Sorted(maps.Keys(c.doc.Roles)) {
		w.visit(name)
	}
}

// A walk goes down the includes, depth first.
type walk struct {
	*checker
	stack []RoleName
	depth map[RoleName]int // of what is on the stack
	done  map[RoleName]bool
}

func (w *walk) visit(name RoleName) {
	role := w.doc.Roles[name]
	if role == nil || w.done[name] {
		return
	}
	w.depth[name] = len(w.stack)
	w.stack = append(w.stack, name)
	for _, next := range slices.Sorted(slices.Values(role.Includes)) {
		if depth, open := w.depth[next]; open {
			w.add([]string{"roles", string(name), "includes", string(next)}, hint("take one of these steps out"),
				"the includes form a cycle: %s", cycleText(w.stack[depth:]))
			continue
		}
		w.visit(next)
	}
	w.stack = w.stack[:len(w.stack)-1]
	delete(w.depth, name)
	w.done[name] = true
}

// cycleText writes a cycle from its first role back to it, leaving out what is
// past the first ten.
func cycleText(cycle []RoleName) string {
	var steps []string
	for i, name := range cycle {
		if i == 10 {
			steps = append(steps, "…")
			break
		}
		steps = append(steps, string(name))
	}
	return quote(strings.Join(append(steps, string(cycle[0])), " → "))
}
