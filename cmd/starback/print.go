package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/starback/starback/broker/policy"
)

// printTable prints rows under their headings. A column is as wide as the widest
// of its cells; nothing stands behind the last that is not empty.
func (p *program) printTable(head []string, rows [][]string) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for _, cell := range row {
			fmt.Fprintf(table, "%s\t", oneLine(cell))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(p.stdout, strings.TrimRight(line, " \n"))
	}
}

// A card is what is known of one thing, a line each.
type card [][2]string

// add adds a line, unless there is nothing to say.
func (c *card) add(key, value string) {
	if value != "" {
		*c = append(*c, [2]string{key, value})
	}
}

func (p *program) printCard(c card) {
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, line := range c {
		fmt.Fprintf(table, "%s\t%s\n", line[0], oneLine(line[1]))
	}
	_ = table.Flush()
}

// printable replaces what a terminal would obey rather than show: what people
// write, such as a label, is not to be trusted.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && obeyed(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// obeyed says whether a terminal may obey a character rather than show it.
func obeyed(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// oneLine is what is printable of s, on one line: nothing in it passes for
// another.
func oneLine(s string) string { return printable(strings.Join(strings.Fields(s), " ")) }

// moment writes a time to the minute, in the local zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04 MST")
}

// end writes when something ends, in the local zone: the last day, where it ends
// with a day in UTC, as a policy file's dates do, and else the moment.
func end(t time.Time) string {
	if t.IsZero() || !t.Equal(t.UTC().Truncate(24*time.Hour)) {
		return moment(t)
	}
	return t.Add(-time.Nanosecond).Local().Format(time.DateOnly)
}

// grantWords writes Grants, each with its end.
func grantWords(grants []policy.Grant) string {
	words := make([]string, len(grants))
	for i, g := range grants {
		words[i] = string(g.Role)
		if !g.Expires.IsZero() {
			words[i] += " until " + end(g.Expires)
		}
	}
	return strings.Join(words, ", ")
}

// yesIf is "yes", or nothing.
func yesIf(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// Colours of a terminal, by what became of a line.
const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	plain  = "\x1b[0m"
)

// colours says whether stdout shows colours: a terminal does, unless NO_COLOR
// is set (https://no-color.org).
func (p *program) colours() bool {
	return p.getenv("NO_COLOR") == "" && p.getenv("TERM") != "dumb" && isTerminal(p.stdout)
}

// isTerminal says whether a stream of the program's is one: a device that is
// not the one for nothing.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	nothing, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, nothing)
}

// deliver writes what a command made to a file that only its owner can read,
// or to stdout where none is named.
func (p *program) deliver(file string, text []byte) error {
	if file != "" {
		return os.WriteFile(file, text, 0o600)
	}
	_, err := io.Copy(p.stdout, strings.NewReader(string(text)))
	return err
}
