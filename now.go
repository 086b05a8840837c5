package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/overview"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
	"github.com/groupgate/groupgate/internal/runs"
)

func nowCommand() *cobra.Command {
	var (
		c        cluster
		replicas replicaFlags
		output   string
	)
	cmd := &cobra.Command{
		Use:   "now",
		Short: "Say whether the gate is closed, who joined lately, and how many plans wait",
		Long: "Say for each IMApp whether its gate is closed: whether callbacks are verified, every replica enforces " +
			"the policies as they are written, and no account was found that should not be in its group. What is not " +
			"known is said, with the reason: a gate is Closed only if all of it is known.\n\n" +
			"Open means that accounts join without having been judged, Doubtful that something needs attention. The " +
			"replicas are asked with the bearer token of the kubeconfig, by port-forward to their Pods or at " +
			"--replicas-url; it takes the right to get imapps/activity.\n\n" +
			"Times are in UTC. The exit code is 0 whatever the state, and 2 for bad input; `check` looks deeper, and " +
			"fails.",
		Example: "  kubectl groupgate now -n chat\n  kubectl groupgate now -A -o json",
		Args:    noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := validateOutput(output); err != nil {
				return err
			}
			asker, err := c.asker(&replicas)
			if err != nil {
				return err
			}
			in, err := c.overviewInput(cmd.Context(), asker)
			if err != nil {
				return err
			}
			return printAnswer(cmd.OutOrStdout(), &nowAnswer{overview.New(in)}, output)
		},
	}
	cmd.SetFlagErrorFunc(badFlag)
	f := cmd.Flags()
	c.addFlags(f)
	replicas.addFlags(f)
	f.StringVarP(&output, "output", "o", "", "json or yaml; default: text")
	c.completeFlags(cmd)
	return cmd
}

// overviewInput reads what an overview is made of. Only the apps are needed: what else cannot be read is not known.
func (c *cluster) overviewInput(ctx context.Context, replicas asker) (*overview.Input, error) {
	reader, err := c.client()
	if err != nil {
		return nil, badInputError{err}
	}
	namespace, err := c.scope()
	if err != nil {
		return nil, badInputError{err}
	}
	in := &overview.Input{}
	if in.Apps, err = manifests.Apps(ctx, reader, namespace); err != nil {
		return nil, withRights(err, "", namespace)
	}
	if in.Policies, err = manifests.Policies(ctx, reader, namespace); err != nil {
		in.PoliciesProblem = err.Error()
	}
	if list, err := manifests.WaitingRuns(ctx, reader, namespace); err != nil {
		in.WaitingProblem = err.Error()
	} else {
		waiting := len(runs.NewList(list, namespace, true, time.Now()).Runs)
		in.Waiting = &waiting
	}
	in.Activity = replicaclient.AboutEach(overview.Keys(in.Apps),
		func(app types.NamespacedName) replicaclient.Answer[refusals.Activity] {
			return replicas.Activity(ctx, app)
		})
	return in, nil
}

// nowAnswer is what `groupgate now` prints.
type nowAnswer struct{ *overview.Overview }

// Sentence implements explanation.
func (n *nowAnswer) Sentence() string {
	var text strings.Builder
	if len(n.Apps) == 0 {
		text.WriteString("There is no IMApp here: name its namespace with -n, or all with -A.\n")
	}
	for i := range n.Apps {
		app := &n.Apps[i]
		fmt.Fprintf(&text, "%s/%s: the gate is %s.\n", app.Namespace, app.Name, gateWords[app.State])
		for _, finding := range app.Findings {
			fmt.Fprintf(&text, "  %s\n", strings.ReplaceAll(finding.String(), "\n", " "))
		}
	}
	switch {
	case n.Waiting == nil:
		fmt.Fprintf(&text, "How many plans wait is not known: %s\n",
			cmp.Or(strings.ReplaceAll(n.WaitingProblem, "\n", " "), "they were not read."))
	case *n.Waiting > 0:
		fmt.Fprintf(&text, "Plans that wait for approval: %d; `groupgate runs --waiting` shows them.\n", *n.Waiting)
	default:
		text.WriteString("No plan waits for approval.\n")
	}
	return text.String()
}

var gateWords = map[overview.State]string{
	overview.Closed: "closed", overview.Doubtful: "closed, but not as it seems",
	overview.Unknown: "not known to be closed", overview.Open: "OPEN",
}

// Table implements explanation.
func (n *nowAnswer) Table() [][]string {
	if len(n.Apps) == 0 {
		return nil
	}
	table := [][]string{{"APP", "GATE", "POLICIES", "REPLICAS", "ADMITTED", "REFUSED", "LEAKS", "COUNTED SINCE"}}
	for i := range n.Apps {
		app := &n.Apps[i]
		row := []string{
			app.Namespace + "/" + app.Name, app.State.String(), fmt.Sprint(app.Enforcing), fmt.Sprint(app.Replicas),
			"?", "?", "?", "-",
		}
		if joins := app.Joins; joins != nil {
			since := joins.Since
			if day := joins.Now.Add(-refusals.MaxIntervals * refusals.IntervalLength); since.Before(day) {
				since = day
			}
			row = append(row[:4], fmt.Sprint(joins.Admitted), fmt.Sprint(joins.Refused), fmt.Sprint(joins.Leaked),
				since.UTC().Format(time.DateTime))
		}
		table = append(table, row)
	}
	return table
}

// Advice implements explanation.
func (n *nowAnswer) Advice() []string { return nil }
