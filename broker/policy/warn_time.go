package policy

// ended warns of grants and of users whose end has passed.
func (w *warner) ended(root *node) {
	for _, e := range root.under("groups") {
		w.endedGrants(e.value)
	}
	for _, e := range root.under("users") {
		if n := e.value.get("disabled"); n != nil && n.text == "true" {
			continue // has ended anyway
		}
		if n := e.value.get("expires"); w.past(n) {
			w.add(n.at, hint("set a later day, or disabled: true"), "the access of %s has ended already", quote(e.key))
			continue
		}
		w.endedGrants(e.value)
	}
}

// endedGrants does so for the grants of one group or user.
func (w *warner) endedGrants(of *node) {
	for _, grant := range texts(of.get("grants")) {
		if n := grant.get("until"); w.past(n) {
			w.add(n.at, hint("take it out, or set a later day"), "the grant of %s has ended already", quote(grant.get("role").text))
		}
	}
}

// past says whether n is an instant that has passed.
func (w *warner) past(n *node) bool {
	if n == nil || len(w.found) >= maxFindings {
		return false
	}
	t, err := parseInstant(n.text)
	return err == nil && !w.now.Before(t)
}
