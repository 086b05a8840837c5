package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/lists"
)

// listsOptions are the flags of the commands of `groupgate lists`; each has some of them.
type listsOptions struct {
	cluster
	lists.List
	from, column string
}

func listsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lists",
		Short: "Keep a list of accounts of any length in the cluster",
		Long: "Keep a list of accounts of any length in the cluster, as small AccountLists with the label list=NAME, " +
			"so that an edit of one account writes one small object. A policy refers to the list by that label:\n\n" +
			"  lists: [{selector: {matchLabels: {list: NAME}}}]\n\n" +
			"Commands that run side by side lose nothing. The exit code is 1 if something was refused or failed, and " +
			"2 for bad input, for which nothing is written.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return badInputError{fmt.Errorf("there is no command %q: use sync, add, remove or diff", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badInputError{err} })
	cmd.AddCommand(listsSyncCommand(), listsAddCommand(), listsRemoveCommand(), listsDiffCommand())
	return cmd
}

func listsSyncCommand() *cobra.Command {
	var o listsOptions
	cmd := &cobra.Command{
		Use:   "sync NAME --from FILE.csv",
		Short: "Make a list what a file says",
		Long: "Make a list what a file says: one account on each line, or a column of comma-separated values. What " +
			"is wrong with the file is said, with the numbers of the lines, before anything is written. What others " +
			"add or remove while this runs stays added or removed.",
		Example: "  groupgate lists sync vip --from vip.csv -n chat\n" +
			"  psql -Atc 'select id from vips' | groupgate lists sync vip --from - -n chat",
		Args: listName(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			accounts, err := o.read(cmd.InOrStdin())
			if err != nil {
				return badInputError{err}
			}
			return o.change(cmd, args, func(ctx context.Context) (lists.Result, int, error) {
				result, err := o.Sync(ctx, accounts)
				return result, len(accounts) - result.Added, err
			})
		},
	}
	o.addSourceFlags(cmd)
	o.addChangeFlags(cmd)
	o.addForceFlag(cmd)
	cmd.Flags().BoolVar(&o.Adopt, "adopt", false,
		"take over the accounts of AccountLists of this list that something else has kept, and delete these")
	return cmd
}

func listsAddCommand() *cobra.Command {
	var o listsOptions
	cmd := &cobra.Command{
		Use:     "add NAME ACCOUNT...",
		Short:   "Add accounts to a list",
		Example: "  groupgate lists add vip jared tommy -n chat",
		Args:    listName(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := lists.CheckAccounts(args[1:]); err != nil {
				return badInputError{err}
			}
			return o.change(cmd, args, func(ctx context.Context) (lists.Result, int, error) {
				result, err := o.Add(ctx, args[1:])
				return result, len(args) - 1 - result.Added, err
			})
		},
	}
	o.addChangeFlags(cmd)
	return cmd
}

func listsRemoveCommand() *cobra.Command {
	var o listsOptions
	cmd := &cobra.Command{
		Use:     "remove NAME ACCOUNT...",
		Short:   "Remove accounts from a list",
		Example: "  groupgate lists remove banned mallory -n chat",
		Args:    listName(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Not CheckAccounts: what was mistyped once must be removable.
			if slices.Contains(args[1:], "") {
				return badInputError{errors.New("an account must not be empty")}
			}
			return o.change(cmd, args, func(ctx context.Context) (lists.Result, int, error) {
				result, err := o.Remove(ctx, args[1:])
				return result, len(args) - 1 - result.Removed, err
			})
		},
	}
	o.addChangeFlags(cmd)
	o.addForceFlag(cmd)
	return cmd
}

func listsDiffCommand() *cobra.Command {
	var o listsOptions
	cmd := &cobra.Command{
		Use:   "diff NAME --from FILE.csv",
		Short: "Print what sync would add and remove",
		Long: "Print what sync would add, after a +, and remove, after a -, and write nothing. The exit code is 0 " +
			"whether or not there is a difference.",
		Example: "  groupgate lists diff vip --from vip.csv -n chat",
		Args:    listName(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			accounts, err := o.read(cmd.InOrStdin())
			if err != nil {
				return badInputError{err}
			}
			if err := o.connect(args[0]); err != nil {
				return badInputError{err}
			}
			d, err := o.Diff(cmd.Context(), accounts)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), differenceText(args[0], d))
			return err
		},
	}
	o.addSourceFlags(cmd)
	o.addClusterFlags(cmd)
	return cmd
}

// differenceText is one line for each account, and a summary. What is on the list may be what others have mistyped.
func differenceText(name string, d lists.Difference) string {
	var text strings.Builder
	line := func(sign, account string) {
		if convert.LooksMistyped(account) {
			account = strconv.QuoteToASCII(account)
		}
		text.WriteString(sign + account + "\n")
	}
	for _, account := range d.Remove {
		line("-", account)
	}
	for _, account := range d.Add {
		line("+", account)
	}
	fmt.Fprintf(&text, "%s: %d accounts, %d to add, %d to remove.\n", name, d.Total, len(d.Add), len(d.Remove))
	return text.String()
}

// listName checks that the first word is the name of a list, and that as many accounts follow, or more if any have to.
func listName(accounts int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return badInputError{fmt.Errorf("%s takes the name of a list", cmd.Name())}
		case len(args)-1 < accounts:
			return badInputError{fmt.Errorf("%s takes the name of a list and one account or more", cmd.Name())}
		case accounts == 0 && len(args) > 1:
			return badInputError{fmt.Errorf("%s takes the name of a list only: accounts are in the file", cmd.Name())}
		}
		if err := lists.ValidateName(args[0]); err != nil {
			return badInputError{err}
		}
		return nil
	}
}

func (o *listsOptions) addClusterFlags(cmd *cobra.Command) {
	o.cluster.addFlags(cmd.Flags())
	// A list is in one namespace.
	_ = cmd.Flags().MarkHidden("all-namespaces")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badInputError{err} })
}

func (o *listsOptions) addSourceFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.from, "from", "",
		"file with one account on each line, or with comma-separated values; - is the standard input")
	cmd.Flags().StringVar(&o.column, "column", "",
		"name of the column of accounts, in the first line of the file; default: account, if the first line names that")
}

func (o *listsOptions) addChangeFlags(cmd *cobra.Command) {
	o.addClusterFlags(cmd)
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "write nothing, and say what would be done")
}

func (o *listsOptions) addForceFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.Force, "force", false, "remove even more than 10 % of the list")
}

func (o *listsOptions) connect(name string) error {
	if o.allNamespaces {
		return errors.New("a list is in one namespace: name it with -n")
	}
	var err error
	if o.Namespace, err = o.scope(); err != nil {
		return err
	}
	o.Name = name
	o.Client, err = o.client()
	return err
}

// read reads the accounts of --from.
func (o *listsOptions) read(in io.Reader) ([]string, error) {
	switch o.from {
	case "":
		return nil, errors.New("name the file with --from; - is the standard input")
	case "-":
		accounts, err := lists.ReadCSV(in, o.column)
		return accounts, inFile("the standard input", err)
	}
	file, err := os.Open(o.from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	accounts, err := lists.ReadCSV(file, o.column)
	return accounts, inFile(o.from, err)
}

func inFile(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s:\n%w", name, err)
}

// change carries out do, which returns how many accounts were as wanted before, and prints what it did.
func (o *listsOptions) change(
	cmd *cobra.Command, args []string, do func(context.Context) (_ lists.Result, unchanged int, _ error),
) error {
	if err := o.connect(args[0]); err != nil {
		return badInputError{err}
	}
	result, unchanged, err := do(cmd.Context())
	if err == nil || len(result.Shards) > 0 {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), o.summary(result, unchanged, err != nil)); err != nil {
			return err
		}
	}
	return err
}

// maxNamed bounds how many AccountLists are named.
const maxNamed = 5

func (o *listsOptions) summary(r lists.Result, unchanged int, failed bool) string {
	if o.DryRun {
		return fmt.Sprintf("%s: %d to add, %d to remove, %d unchanged. Nothing was written.",
			o.Name, r.Added, r.Removed, unchanged)
	}
	text := fmt.Sprintf("%s: %d added, %d removed, %d unchanged.", o.Name, r.Added, r.Removed, unchanged)
	if failed {
		text = fmt.Sprintf("%s: %d added, %d removed, and then it failed: run it again.", o.Name, r.Added, r.Removed)
	}
	switch n := len(r.Shards); {
	case n == 0:
		text += " Nothing was written."
	case n <= maxNamed:
		text += " Written: AccountList " + strings.Join(r.Shards, ", ") + "."
	default:
		text += fmt.Sprintf(" Written: %d AccountLists.", n)
	}
	return text
}
