package bot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// TestGoldenForm keeps every state of the request form: what is sent, and what
// a person sees.
func TestGoldenForm(t *testing.T) {
	two := me(readonly(), strict(t))
	many := make([]*policy.Role, maxOptions+1)
	for i := range many {
		many[i] = longest(t, fmt.Sprintf("role-%03d-", i))
	}
	full := draft{ticket: "INC-4711", reason: "looking at <!channel> & the *queue*"}
	views := map[string]slack.ModalViewRequest{
		"nothing-chosen": formView(two, draft{}, 0),
		"one-role":       formView(me(readonly()), draft{}, 0),
		"many-roles":     formView(me(many...), draft{}, 0),
		"at-once":        formView(two, draft{role: "prod-readonly", duration: 2 * time.Hour}, 0),
		"approval":       formView(two, draft{role: "prod-admin", reason: "checking"}, 0),
		"answered-soon":  formView(two, draft{role: "prod-admin"}, 6*time.Minute+20*time.Second),
		"filled-in":      formView(two, draft{role: "prod-admin", duration: 45 * time.Minute, ticket: full.ticket, reason: full.reason}, 0),
		"longest":        formView(me(many...), draft{role: many[7].Name, ticket: strings.Repeat("T", 2000), reason: strings.Repeat("🔥", 2000)}, 0),
		"role-gone":      formView(two, draft{role: "prod-`<!here>`", reason: "checking"}, 0),
		"no-roles":       firstView(me(), "", 0),
		"from-a-message": firstView(two, "https://acme.slack.com/archives/C012AB/p1763899200000100", 0),
		"working":        workingView(),
		"refused":        modal(explain(&broker.Refusal{RequestID: "0123456789ABCDEFGHJK", Decision: policy.Decision{Rule: policy.RuleUserExpired}}, command{})),
		"failed":         modal(explain(&broker.Fault{RequestID: "0123456789ABCDEFGHJK", Code: broker.FaultThrottled}, command{})),
	}
	waiting := openRequest("prod-admin")
	waiting.State, waiting.LapsesAt, waiting.Needs = broker.StatePending, noon.Add(time.Hour), strict(t).Approval
	views["waiting"] = modal(pendingMessage(&waiting, true))
	for _, shell := range broker.Shells {
		for size, i := range map[string]broker.Issued{
			"shortest": issued(readonly(), shell, 16, 0), "longest": issued(longest(t, "role-"), shell, 4096, 7000),
		} {
			m, err := credentialsMessage(i)
			if err != nil {
				t.Fatal(err)
			}
			views["credentials-"+string(shell)+"-"+size] = modal(m)
		}
	}
	for name, v := range views {
		t.Run(name, func(t *testing.T) { compareView(t, "form-"+name, v, nil) })
	}
	// What is wrong with a form, at its inputs.
	long := draft{role: "prod-admin", duration: 2 * time.Hour, ticket: "inc 4711"}
	for name, c := range map[string]struct {
		d    draft
		role *policy.Role
	}{
		"problems": {long, strict(t)}, "problems-role": {full, nil},
	} {
		t.Run(name, func(t *testing.T) { compareView(t, "form-"+name, formView(two, c.d, 0), c.d.problems(c.role)) })
	}
	carriedOut := openRequest("prod-admin")
	for name, at := range map[string]time.Time{"carried-out": noon, "carried-out-late": noon.Add(50 * time.Minute)} {
		t.Run(name, func(t *testing.T) { compare(t, "form-"+name, posted(t, carriedOutMessage(&carriedOut, at))) })
	}
	t.Run("carried-out-unknown", func(t *testing.T) {
		compare(t, "form-carried-out-unknown", posted(t, carriedOutMessage(&broker.Request{ID: carriedOut.ID}, noon)))
	})
}

// compareView checks a view, and keeps it and how it looks under name, with what
// is wrong with it at its inputs.
func compareView(t *testing.T, name string, v slack.ModalViewRequest, wrong map[string]string) {
	t.Helper()
	sent, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range sandbox.ValidateView(sent) {
		t.Error(problem)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, sent, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, name+".json", indented.Bytes())
	blocks, err := json.Marshal(v.Blocks)
	if err != nil {
		t.Fatal(err)
	}
	seen := sandbox.View{Title: v.Title.Text, Close: v.Close.Text, Blocks: blocks, Errors: wrong}
	if v.Submit != nil {
		seen.Submit = v.Submit.Text
	}
	golden(t, name+".txt", []byte(sandbox.ViewText(seen, shown)))
}
