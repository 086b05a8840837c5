package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/groupgate/groupgate/internal/runs"
)

// completionPatience is how long a request may take that completes a command line. Without an answer of the cluster
// there is nothing to choose from; cobra logs why into the file that BASH_COMP_DEBUG_FILE names.
const completionPatience = 2 * time.Second

// completeFlags completes the values of those flags that are the same in all tools.
func (c *cluster) completeFlags(cmd *cobra.Command) {
	for name, complete := range map[string]cobra.CompletionFunc{
		"output":    cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp),
		"context":   c.completeContext,
		"namespace": c.completeNamespace,
	} {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, complete) // the flag exists
		}
	}
}

func (c *cluster) completeContext(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	config, err := c.loading().RawConfig()
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	return slices.Sorted(maps.Keys(config.Contexts)), cobra.ShellCompDirectiveNoFileComp
}

func (c *cluster) completeNamespace(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	namespaces := &corev1.NamespaceList{}
	reader, err := c.client()
	if err == nil {
		err = reader.List(ctx, namespaces)
	}
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	var names []string
	for i := range namespaces.Items {
		names = append(names, namespaces.Items[i].Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// complete lists the groups and runs that can be decided so.
func (d *decision) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	list, _, err := d.listRuns(ctx, false)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	return runs.Choices(list, d.verb, time.Now()), cobra.ShellCompDirectiveNoFileComp
}
