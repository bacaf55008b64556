package bench_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		q      float64
		want   float64
	}{
		{"of one value", []float64{7}, 0.99, 7},
		{"the median of an odd number", []float64{9, 1, 2}, 0.5, 2},
		{"the median of an even number", []float64{4, 1, 2, 3}, 0.5, 2.5},
		{"the lower quartile", []float64{5, 4, 3, 2, 1}, 0.25, 2},
		{"between two values", []float64{0, 10}, 0.75, 7.5},
		{"the greatest", []float64{3, 1, 2}, 1, 3},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

func TestCompareTakesTurns(t *testing.T) {
	var turns []string
	turn := func(who string) func() int {
		return func() int { turns = append(turns, who); return len(turns) }
	}
	got := compare(3, turn("ours"), turn("yardstick"))
	if diff := cmp.Diff([]string{"ours", "yardstick", "yardstick", "ours", "ours", "yardstick"}, turns); diff != "" {
		t.Error(diff)
	}
	if want := []pair[int]{{1, 2}, {4, 3}, {5, 6}}; !slices.Equal(got, want) {
		t.Errorf("measured %v, want %v", got, want)
	}
}

func TestTable(t *testing.T) {
	pairs := []pair[cost]{
		{cost{wall: 1 * time.Millisecond}, cost{wall: 2 * time.Millisecond}},
		{cost{wall: 3 * time.Millisecond}, cost{wall: 2 * time.Millisecond}},
		{cost{wall: 800 * time.Microsecond}, cost{wall: 1 * time.Microsecond}},
	}
	got := table([]figure{newFigure("slow ÷ fast", pairs, wall, millis), newFigure("again", pairs, wall, rate)})
	const want = `
| figure      | Starback | yardstick | ratio | middle half | rounds |
|-------------|---------:|----------:|------:|------------:|-------:|
| slow ÷ fast |   1.0 ms |    2.0 ms |  1.50 |    1.00–401 |      3 |
| again       |  1,000/s |     500/s |  1.50 |    1.00–401 |      3 |
`
	if diff := cmp.Diff(want[1:], got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestThousands(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 999.4: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(x); got != want {
			t.Errorf("%g: %q, want %q", x, got, want)
		}
	}
}

// TestPicture checks that the picture is whole, and that its bars lie where
// their ratios are on a logarithmic scale.
func TestPicture(t *testing.T) {
	figures := []figure{
		{name: "half", ratio: 0.5, low: 0.4, high: 0.6},
		{name: "twice & <more>", ratio: 2, low: 1.9, high: 2.1},
		{name: "four times", ratio: 4, low: 3, high: 5},
	}
	svg := draw(figures)
	if !bytes.Equal(svg, draw(figures)) {
		t.Error("the same figures are drawn differently")
	}
	var bars []bar
	var texts []string
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if b := barOf(t, token); b.width > 0 {
				bars = append(bars, b)
			}
		case xml.CharData:
			texts = append(texts, string(token))
		}
	}
	if len(bars) != len(figures) {
		t.Fatalf("%d bars for %d figures", len(bars), len(figures))
	}
	half, twice, four := bars[0], bars[1], bars[2]
	near := func(a, b float64) bool { return math.Abs(a-b) < 0.25 } // of a pixel
	if !near(half.x+half.width, twice.x) || !near(twice.x, four.x) {
		t.Errorf("the bars do not meet where the ratio is 1: %+v", bars)
	}
	if !near(half.width, twice.width) || !near(four.width, 2*twice.width) {
		t.Errorf("the bars are not as long as their logarithms: %+v", bars)
	}
	for _, f := range figures {
		if !slices.Contains(texts, f.name) || !slices.Contains(texts, ratioText(f.ratio)) {
			t.Errorf("%q or its ratio is not in the picture", f.name)
		}
	}
}

// A bar is a rectangle of the picture, but for its background.
type bar struct{ x, width float64 }

// barOf returns the bar that an element is; a zero bar if it is none.
func barOf(t *testing.T, e xml.StartElement) bar {
	t.Helper()
	at := map[string]string{}
	for _, a := range e.Attr {
		at[a.Name.Local] = a.Value
	}
	if e.Name.Local != "rect" || at["x"] == "" {
		return bar{}
	}
	x, err := strconv.ParseFloat(at["x"], 64)
	width, err2 := strconv.ParseFloat(at["width"], 64)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return bar{x, width}
}
