package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// runCommand runs a command with an input, and returns its output.
func runCommand(cmd *cobra.Command, in string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.Execute()
	return out.String(), err
}

// Names and defaults of flags are API: manifests of users hold them.
func TestManagerFlags(t *testing.T) {
	want := map[string]string{
		"kubeconfig": "", "namespace": "[]",
		"callback-bind-address": ":8443", "callback-tls-cert-dir": "", "callback-insecure-http": "false",
		"max-connections": "4096", "shutdown-delay": "5s",
		"metrics-bind-address": ":8080", "metrics-secure": "true", "health-probe-bind-address": ":8081",
		"metrics-cert-dir": "", "refusals-kept": "10000",
		"pprof-bind-address": "0",
		"leader-elect":       "true", "leader-election-id": "groupgate-manager", "leader-election-namespace": "",
		"leader-election-lease-duration": "15s", "leader-election-renew-deadline": "10s",
		"leader-election-retry-period": "2s",
		"im-endpoint":                  "", "sweep-interval": "10m0s", "prune-run-ttl": "168h0m0s",
		"log-level": "info", "log-format": "json",
		"page-url": "", "notice-webhook-url": "", "notice-webhook-secret-file": "", "notice-webhook-ca-file": "",
		"decision-log": "refused", "decision-log-accounts": "plain", "decision-log-hash-key-file": "",
	}
	got := map[string]string{}
	managerCommand().Flags().VisitAll(func(f *pflag.Flag) { got[f.Name] = f.DefValue })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

func TestFlagsFromEnvironment(t *testing.T) {
	t.Setenv("GROUPGATE_SHUTDOWN_DELAY", "7s")
	t.Setenv("GROUPGATE_NAMESPACE", "chat,forum")
	t.Setenv("GROUPGATE_LOG_LEVEL", "debug")
	flags := managerCommand().Flags()
	if err := flags.Parse([]string{"--log-level=error"}); err != nil {
		t.Fatal(err)
	}
	if err := flagsFromEnvironment(flags); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"shutdown-delay": "7s",
		"namespace":      "[chat,forum]",
		"log-level":      "error", // what the command line says wins
		"sweep-interval": "10m0s",
	} {
		if got := flags.Lookup(name).Value.String(); got != want {
			t.Errorf("--%s is %s, want %s", name, got, want)
		}
	}

	t.Setenv("GROUPGATE_LOG_FORMAT", "xml")
	err := flagsFromEnvironment(managerCommand().Flags())
	if err == nil || !strings.Contains(err.Error(), "GROUPGATE_LOG_FORMAT") {
		t.Errorf("a value that cannot be used: error %v, want one that names the variable", err)
	}
}

func TestManagerFlagsAreChecked(t *testing.T) {
	// With valid flags the command goes on to look for a cluster.
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "absent"))
	const fine = "find the cluster"
	const plain = "--callback-insecure-http"
	for name, tc := range map[string]struct {
		flags []string
		want  string
	}{
		"certificates":           {[]string{"--callback-tls-cert-dir=/tls"}, fine},
		"plain HTTP":             {[]string{plain}, fine},
		"neither":                {nil, "--callback-tls-cert-dir"},
		"both":                   {[]string{plain, "--callback-tls-cert-dir=/tls"}, "--callback-tls-cert-dir"},
		"delay below 0":          {[]string{plain, "--shutdown-delay=-1s"}, "--shutdown-delay"},
		"no sweep":               {[]string{plain, "--sweep-interval=0s"}, "--sweep-interval"},
		"records for an hour":    {[]string{plain, "--prune-run-ttl=1h"}, "--prune-run-ttl"},
		"vendor on the laptop":   {[]string{plain, "--im-endpoint=http://127.0.0.1:8090"}, fine},
		"profiles on loopback":   {[]string{plain, "--pprof-bind-address=127.0.0.1:6060"}, fine},
		"profiles on ::1":        {[]string{plain, "--pprof-bind-address=[::1]:6060"}, fine},
		"profiles for everybody": {[]string{plain, "--pprof-bind-address=:6060"}, "use 127.0.0.1:6060"},
		"profiles for the Pods":  {[]string{plain, "--pprof-bind-address=10.0.0.7:6060"}, "use 127.0.0.1:6060"},
		"profiles by a name":     {[]string{plain, "--pprof-bind-address=example.com:6060"}, "use 127.0.0.1:6060"},
		"profiles without port":  {[]string{plain, "--pprof-bind-address=127.0.0.1"}, "use 127.0.0.1:6060"},
		"page":                   {[]string{plain, "--page-url=https://page.example.com/chat/"}, fine},
		"page over plain HTTP":   {[]string{plain, "--page-url=http://page.example.com"}, "use https"},
		"unsigned notices": {
			[]string{plain, "--notice-webhook-url=https://example.com"}, "set --notice-webhook-secret-file",
		},
		"vendor over plain HTTP": {[]string{plain, "--im-endpoint=http://im.example.com"}, "--im-endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := managerCommand()
			cmd.SilenceUsage, cmd.SilenceErrors = true, true
			cmd.SetArgs(append([]string{"--leader-elect=false"}, tc.flags...))
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %s", err, tc.want)
			}
		})
	}
}

// The first SIGTERM starts an orderly stop; the process must not end by it.
func TestSIGTERMEndsTheContext(t *testing.T) {
	ctx, stop := untilSignal(t.Context(), logr.Discard())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
}
