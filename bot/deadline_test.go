package bot

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slack-go/slack/socketmode"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A lag is how long a neighbour takes for its work. One that loses its answer
// has done the work at once.
type lag struct {
	after time.Duration
	lost  bool
}

var (
	prompt = lag{}
	slow   = lag{after: 700 * time.Millisecond}
	tardy  = lag{after: 1900 * time.Millisecond}
	silent = lag{after: time.Hour}
	lost   = lag{after: time.Hour, lost: true}
)

func (l lag) String() string {
	if l.lost {
		return "lost"
	}
	return l.after.String()
}

// do does the work of a call, which ends with ctx.
func (l lag) do(ctx context.Context, work func()) error {
	if l.lost {
		work()
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ctx.Err(), broker.ErrUnavailable)
	case <-time.After(l.after):
	}
	if !l.lost {
		work()
	}
	return nil
}

// behind is how what is behind the Front lags.
type behind struct {
	store, opens, updates, jobs lag  // opens and updates: of modals, by Slack
	stranger                    bool // who asks, to Starback
	paces                       lag  // of the store, when a Pace is read
}

// A laggard is a desk with such neighbours. It is all of them.
type laggard struct {
	desk
	behind
	shown string // the modal that Slack shows
}

func newLaggard(t *testing.T, b behind) *laggard {
	t.Helper()
	d := &laggard{desk: newDesk(t), behind: b}
	d.Queue, d.View = d, &broker.View{Reader: d, Now: d.Now}
	d.Views = NewClient(broker.NewSecret("xoxb-of-nobody"), "http://slack.test/api/", "", &http.Client{Transport: d})
	return d
}

// Enqueue implements broker.Queue.
func (d *laggard) Enqueue(ctx context.Context, j broker.Job) error {
	return d.jobs.do(ctx, func() { d.queue.jobs[j.ID] = j })
}

// Identify implements broker.Reader. Alice may ask for a role and approve it.
func (d *laggard) Identify(ctx context.Context, id broker.SlackID) (facts broker.Facts, err error) {
	err = d.store.do(ctx, func() {
		if d.stranger {
			return
		}
		role, groups := readonly(), []policy.GroupName{"dev", "leads"}
		role.Approval = &policy.Approval{By: []policy.GroupName{"leads"}, Count: 1}
		facts.Identity = broker.Identity{Slack: id, User: "alice", UserID: "ALICE", Standing: broker.Active, Version: 1}
		facts.User = broker.User{ID: "ALICE", Name: "alice", Enabled: true, Slack: id, Expires: noon.AddDate(1, 0, 0), Groups: groups}
		facts.Policy = &policy.Document{
			Groups: map[policy.GroupName]policy.Group{"dev": {Name: "dev", Grants: []policy.Grant{{Role: role.Name}}}, "leads": {Name: "leads"}},
			Roles:  map[policy.RoleName]*policy.Role{role.Name: role},
		}
	})
	return facts, err
}

// Request implements broker.Reader. It is Bob's, from Alice's account, and waits.
func (d *laggard) Request(ctx context.Context, id string) (r broker.Request, err error) {
	err = d.store.do(ctx, func() {
		r = broker.Request{
			ID: id, Slack: alice, State: broker.StatePending, UserID: "BOB", User: "bob", Role: "prod-readonly", Duration: time.Hour,
			Needs: &policy.Approval{By: []policy.GroupName{"leads"}, Count: 1},
		}
	})
	return r, err
}

// Pace implements broker.Reader.
func (d *laggard) Pace(ctx context.Context, role policy.RoleName) (p broker.Pace, err error) {
	err = d.paces.do(ctx, func() {
		p.Role = role
		for i := range 3 {
			p.Answers = append(p.Answers, broker.PaceAnswer{RequestID: fmt.Sprint("REQ", i), At: noon, Took: 6 * time.Minute})
		}
	})
	return p, err
}

// RoundTrip implements http.RoundTripper, as Slack.
func (d *laggard) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	how := d.updates
	if strings.HasSuffix(r.URL.Path, "/views.open") {
		how = d.opens
	}
	if err := how.do(r.Context(), func() { d.shown = string(sent) }); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	_, _ = io.WriteString(w, `{"ok":true,"view":{"id":"V1","hash":"2"}}`)
	return w.Result(), nil
}

// asks are what somebody may do in Slack, and what Slack tells by itself.
var asks = map[string]func(*laggard) *http.Request{
	"a command":        func(*laggard) *http.Request { return slashed() },
	"a bare command":   func(*laggard) *http.Request { return slashed("text", "") },
	"a command's role": func(*laggard) *http.Request { return slashed("text", "role") },
	"help":             func(*laggard) *http.Request { return slashed("text", "help") },
	"another team":     func(*laggard) *http.Request { return slashed("team_id", "T999ZZ") },
	"a shortcut":       func(*laggard) *http.Request { return acts(`"type":"shortcut","callback_id":"request_access"`) },
	"a message shortcut": func(*laggard) *http.Request {
		return acts(`"type":"message_action","callback_id":"request_access_message"`)
	},
	"typing": func(*laggard) *http.Request {
		return acts(`"type":"block_suggestion","action_id":"role","value":"prod","view":{"id":"V1","callback_id":"request_form"}`)
	},
	"a choice": func(*laggard) *http.Request {
		return acts(`"type":"block_actions","actions":[{"action_id":"role"}],"view":` + filled(""))
	},
	"a form":          func(*laggard) *http.Request { return acts(`"type":"view_submission","view":` + filled("1h")) },
	"a form too soon": func(*laggard) *http.Request { return acts(`"type":"view_submission","view":` + filled("")) },
	"a closed form":   func(*laggard) *http.Request { return acts(`"type":"view_closed","view":` + filled("")) },
	"a button":        func(*laggard) *http.Request { return click("T012AB") },
	"an outsider":     func(*laggard) *http.Request { return click("TOTHER") },
	"a no":            func(*laggard) *http.Request { return click("T012AB", "shell:fish", "deny") },
	"a no's reason": func(d *laggard) *http.Request {
		packed, err := d.Sealer.pack(work{Kind: workButton, Caller: alice, Key: "1.2.abc", Received: noon, Action: actionDeny, Value: "REQ"})
		if err != nil {
			panic(err) // it always seals
		}
		return submission("T012AB", `"private_metadata":"x"`, fmt.Sprintf(`"private_metadata":%q`, packed))
	},
	"again": func(*laggard) *http.Request { return click("T012AB", "shell:fish", "ask_again") },
	"again in a modal": func(*laggard) *http.Request {
		return acts(`"type":"block_actions","actions":[{"action_id":"ask_again","value":"REQ"}],"view":{"id":"V1","hash":"1"}`)
	},
	"news of a user": func(*laggard) *http.Request { return changed() },
	"a challenge": func(*laggard) *http.Request {
		return signed(PathEvents, "application/json", `{"type":"url_verification","challenge":"xyz"}`)
	},
}

// acts is an interaction of Alice's with these fields.
func acts(fields string) *http.Request {
	return clicked(`{"team":{"id":"T012AB"},"user":{"id":"U0456","team_id":"T012AB"},"trigger_id":"1.2.abc",` + fields + `}`)
}

// filled is the form with a role, and a duration if it shows one.
func filled(duration string) string {
	values := `"role":{"role":{"selected_option":{"value":"prod-readonly"}}}`
	if duration != "" {
		values += `,"duration:prod-readonly":{"input":{"selected_option":{"value":"` + duration + `"}}},"reason":{"input":{}}`
	}
	return `{"id":"V1","hash":"1","callback_id":"request_form","state":{"values":{` + values + `}}}`
}

// answer has the laggard answer, and says after how long.
func (d *laggard) answer(ask string) (w *httptest.ResponseRecorder, took time.Duration) {
	r := asks[ask](d)
	began := time.Now()
	w = d.send(r)
	return w, time.Since(began)
}

// TestStalls says what Slack is answered, and when, where everything behind the
// Front stalls, or some of it does.
func TestStalls(t *testing.T) {
	everything := behind{store: silent, opens: silent, updates: silent, jobs: silent}
	const notTaken, working = "Starback could not take your command for certain", "Working on it…"
	for _, tt := range []struct {
		ask    string
		behind behind
		took   time.Duration
		status int
		says   string // in the answer; else it is empty
		shows  string // in a modal; else there is none
	}{
		{"a command", everything, 2 * time.Second, 200, notTaken, ""},
		{"a bare command", everything, AnswerWithin, 200, notTaken, ""},
		{"a command's role", everything, AnswerWithin, 200, notTaken, ""},
		{"help", everything, 0, 200, "short-term AWS credentials", ""},
		{"another team", everything, 0, 200, "does not serve your workspace", ""},
		{"a shortcut", everything, AnswerWithin, 503, "", ""},
		{"a message shortcut", everything, AnswerWithin, 503, "", ""},
		{"typing", everything, AnswerWithin, 503, "", ""},
		{"a choice", everything, AnswerWithin, 503, "", ""},
		{"a form", everything, AnswerWithin, 200, "Starback could not take your request for certain. Press Request again.", ""},
		{"a form too soon", everything, formBudget, 200, "Starback cannot look that role up at the moment.", ""},
		{"a closed form", everything, 0, 200, "", ""},
		{"a button", everything, ackBudget, 503, "", ""},
		{"an outsider", everything, ackBudget, 503, "", ""},
		{"a no", everything, ackBudget, 503, "", ""},
		{"a no's reason", everything, ackBudget, 503, "", ""},
		{"again", everything, AnswerWithin, 503, "", ""},
		{"news of a user", everything, ackBudget, 503, "", ""},
		{"a challenge", everything, 0, 200, `{"challenge":"xyz"}`, ""},

		{"a bare command", behind{}, 0, 200, "", "request_form"},
		{"a bare command", behind{store: silent}, formBudget, 200, "", ""}, // carried out as it is
		{"a bare command", behind{opens: silent}, formBudget, 200, "", ""},
		{"a bare command", behind{opens: silent, jobs: silent}, AnswerWithin, 200, notTaken, ""},
		{"a bare command", behind{stranger: true}, 0, 200, "", working},
		{"a bare command", behind{stranger: true, jobs: silent}, ackBudget, 200, "", notTaken},
		{"a bare command", behind{stranger: true, jobs: lost}, ackBudget, 200, "", notTaken},
		{"a bare command", behind{stranger: true, store: slow, opens: slow, jobs: silent}, AnswerWithin - tellBudget, 200, "", notTaken},
		{"a bare command", behind{stranger: true, store: slow, opens: slow, jobs: silent, updates: silent}, AnswerWithin, 200, notTaken, working},
		{"a shortcut", behind{store: silent}, formBudget, 200, "", "Starback cannot reach its store"},
		{"a shortcut", behind{opens: silent}, AnswerWithin, 503, "", ""},
		{"a shortcut", behind{stranger: true, opens: silent}, formBudget, 503, "", ""},
		{"a shortcut", behind{stranger: true, store: slow, opens: slow, jobs: silent}, AnswerWithin - tellBudget, 200, "", notTaken},
		{"a shortcut", behind{stranger: true, jobs: silent, updates: silent}, AnswerWithin, 503, "", working},
		{"typing", behind{store: tardy}, tardy.after, 200, "prod-readonly", ""},
		{"a choice", behind{updates: silent}, AnswerWithin, 503, "", ""},
		{"a bare command", behind{}, 0, 200, "", "usually answered in 6 min"},
		{"a bare command", behind{paces: silent}, paceBudget, 200, "", "from `leads`."},
		{"a bare command", behind{store: slow, paces: silent, opens: silent, jobs: silent}, AnswerWithin, 200, notTaken, ""},
		{"a shortcut", behind{paces: silent}, paceBudget, 200, "", "from `leads`."},
		{"a choice", behind{paces: silent}, paceBudget, 200, "", "from `leads`."},
		{"again", behind{}, 0, 200, "", "request_form"},
		{"again", behind{paces: silent}, paceBudget, 200, "", "from `leads`."},
		{"again", behind{store: silent}, formBudget, 200, "", ""}, // a Worker says how to
		{"again", behind{opens: silent}, formBudget, 200, "", ""},
		{"again", behind{stranger: true}, 0, 200, "", ""},
		{"again in a modal", behind{}, 0, 200, "", "request_form"},
		{"again in a modal", behind{updates: silent}, formBudget, 200, "", ""}, // a Worker says how to
		{"a form too soon", behind{paces: silent}, paceBudget, 200, "from `leads`.", ""},
		{"a form", behind{store: silent}, formBudget, 200, working, ""},
		{"a form", behind{jobs: lost}, ackBudget, 200, "for certain. Press Request again.", ""},
		{"a no", behind{store: slow}, 2 * slow.after, 200, "", "deny_form"},
		{"a no", behind{store: slow, opens: silent}, ackBudget, 503, "", ""},
		{"a no", behind{store: slow, stranger: true, jobs: silent}, AnswerWithin, 503, "", ""},
	} {
		t.Run(fmt.Sprintf("%s %+v", tt.ask, tt.behind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newLaggard(t, tt.behind)
				w, took := d.answer(tt.ask)
				said := w.Body.String()
				if w.Code != tt.status || took != tt.took || !strings.Contains(said, tt.says) || (tt.says == "") != (said == "") {
					t.Errorf("answered %d %q after %s, want %d %q after %s\n%s", w.Code, said, took, tt.status, tt.says, tt.took, d.log)
				}
				if !strings.Contains(d.shown, tt.shows) || (tt.shows == "") != (d.shown == "") {
					t.Errorf("Slack shows %q, want %q", d.shown, tt.shows)
				}
			})
		})
	}
}

// TestWhateverLags holds that Slack has its answer in time, and that nobody is
// left without one: either something is queued or shown, or they are told, or
// Slack tells them.
func TestWhateverLags(t *testing.T) {
	for _, ask := range []string{"a command", "a bare command", "a shortcut", "typing", "a choice", "a form", "a no", "again", "again in a modal"} {
		t.Run(ask, func(t *testing.T) {
			t.Parallel()
			for _, b := range everyLag() {
				synctest.Test(t, func(t *testing.T) {
					d := newLaggard(t, b)
					w, took := d.answer(ask)
					said := w.Body.String()
					if took > AnswerWithin {
						t.Errorf("%+v: answered after %s", b, took)
					}
					drawn := d.shown != "" && !strings.Contains(d.shown, "Working on it")
					if w.Code == 200 && said == "" && !drawn && len(d.queue.jobs) == 0 {
						t.Errorf("%+v: nothing is done, and nobody is told\n%s", b, d.log)
					}
					if strings.Contains(said, "Working on it") && len(d.queue.jobs) == 0 {
						t.Errorf("%+v: nothing is queued, and %s is said", b, said)
					}
				})
			}
		})
	}
}

// everyLag is every way in which what is behind the Front may lag.
func everyLag() (all []behind) {
	for _, store := range []lag{prompt, slow, silent} {
		for _, opens := range []lag{prompt, slow, silent, lost} {
			for _, updates := range []lag{prompt, silent} {
				for _, jobs := range []lag{prompt, tardy, silent, lost} {
					all = append(all, behind{store, opens, updates, jobs, false, store}, behind{store, opens, updates, jobs, true, store})
				}
			}
		}
	}
	return all
}

// TestSlowBody holds that a request came in when its header did.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLaggard(t, behind{jobs: silent})
		began := time.Now()
		r := with(slashed(), func(r *http.Request) {
			rest := r.Body
			r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
				time.Sleep(time.Until(began.Add(time.Second)))
				return rest.Read(p)
			}))
		})
		w := d.send(r)
		if took := time.Since(began); took != AnswerWithin || !strings.Contains(w.Body.String(), "could not take your command") {
			t.Errorf("answered %d %s after %s", w.Code, w.Body, took)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestHangUp holds that a modal which was opened is seen to even if Slack does
// not wait for the answer.
func TestHangUp(t *testing.T) {
	for _, jobs := range []lag{slow, silent} {
		synctest.Test(t, func(t *testing.T) {
			d := newLaggard(t, behind{jobs: jobs, stranger: true})
			ctx, hangUp := context.WithCancel(t.Context())
			time.AfterFunc(slow.after/2, hangUp)
			d.send(asks["a shortcut"](d).WithContext(ctx))
			if len(d.queue.jobs) == 0 && !strings.Contains(d.shown, "could not take your command") {
				t.Errorf("with a queue that takes %s, Slack shows %s", jobs, d.shown)
			}
		})
	}
}

// TestSocketDeadline holds that what comes over Socket Mode has no more time.
func TestSocketDeadline(t *testing.T) {
	for kind, payload := range map[socketmode.EventType]string{
		socketmode.EventTypeSlashCommand: `{"team_id":"T012AB","user_id":"U0456","trigger_id":"1.2.abc","text":""}`,
		socketmode.EventTypeInteractive:  `{"type":"shortcut","callback_id":"request_access","team":{"id":"T012AB"},"user":{"id":"U0456","team_id":"T012AB"},"trigger_id":"1.2.abc"}`,
	} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newLaggard(t, behind{store: silent, opens: silent, updates: silent, jobs: silent})
				began := time.Now()
				reply, err := (&Socket{front: d.Front}).handle(t.Context(), kind, []byte(payload))
				if took := time.Since(began); err != nil || took != AnswerWithin {
					t.Errorf("answered %+v, %v after %s", reply, err, took)
				}
			})
		})
	}
}

// TestDeadlineOfCaller holds that a request which came in earlier is answered
// earlier, and that one which Slack does not wait for any more queues nothing.
func TestDeadlineOfCaller(t *testing.T) {
	for _, left := range []time.Duration{300 * time.Millisecond, 0} {
		for ask := range asks {
			t.Run(fmt.Sprintf("%s %s", ask, left), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newLaggard(t, behind{store: silent, opens: silent, updates: silent, jobs: silent})
					ctx, stop := context.WithTimeout(t.Context(), left)
					defer stop()
					r, began := asks[ask](d), time.Now()
					body, _ := io.ReadAll(r.Body) // of a string
					d.Handle(ctx, Incoming{Path: r.URL.Path, Header: r.Header, Body: body})
					if took := time.Since(began); took > left || len(d.queue.jobs) != 0 {
						t.Errorf("answered after %s, with %d jobs", took, len(d.queue.jobs))
					}
				})
			})
		}
	}
}
