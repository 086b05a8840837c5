package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/groupgate/groupgate/internal/suite"
)

func testCommand() *cobra.Command {
	var (
		options              suite.Options
		run, output          string
		requireTests, strict bool
	)
	cmd := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Check manifests, and test what they do to joins and full groups, without a cluster",
		Long: "Check manifests, and test what they do to joins and full groups, without a cluster.\n\n" +
			"Each PATH is a file or a folder, by default the current one. Its manifests are checked as the API " +
			"server would check them, and for what is most likely not meant. Then the cases of each " +
			"groupgate-test.yaml in it are run. The exit code is 0 if all is well, 1 if a manifest is not valid or a " +
			"case fails, and 2 for bad input.",
		Example: "  groupgate test policies/\n" +
			"  groupgate test clusters/* --strict --require-tests -o junit > report.xml\n" +
			"  groupgate test --run 'staff|founders'",
		RunE: func(cmd *cobra.Command, paths []string) error {
			if len(paths) == 0 {
				paths = []string{"."}
			}
			write, ok := map[string]func(*suite.Report, io.Writer) error{
				"text": (*suite.Report).WriteText, "json": writeJSON, "junit": (*suite.Report).WriteJUnit,
			}[output]
			if !ok {
				return badInputError{fmt.Errorf("--output is %q: use text, json or junit", output)}
			}
			if run != "" {
				var err error
				if options.Run, err = regexp.Compile(run); err != nil {
					return badInputError{fmt.Errorf("--run: %w", err)}
				}
			}
			options.Now, options.In = time.Now(), cmd.InOrStdin()
			report, err := suite.Run(cmd.Context(), paths, options)
			if err != nil {
				return badInputError{err}
			}
			if err := write(report, cmd.OutOrStdout()); err != nil {
				return err
			}
			return outcome(report, strict, requireTests)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badInputError{err} })
	f := cmd.Flags()
	f.StringVarP(&options.Namespace, "namespace", "n", "default", "namespace of manifests that name none")
	f.StringVar(&run, "run", "", "run only the cases whose name matches this regular expression")
	f.StringVarP(&output, "output", "o", "text", "text, json or junit")
	f.BoolVar(&requireTests, "require-tests", false, "fail if no case was run")
	f.BoolVar(&strict, "strict", false, "fail on warnings, too")
	return cmd
}

func writeJSON(report *suite.Report, out io.Writer) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(text))
	return err
}

// outcome is the error that makes the command fail; nil if all is well.
func outcome(report *suite.Report, strict, requireTests bool) error {
	switch {
	case report.Errors > 0 || report.Failed > 0:
		return errors.New("the test has failed")
	case strict && report.Warnings > 0:
		return errors.New("there are warnings, which fail with --strict")
	case requireTests && report.Cases() == 0:
		return errors.New("no case was run, which fails with --require-tests: write a groupgate-test.yaml")
	}
	return nil
}
