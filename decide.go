package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/groupgate/groupgate/internal/runs"
)

// decideCommands are approve, deny and undo.
func decideCommands() []*cobra.Command {
	return []*cobra.Command{
		decideCommand(runs.Approve, "Approve the plan of a run that waits: its members are removed",
			"Approve the plan of a run. The leader then removes exactly these members from the group, except "+
				"for those who have become active or protected since; those of an eviction, except for those whom "+
				"the gate of the group admits by then."),
		decideCommand(runs.Deny, "Deny the plan of a run, or stop a run",
			"Deny the plan of a run, so that it removes nobody. A run that is removing members is stopped before its "+
				"next batch; undo it to bring back the members that it has removed."),
		decideCommand(runs.Undo, "Undo a run that has ended: its members are added back",
			"Undo a run that has ended: the members that it removed are added back, while seats are free; those of "+
				"an eviction, if the gate of the group admits them now."),
	}
}

// decision is what the flags of approve, deny and undo say.
type decision struct {
	cluster
	verb    runs.Verb
	reason  string
	yes     bool
	showAll bool
}

func decideCommand(verb runs.Verb, short, long string) *cobra.Command {
	d := decision{verb: verb}
	cmd := &cobra.Command{
		Use:   string(verb) + " GROUP|RUN",
		Short: short,
		Long: long + "\n\nThe run is named by its group, if only one run of the group can be meant, or by its own " +
			"name, which goes before that of a group. It is shown, and the question has to be answered with y. The " +
			"decision holds for what was shown: if the run has changed by then, nothing is decided, and the " +
			"differences are printed.\n\n" +
			"The exit code is 0 once the decision is stored, 1 if nothing was decided, and 2 for bad input.",
		Example: fmt.Sprintf("  kubectl groupgate %s club-oslo --reason \"spring cleaning\"\n"+
			"  kubectl groupgate %[1]s prod-a0deab52913ad14f-1 -n chat --yes", verb),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return badInputError{fmt.Errorf("%s takes one group or run; `runs` lists them", verb)}
			}
			if err := runs.ValidateReason(d.reason); err != nil {
				return badInputError{fmt.Errorf("--reason: %w", err)}
			}
			return nil
		},
		ValidArgsFunction: d.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.run(cmd.Context(), args[0], cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.SetFlagErrorFunc(badFlag)
	f := cmd.Flags()
	d.addFlags(f)
	f.StringVar(&d.reason, "reason", "", "why, at most 256 characters; it is kept in the record of the run")
	f.BoolVarP(&d.yes, "yes", "y", false, "do not ask: for scripts and pipelines")
	f.BoolVar(&d.showAll, "show-all", false, fmt.Sprintf("show all members, and not only the first %d", runs.MaxShown))
	d.completeFlags(cmd)
	return cmd
}

func (d *decision) run(ctx context.Context, word string, in io.Reader, out, note io.Writer) error {
	if !d.yes && !isTerminal(in) {
		return badInputError{errors.New("the standard input is not a terminal, so that nobody can be asked: " +
			"look at the run, and pass --yes")}
	}
	list, _, err := d.listRuns(ctx, false)
	if err != nil {
		return err
	}
	run, remark, err := runs.Find(list, word, d.verb, time.Now())
	if remark != "" {
		fmt.Fprintln(note, "Note: "+remark)
	}
	if _, bad := errors.AsType[*runs.NameError](err); bad {
		return badInputError{err}
	}
	if err != nil {
		return err
	}
	review := runs.NewReview(run, d.verb, d.showAll, list, time.Now())
	if err := printAnswer(out, review, ""); err != nil {
		return err
	}
	if !d.yes {
		fmt.Fprint(out, "\n"+review.Question()+" [y/N] ")
		answer, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the answer: %w", err)
		}
		if answer := strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return errors.New("nothing was decided: the answer was not y")
		}
	}
	writer, err := d.client()
	if err != nil {
		return badInputError{err}
	}
	if err := runs.Send(ctx, writer, run, d.verb, d.reason); err != nil {
		return withRights(err, d.verb, run.Namespace)
	}
	_, err = fmt.Fprintln(out, review.Done())
	return err
}

func isTerminal(in io.Reader) bool {
	file, ok := in.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(file.Fd()))
}
