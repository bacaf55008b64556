package policy

// MayAnswer says whether s may answer the Request that in is about, by rule: a
// person in one of the rule's groups, usable now, who is neither the requester
// nor answerable for them.
func MayAnswer(rule Approval, in Input, s Subject) bool { return mayAnswer(rule, in, s) }
