package bot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/sandbox"
)

// TestUserGroupsAreCalled calls a user group of Slack's in place of approvers:
// in the message, in a reminder and when a request escalates. Who may answer is
// Starback's to say all the same.
func TestUserGroupsAreCalled(t *testing.T) {
	w := newApprovalWorld(t)
	w.AddUserGroup(sandbox.SlackUserGroup{ID: "S0LEADS", Handle: "sre-leads"})
	grouped := strings.Replace(approvalPolicy, "leads: {grants: [one]}", "leads: {grants: [one], slack_group: S0LEADS}", 1)
	w.apply(grouped)
	w.asksFor(t, "rising 1h x")
	has(t, w.shows(w.post(t)), "To answer: @sre-leads [ Approve ]")
	w.votes(t, "U3", "approve") // who may be in the user group, and is nobody to Starback
	has(t, w.shows(w.post(t)), "0 of 2 approvals so far")
	w.clock.add(15 * time.Minute)
	w.passOn(t)
	has(t, w.thread(t), "⏰ alice still waits for an answer on rising in prod (111122223333) for 1h. 0 of 2 approvals so far. It lapses today at 2:00 PM. To answer: @sre-leads")
	w.clock.add(25 * time.Minute)
	w.passOn(t)
	has(t, w.thread(t), "⏫ Escalated to platform: alice still waits for an answer on rising in prod (111122223333) for 1h. 0 of 2 approvals so far. It lapses today at 2:00 PM. To answer: @sre-leads @bob")
	w.votes(t, "U4", "approve")
	has(t, w.shows(w.post(t)), "1 of 2 approvals so far, by lea.", "To answer: @sre-leads @bob")
}

// TestUserGroupThatIsNone posts a request all the same where Slack has no such
// user group.
func TestUserGroupThatIsNone(t *testing.T) {
	w := newApprovalWorld(t)
	w.apply(strings.Replace(approvalPolicy, "leads: {grants: [one]}", "leads: {grants: [one], slack_group: S0GONE}", 1))
	w.asksFor(t, "two 1h x")
	has(t, w.shows(w.post(t)), "To answer: @S0GONE", "[ Approve ]")
}
