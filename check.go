package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/check"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

func checkCommand() *cobra.Command {
	var (
		c               cluster
		checker         = check.Checker{Now: time.Now}
		account, output string
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check an installation: definitions, rights, leader, replicas, apps, policies, callback URL, vendor",
		Long: "Check an installation: the definitions, the rights of the manager's ServiceAccount, leader and " +
			"replicas, IMApps and policies, the callback URL as the vendor sees it, and whether the vendor accepts " +
			"the credentials. Each line is ok, a warning or a failure, with what to do. Nothing is changed, and no " +
			"secret is printed.\n\n" +
			"What this user may not read is not checked, and a warning. The exit code is 0 without a failure, 1 with " +
			"one, and 2 for bad input.",
		Example: "  kubectl groupgate check -n chat --url https://gate.example.com/callback\n" +
			"  kubectl groupgate check -A -o json",
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := validateOutput(output); err != nil {
				return err
			}
			if err := c.prepare(&checker, account); err != nil {
				return badInputError{err}
			}
			report := checker.Run(cmd.Context())
			if err := printAnswer(cmd.OutOrStdout(), report, output); err != nil {
				return err
			}
			if report.Failures > 0 {
				return fmt.Errorf("%d of %d checks failed", report.Failures, len(report.Checks))
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(badFlag)
	f := cmd.Flags()
	c.addFlags(f)
	f.StringVar(&checker.URL, "url", "", "callback URL as it stands in the vendor's console")
	f.StringVar(&account, "service-account", "groupgate-system/groupgate-manager",
		"namespace and name of the manager's ServiceAccount")
	f.StringVar(&checker.Election.Name, "leader-election-id", "groupgate-manager",
		"name of the Lease of the election, as of the manager")
	f.StringVar(&checker.Election.Namespace, "leader-election-namespace", "",
		"namespace of the Leases, as of the manager; default: that of the ServiceAccount")
	f.StringVar(&checker.IMEndpoint, "im-endpoint", "",
		"base URL of the IM REST API instead of the regions' own, as of the manager")
	f.StringVarP(&output, "output", "o", "", "json or yaml; default: text")
	c.completeFlags(cmd)
	return cmd
}

// prepare reads the flags into the checker.
func (c *cluster) prepare(checker *check.Checker, account string) error {
	namespace, name, ok := strings.Cut(account, "/")
	if !ok || namespace == "" || name == "" {
		return fmt.Errorf("--service-account is %q: use NAMESPACE/NAME", account)
	}
	checker.ServiceAccount = types.NamespacedName{Namespace: namespace, Name: name}
	checker.Election.Namespace = cmp.Or(checker.Election.Namespace, namespace)
	var errs []error
	if checker.URL != "" {
		if _, err := check.ParseURL(checker.URL); err != nil {
			errs = append(errs, fmt.Errorf("--url: %w", err))
		}
	}
	if checker.IMEndpoint != "" {
		if _, err := imrest.ParseEndpoint(checker.IMEndpoint); err != nil {
			errs = append(errs, fmt.Errorf("--im-endpoint: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var err error
	if checker.Client, err = c.client(); err != nil {
		return err
	}
	checker.Impersonate = func(user string) (client.Client, error) {
		other := *c
		other.as, other.asGroups = user, nil
		return other.client()
	}
	checker.Namespace, err = c.scope()
	return err
}
