package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// badInputError is an error that ends the process with exit code 2.
type badInputError struct{ error }

func (b badInputError) Unwrap() error { return b.error }

// validateOutput checks the value of --output.
func validateOutput(format string) error {
	switch format {
	case "", "json", "yaml":
		return nil
	}
	return badInputError{fmt.Errorf("--output is %q: use json or yaml, or leave it out for text", format)}
}

// explanation is what a tool prints.
type explanation interface {
	Sentence() string
	Table() [][]string
	Advice() []string
}

func printAnswer(out io.Writer, answer explanation, format string) error {
	if format != "" {
		text, err := json.MarshalIndent(answer, "", "  ")
		if err == nil && format == "yaml" {
			text, err = yaml.JSONToYAML(text)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, strings.TrimSuffix(string(text), "\n"))
		return err
	}
	var text strings.Builder
	text.WriteString(visible(answer.Sentence(), '\n'))
	if rows := answer.Table(); rows != nil {
		if text.Len() > 0 {
			text.WriteString("\n")
		}
		table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
		for _, row := range rows {
			for i := range row {
				row[i] = visible(row[i])
			}
			if _, err := fmt.Fprintln(table, strings.Join(row, "\t")); err != nil {
				return err
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	for i, hint := range answer.Advice() {
		if i == 0 {
			text.WriteString("\n")
		}
		text.WriteString("Hint: " + visible(hint) + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// visible is text without what a terminal would obey or hide, except for the runes to keep: ids of groups and accounts,
// and many messages, are written by others. What it replaces is escaped as in Go.
func visible(text string, keep ...rune) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	hidden := func(r rune) bool { return !unicode.IsPrint(r) && !slices.Contains(keep, r) }
	if strings.IndexFunc(text, hidden) < 0 {
		return text
	}
	var escaped strings.Builder
	for _, r := range text {
		if hidden(r) {
			escaped.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			escaped.WriteRune(r)
		}
	}
	return escaped.String()
}
