package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/simulate"
)

// simulateOptions are the flags of `groupgate simulate`.
type simulateOptions struct {
	now, before source
	against     []string
	decisions   []string
	app, output string
	failOn      oneOf
	keyFile     string
}

func simulateCommand() *cobra.Command {
	var o simulateOptions
	cmd := &cobra.Command{
		Use:   "simulate -f NEW --decisions FILE [FILE...]",
		Short: "Say who would be admitted or refused if other policies had decided recorded joins",
		Long: "Say who would be admitted or refused if other policies had decided recorded joins.\n\n" +
			"The joins come from the decision log of the manager, or from a table (CSV) with the header " +
			"group,account,trigger. The policies come from files (-f), or from the cluster of the kubeconfig. They " +
			"are compared with the recorded verdicts, or with what --against names.\n\n" +
			"The exit code is 0, 1 if there are changes that --fail-on names, and 2 for bad input.",
		Example: "  groupgate simulate -f policies/ --decisions yesterday.jsonl\n" +
			"  groupgate simulate -f policies/ --against cluster -n chat --decisions joins.csv --fail-on=any\n" +
			"  kubectl logs -n groupgate-system -l app.kubernetes.io/name=groupgate --tail=-1 |\n" +
			"    groupgate simulate -f policies/ -n chat --decisions -",
		RunE: func(cmd *cobra.Command, more []string) error {
			o.decisions = append(o.decisions, more...)
			return o.run(cmd)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badInputError{err} })
	f := cmd.Flags()
	o.now.addFlags(f)
	f.StringSliceVar(&o.against, "against", nil,
		"what to compare with: cluster, or a file or folder with manifests, repeatable; default: the recorded verdicts")
	f.StringArrayVar(&o.decisions, "decisions", nil,
		"decision log or table, also compressed by gzip, repeatable; further arguments are files, too; - is the "+
			"standard input")
	f.StringVar(&o.app, "app", "", "name of the IMApp, or namespace/name: leave out the decisions of others")
	f.StringVar(&o.keyFile, "hash-key-file", "",
		"file with the key of accounts that are hashed (--decision-log-hash-key-file of the manager)")
	o.failOn = oneOf{"", []string{"opened", "closed", "any"}}
	f.Var(&o.failOn, "fail-on", "exit with 1 if accounts would be admitted that were refused (opened), the other way "+
		"round (closed), or any")
	f.StringVarP(&o.output, "output", "o", "", "json or yaml; default: text")
	return cmd
}

func (o *simulateOptions) run(cmd *cobra.Command) error {
	simulation, err := o.simulation(cmd)
	if err != nil {
		return badInputError{err}
	}
	for _, name := range o.decisions {
		if err := readDecisions(simulation, name, cmd.InOrStdin()); err != nil {
			return badInputError{err}
		}
	}
	report, err := simulation.Report()
	if err != nil {
		return badInputError{err}
	}
	if err := printAnswer(cmd.OutOrStdout(), report, o.output); err != nil {
		return err
	}
	return o.outcome(report)
}

// simulation checks the flags, and reads what is to be compared.
func (o *simulateOptions) simulation(cmd *cobra.Command) (*simulate.Simulation, error) {
	if o.output != "" && o.output != "json" && o.output != "yaml" {
		return nil, fmt.Errorf("--output is %q: use json or yaml, or leave it out for text", o.output)
	}
	if len(o.decisions) == 0 {
		return nil, errors.New("name the decisions to replay with --decisions: a decision log of the manager, " +
			"or a CSV file with the header group,account,trigger")
	}
	if o.against != nil && len(o.against) == 0 {
		return nil, errors.New("--against names no file: use cluster, a file or a folder")
	}
	stdin := 0
	for _, names := range [][]string{o.decisions, o.now.files, o.against} {
		for _, name := range names {
			if name == manifests.Stdin {
				stdin++
			}
		}
	}
	if stdin > 1 {
		return nil, errors.New("only one of -f, --against and --decisions can be -, the standard input")
	}
	options := simulate.Options{App: o.app, At: time.Now()}
	var err error
	if o.keyFile != "" {
		if options.Accounts, err = readKey(o.keyFile); err != nil {
			return nil, fmt.Errorf("--hash-key-file: %w", err)
		}
	}
	if options.Now, err = o.now.read(cmd.Context(), cmd.InOrStdin()); err != nil {
		return nil, err
	}
	if len(o.against) > 0 {
		o.before = o.now
		o.before.files = o.against
		if len(o.against) == 1 && o.against[0] == "cluster" {
			o.before.files = nil
		}
		if options.Before, err = o.before.read(cmd.Context(), cmd.InOrStdin()); err != nil {
			return nil, fmt.Errorf("--against: %w", err)
		}
	}
	return simulate.New(options)
}

func readDecisions(s *simulate.Simulation, name string, in io.Reader) (err error) {
	if name == manifests.Stdin {
		return s.Read("the standard input", in)
	}
	file, err := os.Open(name) //nolint:gosec // the user names the files to read
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return s.Read(name, file)
}

// outcome is an error where the report has what --fail-on names.
func (o *simulateOptions) outcome(r *simulate.Report) error {
	closed, opened := o.failOn.value == "closed", o.failOn.value == "opened"
	if o.failOn.value == "any" {
		closed, opened = true, true
	}
	switch {
	case closed && r.Closed > 0 || opened && r.Opened > 0:
		return fmt.Errorf("--fail-on=%s: %d decisions would be refused that were admitted, %d admitted that were "+
			"refused", o.failOn.value, r.Closed, r.Opened)
	case closed && r.RefusalsOnly:
		return badInputError{fmt.Errorf("--fail-on=%s needs admissions, of which the log has none: "+
			"log with --decision-log=all, or use --fail-on=opened", o.failOn.value)}
	}
	return nil
}
