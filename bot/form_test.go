package bot

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
)

func TestDurations(t *testing.T) {
	for _, tt := range []struct {
		longest, usual, wanted time.Duration
		want                   string
		chosen                 string
	}{
		{8 * time.Hour, time.Hour, 0, "15m 30m 1h 2h 4h 8h", "1h"},
		{8 * time.Hour, time.Hour, 4 * time.Hour, "15m 30m 1h 2h 4h 8h", "4h"},
		{8 * time.Hour, time.Hour, 9 * time.Hour, "15m 30m 1h 2h 4h 8h", "1h"},
		{8 * time.Hour, time.Hour, time.Minute, "15m 30m 1h 2h 4h 8h", "1h"},
		{90 * time.Minute, 45 * time.Minute, 20 * time.Minute, "15m 20m 30m 45m 1h 1h30m", "20m"},
		{15 * time.Minute, 15 * time.Minute, 0, "15m", "15m"},
		{12 * time.Hour, 12 * time.Hour, 0, "15m 30m 1h 2h 4h 8h 12h", "12h"},
	} {
		role := readonly()
		role.MaxDuration, role.DefaultDuration = tt.longest, tt.usual
		v := formView(me(role), draft{role: role.Name, duration: tt.wanted}, 0)
		sent, err := json.Marshal(v.Blocks.BlockSet[2])
		if err != nil {
			t.Fatal(err)
		}
		var block struct {
			BlockID string `json:"block_id"`
			Element struct {
				Options []choice
				Initial choice `json:"initial_option"`
			}
		}
		if err := json.Unmarshal(sent, &block); err != nil {
			t.Fatal(err)
		}
		var values []string
		for _, o := range block.Element.Options {
			values = append(values, o.Value)
		}
		if got := strings.Join(values, " "); got != tt.want || block.Element.Initial.Value != tt.chosen || block.BlockID != "duration:prod-readonly" {
			t.Errorf("up to %s, %s wanted: %s offers %s, %s chosen; want %s, %s", tt.longest, tt.wanted, block.BlockID, got, block.Element.Initial.Value, tt.want, tt.chosen)
		}
	}
}

func TestDraftProblems(t *testing.T) {
	admin := draft{role: "prod-admin", duration: time.Hour, ticket: "INC-1", reason: "why"}
	with := func(change func(*draft)) draft {
		d := admin
		change(&d)
		return d
	}
	for name, tt := range map[string]struct {
		draft draft
		role  *policy.Role
		want  map[string]string // by block, part of what is said
	}{
		"nothing wrong":   {admin, strict(t), nil},
		"plain role":      {draft{role: "prod-readonly", duration: time.Hour}, readonly(), nil},
		"no such role":    {admin, nil, map[string]string{"role": "no such role"}},
		"too long":        {with(func(d *draft) { d.duration = 91 * time.Minute }), strict(t), map[string]string{"duration:prod-admin": "1h30m at most"}},
		"too short":       {with(func(d *draft) { d.duration = 14 * time.Minute }), strict(t), map[string]string{"duration:prod-admin": "less than 15 minutes"}},
		"no duration":     {with(func(d *draft) { d.duration = 0 }), strict(t), map[string]string{"duration:prod-admin": "less than 15 minutes"}},
		"no ticket":       {with(func(d *draft) { d.ticket = "" }), strict(t), map[string]string{"ticket": "[A-Z]+-[0-9]+"}},
		"bad ticket":      {with(func(d *draft) { d.ticket = "inc-1" }), strict(t), map[string]string{"ticket": "[A-Z]+-[0-9]+"}},
		"two tickets":     {with(func(d *draft) { d.ticket = "INC-1 INC-2" }), strict(t), map[string]string{"ticket": "[A-Z]+-[0-9]+"}},
		"reason as one":   {with(func(d *draft) { d.ticket, d.reason = "", "INC-1" }), strict(t), map[string]string{"ticket": "[A-Z]+-[0-9]+"}},
		"no reason":       {with(func(d *draft) { d.reason = "" }), strict(t), map[string]string{"reason": "needs a reason"}},
		"everything":      {draft{role: "prod-admin"}, strict(t), map[string]string{"duration:prod-admin": "", "ticket": "", "reason": ""}},
		"unasked for":     {draft{role: "prod-readonly", duration: time.Hour, ticket: "whatever it is"}, readonly(), nil},
		"longest allowed": {with(func(d *draft) { d.duration = 90 * time.Minute }), strict(t), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.draft.problems(tt.role)
			if len(got) != len(tt.want) {
				t.Fatalf("problems %q, want %q", got, tt.want)
			}
			for block, words := range tt.want {
				if said, ok := got[block]; !ok || !strings.Contains(said, words) {
					t.Errorf("%s: %q, want %q", block, said, words)
				}
			}
		})
	}
}

func TestDraftOf(t *testing.T) {
	for text, want := range map[string]draft{
		"prod-admin":                     {role: "prod-admin"},
		"prod-admin 1h":                  {role: "prod-admin", duration: time.Hour},
		"prod-admin 1h INC-1":            {role: "prod-admin", duration: time.Hour, ticket: "INC-1"},
		"prod-admin 1h the queue":        {role: "prod-admin", duration: time.Hour, reason: "the queue"},
		"prod-admin INC-1 the queue":     {role: "prod-admin", ticket: "INC-1", reason: "the queue"},
		"prod-admin 90m inc-1 the queue": {role: "prod-admin", duration: 90 * time.Minute, reason: "inc-1 the queue"},
	} {
		if got := draftOf(strict(t), parseCommand(text)); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

func TestPermalink(t *testing.T) {
	for payload, want := range map[string]string{
		`{"message_ts":"1763899200.000100","team":{"domain":"acme"},"channel":{"id":"C012AB"}}`:                 "https://acme.slack.com/archives/C012AB/p1763899200000100",
		`{"message_ts":"1763899200.000100","team":{"domain":"acme.enterprise"},"channel":{"id":"C012AB"}}`:      "https://acme.enterprise.slack.com/archives/C012AB/p1763899200000100",
		`{"team":{"domain":"acme"},"channel":{"id":"C012AB"}}`:                                                  "",
		`{"message_ts":"1763899200.000100","channel":{"id":"C012AB"}}`:                                          "",
		`{"message_ts":"1763899200.000100","team":{"domain":"acme"}}`:                                           "",
		`{"message_ts":"1763899200.000100","team":{"domain":"evil.example/#"},"channel":{"id":"C012AB"}}`:       "",
		`{"message_ts":"1763899200.000100","team":{"domain":"acme"},"channel":{"id":"C1/../../x"}}`:             "",
		`{"message_ts":"1763899200.0001 <!here>","team":{"domain":"acme"},"channel":{"id":"C012AB"}}`:           "",
		`{"message_ts":"1763899200.000100\n<!here>","team":{"domain":"acme"},"channel":{"id":"C012AB"}}`:        "",
		`{"message_ts":"99999999999999999999999.000100","team":{"domain":"acme"},"channel":{"id":"C012AB"}}`:    "",
		`{"message_ts":"1763899200.000100","team":{"domain":"acme"},"channel":{"id":"C012AB"},"type":"view_x"}`: "https://acme.slack.com/archives/C012AB/p1763899200000100",
	} {
		p, err := parseInteraction([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.permalink(); got != want {
			t.Errorf("%s\nlinks to %q, want %q", payload, got, want)
		}
	}
}

// offered returns the names of the roles in an answer to a suggestion, a line
// a group.
func offered(t testing.TB, body []byte) (lines []string, n int) {
	t.Helper()
	var answer struct {
		Options []choice
		Groups  []struct {
			Label   struct{ Text string }
			Options []choice
		} `json:"option_groups"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	if (answer.Options == nil) == (answer.Groups == nil) || len(answer.Options) > 0 {
		t.Fatalf("not an answer: %s", body)
	}
	for _, g := range answer.Groups {
		line := g.Label.Text + ":"
		for _, o := range g.Options {
			line += " " + o.Value
			n++
		}
		lines = append(lines, line)
	}
	return lines, n
}

func TestOptions(t *testing.T) {
	role := func(name policy.RoleName, account policy.AccountName, id string) *policy.Role {
		r := readonly()
		r.Name, r.Account, r.AccountID = name, account, id
		return r
	}
	roles := []*policy.Role{
		role("admin", "prod", "111122223333"), role("deploy", "staging", "222233334444"), role("prod-admin", "prod", "111122223333"),
		role("prod-readonly", "prod", "111122223333"), role("staging-admin", "staging", "222233334444"),
	}
	for typed, want := range map[string][]string{
		"":           {"prod (111122223333): admin prod-admin prod-readonly", "staging (222233334444): deploy staging-admin"},
		"prod":       {"prod (111122223333): prod-admin prod-readonly admin"},
		"  PROD-R  ": {"prod (111122223333): prod-readonly"},
		"admin":      {"prod (111122223333): admin prod-admin", "staging (222233334444): staging-admin"},
		"sta":        {"staging (222233334444): staging-admin deploy"},
		"2222333344": {"staging (222233334444): deploy staging-admin"},
		"(1111":      {"prod (111122223333): admin prod-admin prod-readonly"},
		"prod-redonly": {
			"prod (111122223333): prod-readonly",
		},
		"dpeloy":                        {"staging (222233334444): deploy"},
		"nothing like it":               nil,
		"\u202eprod-r":                  {"prod (111122223333): prod-readonly"},
		strings.Repeat("<!channel>", 9): nil,
	} {
		body, err := options(roles, typed)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := offered(t, body)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", typed, diff)
		}
	}
	if body, err := options(nil, ""); err != nil || string(body) != `{"options":[]}` {
		t.Errorf("no roles: %s, %v", body, err)
	}
}

// TestOptionsOfThousands offers, out of 10,000 roles with the longest names,
// the best ones, as many as Slack takes over either way.
func TestOptionsOfThousands(t *testing.T) {
	var roles []*policy.Role
	for i := range 10_000 {
		r := readonly()
		r.Name = policy.RoleName(longName(fmt.Sprintf("role-%05d-", i)))
		r.Account, r.AccountID = policy.AccountName(longName(fmt.Sprintf("account-%04d-", i%2500))), fmt.Sprintf("%012d", i%2500)
		roles = append(roles, r)
	}
	for typed, least := range map[string]int{"": 50, "role-0": 50, "0": 50, "role-07654": 1, "rloe": 0, "account-0042": 4, strings.Repeat("x", 3000): 0} {
		body, err := options(roles, typed)
		if err != nil {
			t.Fatal(err)
		}
		if _, n := offered(t, body); n < least || n > maxOptions || len(body) > maxOptionBytes {
			t.Errorf("%.20q is offered %d roles in %d bytes", typed, n, len(body))
		}
	}
	short := slices.Clone(roles)
	for i := range short {
		r := *short[i]
		r.Name, r.Account, r.AccountID = policy.RoleName(fmt.Sprintf("r%d", i)), "prod", "111122223333"
		short[i] = &r
	}
	for typed, want := range map[string]int{"": maxOptions, "r123": 11, "r1235q": 1} {
		body, err := options(short, typed)
		if err != nil {
			t.Fatal(err)
		}
		if _, n := offered(t, body); n != want {
			t.Errorf("%q is offered %d roles, want %d", typed, n, want)
		}
	}
}

func TestRoughly(t *testing.T) {
	for took, want := range map[time.Duration]string{
		time.Second:                    "less than a minute",
		time.Minute:                    "1 min",
		89 * time.Second:               "1 min",
		6*time.Minute + 31*time.Second: "7 min",
		89 * time.Minute:               "89 min",
		90 * time.Minute:               "2 h",
		2*time.Hour + 20*time.Minute:   "2 h",
		35*time.Hour + 59*time.Minute:  "36 h",
		36 * time.Hour:                 "2 days",
		6*24*time.Hour + 13*time.Hour:  "7 days",
		time.Minute - time.Millisecond: "less than a minute",
		90*time.Minute - time.Second:   "90 min",
		7 * 24 * time.Hour:             "7 days",
	} {
		if got := roughly(took); got != want {
			t.Errorf("%s is roughly %q, want %q", took, got, want)
		}
	}
}
