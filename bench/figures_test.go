// Package bench measures what Starback adds to what it cannot avoid: to AWS's
// and Slack's own time, to an SDK call, to a write that is synced to disk.
//
// Every figure is a ratio to a yardstick that is measured beside it, in the
// same run and in turn, so that it means the same on another machine. No test
// fails for being slow: what is asserted are the calls a request makes.
// docs/performance.md has the figures of one run and explains them.
package bench_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
)

var (
	full   = flag.Bool("figures", false, "measure the figures in full and print them; without, each once and briefly")
	update = flag.Bool("update", false, "write the figures to docs/performance.md and docs/performance.svg")
)

// An effort is how much is measured.
type effort struct {
	rounds int
	ops    int // operations a round, for those that take milliseconds or less
}

// all is every figure, in the order of the table.
var all = []struct {
	name    string
	measure func(testing.TB, effort) []figure
}{
	{"critical path", criticalPath},
	{"calls", counting},
	{"issuing", issuing},
	{"acknowledging", acknowledging},
	{"store", storing},
	{"policy", deciding},
}

// TestFigures measures every figure. Without -figures it only sees to it that
// each can be, and that the page explains them all.
func TestFigures(t *testing.T) {
	e := effort{rounds: 1, ops: 10}
	if *full {
		e = effort{rounds: 20, ops: 100}
	}
	if *update && !*full {
		t.Fatal("-update needs -figures")
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var figures []figure
	for _, group := range all {
		t.Run(group.name, func(t *testing.T) {
			for _, f := range group.measure(t, e) {
				if !(f.ratio > 0) || math.IsInf(f.ratio, 0) || f.rounds != e.rounds {
					t.Errorf("nothing was measured: %+v", f)
				}
				if !*update && !strings.Contains(string(text), "| "+f.name+" ") {
					t.Errorf("%s lacks %q: run with -figures -update", page, f.name)
				}
				figures = append(figures, f)
			}
		})
	}
	if !*full || t.Failed() {
		return
	}
	fmt.Printf("\n%s\n\n%s\n", machine(), table(figures))
	if *update {
		publish(t, string(text), figures)
	}
}

// machine says what the figures were measured on.
func machine() string {
	return fmt.Sprintf("Measured with %s on %d cores, %s/%s.", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
}

// Where the figures of one run are kept.
const (
	page    = "../docs/performance.md"
	picture = "../docs/performance.svg"
	begin   = "<!-- figures: written by go test ./bench -figures -update -->\n"
	end     = "<!-- end of figures -->"
)

// publish writes the table into text, which is the page's, and draws the
// picture beside it.
func publish(t *testing.T, text string, figures []figure) {
	t.Helper()
	before, rest, begins := strings.Cut(text, begin)
	_, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatalf("%s has no place for the figures", page)
	}
	text = before + begin + "\n" + machine() + "\n\n" + table(figures) + "\n" + end + after
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(picture, draw(figures), 0o644); err != nil {
		t.Fatal(err)
	}
}
