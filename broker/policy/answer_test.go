package policy_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
)

const approvedPolicy = `
version: 1
accounts: {prod: {id: "111122223333"}}
groups: {dev: {grants: [plain]}, leads: {}, nights: {}, platform: {}}
admins: [platform]
roles:
  plain: {account: prod, iam_role: Plain, max_duration: 1h}
  deploy: {account: prod, iam_role: Deploy, max_duration: 1h, approval: {by: [leads]}}
  prod-admin: {account: prod, iam_role: Admin, max_duration: 1h, approval: {by: [leads], escalate_to: [nights]}}
`

// TestApproves says for which roles somebody may answer, from the first or once
// they escalate.
func TestApproves(t *testing.T) {
	robot, disabled, expired := person("bot", "leads"), person("dis", "leads"), person("exp", "leads")
	robot.IsApp, robot.Owner, robot.OwnerEnabled, robot.OwnerExpires = true, "lea", true, noon.Add(time.Hour)
	disabled.Enabled = false
	expired.Expires = noon
	d := parse(t, approvedPolicy)
	for _, c := range []struct {
		name string
		who  policy.Subject
		want []policy.RoleName
	}{
		{"a lead", person("lea", "leads"), []policy.RoleName{"deploy", "prod-admin"}},
		{"somebody whom it escalates to", person("nat", "dev", "nights"), []policy.RoleName{"prod-admin"}},
		{"nobody's approver", person("dan", "dev", "platform"), nil},
		{"a member of a group that is gone", person("gus", "gone"), nil},
		{"an application", robot, nil},
		{"disabled", disabled, nil},
		{"expired", expired, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, policy.Approves(d, c.who, noon)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := policy.Approves(nil, person("lea", "leads"), noon); got != nil {
		t.Errorf("without a policy: %v", got)
	}
	for group, want := range map[policy.GroupName][]policy.RoleName{"leads": {"deploy", "prod-admin"}, "nights": {"prod-admin"}, "dev": nil, "gone": nil} {
		if diff := cmp.Diff(want, d.ApprovedBy(group)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", group, diff)
		}
	}
	if _, err := d.RemoveGroup("nights"); !errors.Is(err, policy.ErrMeaningless) || err.Error() != "the members of `nights` approve requests for prod-admin" {
		t.Errorf("removing a group that it escalates to: %v", err)
	}
}
