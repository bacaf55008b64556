package bench_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pair is what one round measured.
type pair[T any] struct{ ours, yardstick T }

// compare measures Starback and its yardstick in turn, so many rounds, each of
// them first every other time: whatever the machine does meanwhile, it does to
// both.
func compare[T any](rounds int, ours, yardstick func() T) []pair[T] {
	pairs := make([]pair[T], rounds)
	for i := range pairs {
		if i%2 == 0 {
			pairs[i].ours = ours()
			pairs[i].yardstick = yardstick()
		} else {
			pairs[i].yardstick = yardstick()
			pairs[i].ours = ours()
		}
	}
	return pairs
}

// A cost is what one operation took.
type cost struct {
	wall time.Duration
	cpu  time.Duration // of the whole process, on all cores
}

// measure returns the mean cost of ops operations. It clears away garbage
// first, so that nobody pays for what was measured before.
func measure(t testing.TB, ops int, op func()) cost {
	t.Helper()
	runtime.GC()
	began, worked := time.Now(), processorTime(t)
	for range ops {
		op()
	}
	n := time.Duration(ops)
	return cost{wall: time.Since(began) / n, cpu: (processorTime(t) - worked) / n}
}

// measureMedian returns the wall time that the median of ops operations took.
func measureMedian(ops int, op func()) time.Duration {
	runtime.GC()
	took := make([]float64, ops)
	for i := range took {
		began := time.Now()
		op()
		took[i] = time.Since(began).Seconds()
	}
	return time.Duration(quantile(took, 0.5) * float64(time.Second))
}

// processorTime is what the process has used so far.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A figure is one ratio: what something costs in Starback over what its
// yardstick costs. Less is better.
type figure struct {
	name            string
	ours, yardstick string  // medians, with their units
	ratio           float64 // median of the rounds' ratios
	low, high       float64 // their quartiles
	rounds          int
}

// newFigure makes a figure of one aspect of what was measured. Show writes a
// median down.
func newFigure[T any](name string, pairs []pair[T], aspect func(T) float64, show func(float64) string) figure {
	var ours, yardstick, ratios []float64
	for _, p := range pairs {
		o, y := aspect(p.ours), aspect(p.yardstick)
		ours, yardstick, ratios = append(ours, o), append(yardstick, y), append(ratios, o/y)
	}
	return figure{
		name: name, ours: show(quantile(ours, 0.5)), yardstick: show(quantile(yardstick, 0.5)),
		ratio: quantile(ratios, 0.5), low: quantile(ratios, 0.25), high: quantile(ratios, 0.75), rounds: len(pairs),
	}
}

// Aspects of a cost, in seconds.
func wall(c cost) float64 { return c.wall.Seconds() }
func cpu(c cost) float64  { return c.cpu.Seconds() }

// Ways of writing seconds down.
func millis(s float64) string  { return fmt.Sprintf("%.1f ms", s*1e3) }
func micros(s float64) string  { return fmt.Sprintf("%.2f µs", s*1e6) }
func rate(s float64) string    { return thousands(1/s) + "/s" }
func perCore(s float64) string { return thousands(1/s) + "/s a core" }

// thousands writes a number down whole, with its thousands apart.
func thousands(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// quantile returns the q-quantile of values, between the two nearest of them
// in proportion. There must be one.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below, rest := math.Modf(at)
	i := int(below)
	if rest == 0 {
		return sorted[i]
	}
	return sorted[i] + rest*(sorted[i+1]-sorted[i])
}

// ratioText writes a ratio down with three digits that count.
func ratioText(r float64) string {
	switch {
	case r < 10:
		return fmt.Sprintf("%.2f", r)
	case r < 100:
		return fmt.Sprintf("%.1f", r)
	default:
		return fmt.Sprintf("%.0f", r)
	}
}

// table writes figures down as a table in Markdown that also reads well as
// plain text.
func table(figures []figure) string {
	rows := [][]string{{"figure", "Starback", "yardstick", "ratio", "middle half", "rounds"}}
	for _, f := range figures {
		rows = append(rows, []string{
			f.name, f.ours, f.yardstick, ratioText(f.ratio), ratioText(f.low) + "–" + ratioText(f.high), fmt.Sprint(f.rounds),
		})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
			} else {
				fmt.Fprintf(&b, "| %*s ", widths[i], cell)
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		b.WriteString("|" + strings.Repeat("-", widths[0]+2))
		for _, width := range widths[1:] {
			b.WriteString("|" + strings.Repeat("-", width+1) + ":")
		}
		b.WriteString("|\n")
	}
	return b.String()
}
