package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/internal/terminal"
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
	text.WriteString(terminal.Visible(answer.Sentence(), '\n'))
	if rows := answer.Table(); rows != nil {
		if text.Len() > 0 {
			text.WriteString("\n")
		}
		table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
		for _, row := range rows {
			for i := range row {
				row[i] = terminal.Visible(row[i])
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
		text.WriteString("Hint: " + terminal.Visible(hint) + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}
