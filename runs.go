package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/runs"
)

func runsCommand() *cobra.Command {
	var (
		c               cluster
		waiting         bool
		purpose, output string
	)
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List the runs that remove members, or those that await approval",
		Long: "List the runs that remove members from groups, with what each would do and the state that it is in. " +
			"Those that await approval come first, the next to be void at the top. A run either frees seats in a " +
			"full group (FreeSeats), or removes members whom the gate of the group refuses (Evict).\n\n" +
			"Days and times are in UTC.",
		Example: "  kubectl groupgate runs --waiting\n" +
			"  kubectl groupgate runs --purpose Evict\n" +
			"  kubectl groupgate runs -n chat -o json",
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := validateOutput(output); err != nil {
				return err
			}
			if purpose != "" && !slices.Contains(purposes, purpose) {
				return badInputError{fmt.Errorf("--purpose is %q: use %s", purpose, strings.Join(purposes, " or "))}
			}
			list, namespace, err := c.listRuns(cmd.Context(), waiting)
			if err != nil {
				return err
			}
			list = runs.WithPurpose(list, v1alpha1.PrunePurpose(purpose))
			return printAnswer(cmd.OutOrStdout(), runs.NewList(list, namespace, waiting, time.Now()), output)
		},
	}
	cmd.SetFlagErrorFunc(badFlag)
	f := cmd.Flags()
	c.addFlags(f)
	f.BoolVar(&waiting, "waiting", false, "only the runs whose plans await approval")
	f.StringVar(&purpose, "purpose", "", "only the runs that are for this: "+strings.Join(purposes, " or "))
	f.StringVarP(&output, "output", "o", "", "json or yaml; default: a table")
	c.completeFlags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("purpose", // the flag exists
		cobra.FixedCompletions(purposes, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// purposes are those of runs.
var purposes = []string{string(v1alpha1.PrunePurposeFreeSeats), string(v1alpha1.PrunePurposeEvict)}

// noWords refuses arguments.
func noWords(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return badInputError{fmt.Errorf("%s takes no argument, but got %q", cmd.Name(), args[0])}
	}
	return nil
}

func badFlag(_ *cobra.Command, err error) error { return badInputError{err} }

// listRuns reads the runs that the flags mean, all or those that may wait for a person.
func (c *cluster) listRuns(
	ctx context.Context, waiting bool,
) (list []v1alpha1.PruneRun, namespace string, err error) {
	reader, err := c.client()
	if err != nil {
		return nil, "", badInputError{err}
	}
	if namespace, err = c.scope(); err != nil {
		return nil, "", badInputError{err}
	}
	if waiting {
		list, err = manifests.WaitingRuns(ctx, reader, namespace)
	} else {
		list, err = manifests.Runs(ctx, reader, namespace)
	}
	return list, namespace, withRights(err, "", namespace)
}

// withSignIn adds to an error what helps where the API server does not know who asks.
func withSignIn(err error) error {
	if apierrors.IsUnauthorized(err) {
		return fmt.Errorf("%w\nThe API server does not accept the credentials of the kubeconfig: sign in again, or "+
			"name others with --kubeconfig or --context", err)
	}
	return err
}

// withRights adds to an error which role would have helped.
func withRights(err error, verb runs.Verb, namespace string) error {
	if hint := runs.Rights(err, verb, namespace); hint != "" {
		return fmt.Errorf("%w\n%s", err, hint)
	}
	return err
}
