package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
)

// reviewFormats are the formats of an access review.
var reviewFormats = map[string]func([]broker.ReviewRow) ([]byte, error){
	"csv": reviewCSV, "json": reviewJSON, "markdown": reviewMarkdown,
}

func (p *program) reviewCommand() *cobra.Command {
	var format, output string
	cmd := &cobra.Command{
		Use:   "access-review",
		Short: "List every role that every user may ask for, since when, and when it was last used",
		Long: `List every role that every user may ask for now, because of which grant, since
when, until when, and when it was last issued, as far as the trail goes back:
for those who review access from time to time. Times are in UTC.`,
		Example: "  starback access-review --format csv -o review.csv",
		Args:    noArgs,
	}
	cmd.Flags().StringVar(&format, "format", "csv", "csv, json or markdown")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write it to a file")
	_ = cmd.MarkFlagFilename("output")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]cobra.Completion{"csv", "json", "markdown"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if reviewFormats[format] == nil {
			return usageError{fmt.Errorf("--format: %q is not csv, json or markdown", format)}
		}
		return nil
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		rows, err := a.Review(ctx)
		if err != nil {
			return err
		}
		text, err := reviewFormats[format](rows)
		if err != nil {
			return err
		}
		return p.deliver(output, text)
	})
}

// reviewHead are the columns of a review, by the names that JSON has for them.
var reviewHead = []string{"user", "owner", "role", "account_id", "path", "needs_approval", "since", "expires", "last_used"}

func reviewCells(r broker.ReviewRow) []string {
	return []string{
		string(r.User), string(r.Owner), string(r.Role), r.AccountID, r.Path,
		strconv.FormatBool(r.NeedsApproval), utc(r.Since), utc(r.Expires), utc(r.LastUsed),
	}
}

// utc writes a time for programs; "" for none.
func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// reviewCSV writes CSV as RFC 4180 has it.
func reviewCSV(rows []broker.ReviewRow) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	if err := w.Write(reviewHead); err != nil {
		return nil, err
	}
	for _, r := range rows {
		cells := reviewCells(r)
		for i, cell := range cells {
			cells[i] = inert(cell)
		}
		if err := w.Write(cells); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// inert returns a cell that no spreadsheet takes for a formula.
func inert(cell string) string {
	if first, size := utf8.DecodeRuneInString(cell); size > 0 && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + cell
	}
	return cell
}

// reviewJSON writes a list of broker.ReviewRow.
func reviewJSON(rows []broker.ReviewRow) ([]byte, error) {
	text, err := json.Marshal(append([]broker.ReviewRow{}, rows...))
	return append(text, '\n'), err
}

// reviewMarkdown writes a table.
func reviewMarkdown(rows []broker.ReviewRow) ([]byte, error) {
	var b bytes.Buffer
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(reviewHead)
	b.WriteString(strings.Repeat("|---", len(reviewHead)) + "|\n")
	for _, r := range rows {
		cells := reviewCells(r)
		for i, cell := range cells {
			cells[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
		line(cells)
	}
	return b.Bytes(), nil
}
