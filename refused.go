package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/overview"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

// refusedOptions are the flags of `groupgate refused`.
type refusedOptions struct {
	cluster
	replicas    replicaFlags
	app, before string
	filter      refusals.Filter
	output      string
}

// asker answers for the replicas.
type asker interface {
	Refusals(context.Context, types.NamespacedName, refusals.Filter) replicaclient.Answer[refusals.Refusals]
	Activity(context.Context, types.NamespacedName) replicaclient.Answer[refusals.Activity]
}

func refusedCommand() *cobra.Command {
	var o refusedOptions
	cmd := &cobra.Command{
		Use:   "refused [GROUP]",
		Short: "List who was refused lately, and which members should not be in their groups",
		Long: "List the accounts that were refused lately, in all groups or in one, newest first: when, why, and " +
			"what the client was shown. A leak is an account that is in the group although the gate refuses it.\n\n" +
			"Every replica of the manager remembers its last refusals, and forgets them when it restarts. They are " +
			"asked with the bearer token of the kubeconfig, by port-forward to their Pods or at --replicas-url. It " +
			"takes the right to get imapps/refusals. The decision log has what is older.\n\n" +
			"Times are in UTC. The exit code is 1 if no replica could say, and 2 for bad input.",
		Example: "  kubectl groupgate refused -n chat\n" +
			"  kubectl groupgate refused vip-berlin --account mallory -n chat -o json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] == "" {
				return badInputError{fmt.Errorf("refused takes one group or none, not %d words", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.filter.Group = args[0]
			}
			list, err := o.run(cmd.Context())
			if err != nil {
				return err
			}
			if err := printAnswer(cmd.OutOrStdout(), list, o.output); err != nil {
				return err
			}
			if len(list.Replicas) == 0 {
				return errors.New("no replica could say who was refused")
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(badFlag)
	f := cmd.Flags()
	o.addFlags(f)
	o.replicas.addFlags(f)
	f.StringVar(&o.app, "app", "", "name of an IMApp, or namespace/name; default: all of the namespace")
	f.StringVar(&o.filter.Account, "account", "", "only refusals of this account")
	f.StringVar(&o.before, "before", "", "only refusals before this time, in RFC 3339: for the next page")
	f.IntVar(&o.filter.Limit, "limit", refusals.DefaultLimit,
		fmt.Sprintf("how many of each app, up to %d; those of one time stay together", refusals.MaxLimit))
	f.StringVarP(&o.output, "output", "o", "", "json or yaml; default: a table")
	o.completeFlags(cmd)
	return cmd
}

func (o *refusedOptions) run(ctx context.Context) (*refusedList, error) {
	if err := validateOutput(o.output); err != nil {
		return nil, err
	}
	if o.filter.Limit < 1 || o.filter.Limit > refusals.MaxLimit {
		return nil, badInputError{fmt.Errorf("--limit is %d: use 1 to %d", o.filter.Limit, refusals.MaxLimit)}
	}
	if o.before != "" {
		var err error
		if o.filter.Before, err = time.Parse(time.RFC3339, o.before); err != nil {
			return nil, badInputError{fmt.Errorf("--before is %q: use RFC 3339, such as 2026-11-21T12:00:00Z",
				o.before)}
		}
	}
	apps, err := o.apps(ctx, o.app)
	if err != nil {
		return nil, err
	}
	replicas, err := o.asker(&o.replicas)
	if err != nil {
		return nil, err
	}
	answers := replicaclient.AboutEach(apps, func(app types.NamespacedName) replicaclient.Answer[refusals.Refusals] {
		return replicas.Refusals(ctx, app, o.filter)
	})
	return newRefusedList(apps, answers, o.filter), nil
}

// asker asks the replicas with the identity of the kubeconfig.
func (c *cluster) asker(r *replicaFlags) (asker, error) {
	config, err := c.restConfig()
	if err != nil {
		return nil, badInputError{err}
	}
	return r.client(config, nil)
}

// apps are those that the flags mean.
func (c *cluster) apps(ctx context.Context, name string) ([]types.NamespacedName, error) {
	if within, app, ok := strings.Cut(name, "/"); ok {
		if within == "" || app == "" || strings.Contains(app, "/") {
			return nil, badInputError{fmt.Errorf("--app is %q: use NAME or NAMESPACE/NAME", name)}
		}
		return []types.NamespacedName{{Namespace: within, Name: app}}, nil
	}
	namespace, err := c.scope()
	if err != nil {
		return nil, badInputError{err}
	}
	if name != "" && namespace != "" {
		return []types.NamespacedName{{Namespace: namespace, Name: name}}, nil
	}
	reader, err := c.client()
	if err != nil {
		return nil, badInputError{err}
	}
	list, err := manifests.Apps(ctx, reader, namespace)
	if err != nil {
		return nil, withRights(err, "", namespace)
	}
	apps := slices.DeleteFunc(overview.Keys(list), func(app types.NamespacedName) bool {
		return name != "" && app.Name != name
	})
	if len(apps) == 0 {
		return nil, errors.New("there is no such IMApp: name its namespace with -n, or all with -A")
	}
	return apps, nil
}

// refusedList is what `groupgate refused` prints.
type refusedList struct {
	Refusals []refusedRow `json:"refusals"`
	// More says that there are older ones: before the time of the last.
	More     bool                    `json:"more"`
	Replicas []refusedReplica        `json:"replicas"`
	Problems []replicaclient.Problem `json:"problems,omitempty"`

	apps int
}

type refusedRow struct {
	App string `json:"app"`
	refusals.Refusal
}

// refusedReplica is what one replica remembers of one app.
type refusedReplica struct {
	App       string    `json:"app"`
	Replica   string    `json:"replica"`
	Since     time.Time `json:"since"`
	Capacity  int       `json:"capacity"`
	Forgotten uint64    `json:"forgotten"`
	Dropped   uint64    `json:"dropped"`
}

func newRefusedList(
	apps []types.NamespacedName, answers map[types.NamespacedName]replicaclient.Answer[refusals.Refusals],
	f refusals.Filter,
) *refusedList {
	l := &refusedList{Refusals: []refusedRow{}, Replicas: []refusedReplica{}, apps: len(apps)}
	var cut time.Time // what is older is not complete: an app has more of it
	for _, app := range apps {
		answer := answers[app]
		page, more := refusals.Merge(answer.Replicas, f)
		for _, refusal := range page {
			l.Refusals = append(l.Refusals, refusedRow{app.String(), refusal})
		}
		if last := len(page) - 1; more && last >= 0 && page[last].Time.After(cut) {
			cut = page[last].Time
		}
		l.More = l.More || more
		for _, r := range answer.Replicas {
			l.Replicas = append(l.Replicas,
				refusedReplica{app.String(), r.Replica, r.Since, r.Capacity, r.Forgotten, r.Dropped})
		}
		for _, problem := range answer.Problems {
			if !slices.Contains(l.Problems, problem) {
				l.Problems = append(l.Problems, problem)
			}
		}
	}
	l.Refusals = slices.DeleteFunc(l.Refusals, func(r refusedRow) bool { return r.Time.Before(cut) })
	slices.SortStableFunc(l.Refusals, func(a, b refusedRow) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.App, b.App))
	})
	return l
}

// Sentence implements explanation.
func (l *refusedList) Sentence() string {
	if len(l.Replicas) == 0 {
		return "It is not known who was refused.\n"
	}
	leaks, names := 0, map[string]bool{}
	for i := range l.Refusals {
		if l.Refusals[i].Leak {
			leaks++
		}
	}
	since := time.Time{}
	for _, r := range l.Replicas {
		names[r.Replica] = true
		if r.Since.After(since) {
			since = r.Since
		}
	}
	return fmt.Sprintf("Refusals: %d. Leaks: %d. Replicas that answered: %d, and all of them remember since %s.\n",
		len(l.Refusals)-leaks, leaks, len(names), since.UTC().Format(time.DateTime))
}

// Table implements explanation.
func (l *refusedList) Table() [][]string {
	if len(l.Refusals) == 0 {
		return nil
	}
	row := func(app string, others ...string) []string {
		if l.apps == 1 {
			return others
		}
		return append([]string{app}, others...)
	}
	table := [][]string{row("APP", "TIME", "ACCOUNT", "GROUP", "WHAT", "BECAUSE OF", "CODE", "MESSAGE")}
	for i := range l.Refusals {
		r := &l.Refusals[i]
		what := r.Trigger
		if r.Leak {
			what = "leak"
		}
		table = append(table, row(r.App, r.Time.UTC().Format(time.DateTime), r.Account, r.Group, what,
			strings.TrimSpace(r.Policy+" "+r.Reason), fmt.Sprint(r.Code), cmp.Or(r.Message, "-")))
	}
	return table
}

// Advice implements explanation.
func (l *refusedList) Advice() (hints []string) {
	for _, problem := range l.Problems {
		who := ""
		if problem.Replica != "" {
			who = problem.Replica + ": "
		}
		hints = append(hints, who+problem.Message)
	}
	for _, r := range l.Replicas {
		if r.Forgotten > 0 {
			hints = append(hints, fmt.Sprintf("%s has forgotten %d older ones of %s: it remembers %d of all apps. "+
				"The decision log has them.", r.Replica, r.Forgotten, r.App, r.Capacity))
		}
		if hint := fmt.Sprintf("%s has missed %d of all apps, as too many came at once. "+
			"groupgate_join_decisions_total counts them.", r.Replica, r.Dropped); r.Dropped > 0 &&
			!slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	if l.More {
		hints = append(hints, "There may be older ones: --before="+
			l.Refusals[len(l.Refusals)-1].Time.Format(time.RFC3339Nano))
	}
	return hints
}
