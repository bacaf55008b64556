package bench_test

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// The layout of the picture, in pixels.
const (
	pictureWidth = 820
	labelsWidth  = 440 // the names, on the left
	valuesWidth  = 60  // the ratios, on the right
	headHeight   = 46
	rowHeight    = 28
	barHeight    = 14
)

// draw returns an SVG of the figures: a bar from 1, the yardstick, to each
// ratio on a logarithmic scale, and a line over its middle half. It depends on
// the figures alone.
func draw(figures []figure) []byte {
	lowest, highest := 1.0, 1.0
	for _, f := range figures {
		lowest, highest = min(lowest, f.low), max(highest, f.high)
	}
	// Whole powers of two around everything, and more than one.
	from, to := math.Floor(math.Log2(lowest)), max(1, math.Ceil(math.Log2(highest)))
	x := func(ratio float64) float64 {
		return labelsWidth + (math.Log2(ratio)-from)/(to-from)*(pictureWidth-labelsWidth-valuesWidth)
	}
	height := headHeight + rowHeight*len(figures) + 12

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" `+
		`font-family="system-ui, sans-serif" font-size="13">`+"\n", pictureWidth, height, pictureWidth, height)
	fmt.Fprintln(&b, `<title>What Starback costs, as a multiple of its yardsticks; 1 is the yardstick, less is better</title>`)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", pictureWidth, height)
	for power := from; power <= to; power++ {
		at, colour := x(math.Exp2(power)), "#e3e6ea"
		if power == 0 {
			colour = "#4a5568"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" y1="30" x2="%.1f" y2="%d" stroke="%s"/>`+"\n", at, at, height-8, colour)
		fmt.Fprintf(&b, `<text x="%.1f" y="22" fill="#4a5568" text-anchor="middle">%g×</text>`+"\n", at, math.Exp2(power))
	}
	for i, f := range figures {
		middle := float64(headHeight + rowHeight*i + rowHeight/2)
		left, right := x(min(f.ratio, 1)), x(max(f.ratio, 1))
		fmt.Fprintf(&b, `<text x="12" y="%.1f" fill="#1a202c">%s</text>`+"\n", middle+4, html.EscapeString(f.name))
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="#3b6ea5"/>`+"\n",
			left, middle-barHeight/2, max(right-left, 2), barHeight)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#1a202c" stroke-width="2"/>`+"\n",
			x(f.low), middle, x(f.high), middle)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" fill="#1a202c" text-anchor="end">%s</text>`+"\n",
			pictureWidth-12, middle+4, ratioText(f.ratio))
	}
	fmt.Fprintln(&b, `</svg>`)
	return b.Bytes()
}
