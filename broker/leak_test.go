package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

// Invariant 6: no secret in any log, Event, error, Notice or store, over a run
// of successes and of every failure. Every secret of the sandbox's is marked.
func TestNoSecretLeavesButInTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := map[string]string{} // where, and what was said there
	say := func(where string, err error) {
		for ; err != nil; err = errors.Unwrap(err) {
			seen[where] += fmt.Sprintf("%v\n%+v\n%#v\n%q\n", err, err, err, err)
		}
	}
	issue := func(name string) broker.Issued {
		got, err := w.Issue(t.Context(), w.ask(name, "readonly"))
		say("the error of "+name, err)
		say("the console's error of "+name, got.ConsoleErr)
		seen["the answer of "+name+", printed"] = fmt.Sprintf("%v %+v %#v", got, got, got)
		encoded, err := json.Marshal(got)
		if err != nil {
			t.Error(err)
		}
		seen["the answer of "+name+", encoded"] = string(encoded)
		return got
	}

	got := issue("a success")
	if !strings.Contains(got.Credentials.SecretKey.Reveal(), sandbox.Marker) || !strings.Contains(got.Credentials.SessionToken.Reveal(), sandbox.Marker) ||
		!strings.Contains(got.Console.Reveal(), sandbox.Marker) {
		t.Fatal("the secrets are not marked")
	}
	for _, action := range []string{"AssumeRole", "getSigninToken"} {
		for _, tt := range awsFaults {
			w.aws.SetFault(on(action, tt.fault))
			issue(action + " " + tt.name)
			w.advance(15 * time.Second) // the rate allows one more
		}
	}
	w.aws.SetFault(nil)
	again, err := w.IssueAgain(t.Context(), w.again("again", got.Request.ID))
	say("another session", err)
	w.tap.watch(nth("PutRequest", 2), nil)
	issue("an outcome that failed once")
	w.tap.watch(func(call string, n int) error {
		if call == "PutRequest" && n > 1 {
			return errDown
		}
		return nil
	}, nil)
	issue("an outcome that failed for good")
	w.tap.watch(nil, nil)
	w.minter.onAssume = func(context.Context, broker.Assumption) { w.advance(broker.LeaseFor) }
	issue("an attempt that was lost")
	w.minter.onAssume = nil
	if err := w.Undelivered(t.Context(), again); err != nil {
		t.Error(err)
	}
	for more := true; more; {
		if more, err = w.Due(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	seen["the journal"] = w.journal.String()
	for _, told := range w.teller.told {
		seen["a notice"] += fmt.Sprintf("%+v", told)
		encoded, err := json.Marshal(told)
		if err != nil {
			t.Error(err)
		}
		seen["a notice, encoded"] += string(encoded)
	}
	found, err := w.store.Events(t.Context(), broker.EventQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	seen["the events"] = fmt.Sprintf("%+v", found)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(w.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		seen["the store's file"+suffix] = string(b)
	}
	if !strings.Contains(seen["the store's file"]+seen["the store's file-wal"], got.Session.AccessKeyID) || !strings.Contains(seen["the journal"], got.Session.AccessKeyID) {
		t.Error("the access key id is not there: the search looks in the wrong place")
	}
	for where, text := range seen {
		if at := strings.Index(text, sandbox.Marker); at >= 0 {
			t.Errorf("a secret in %s: …%q…", where, text[max(0, at-80):min(len(text), at+40)])
		}
		if strings.Contains(text, "SigninToken=") {
			t.Errorf("a console link in %s", where)
		}
	}
}
