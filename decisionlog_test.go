package main

import (
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"github.com/groupgate/groupgate/internal/decisionlog"
)

func decisionLogOf(args ...string) (decisionlog.Options, error) {
	var o decisionLogOptions
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	o.addFlags(flags)
	if err := flags.Parse(args); err != nil {
		return decisionlog.Options{}, err
	}
	return o.options(io.Discard)
}

func TestDecisionLogFlags(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(short, []byte(strings.Repeat("k", 31)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args              []string
		written, all, mac bool
	}{
		"by default": {nil, true, false, false},
		"off":        {[]string{"--decision-log=off"}, false, false, false},
		"all":        {[]string{"--decision-log=all"}, true, true, false},
		"hash": {[]string{"--decision-log-accounts=hash", "--decision-log-hash-key-file=" + key},
			true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := decisionLogOf(tc.args...)
			if err != nil || (o.Out != nil) != tc.written || o.All != tc.all || (o.Accounts != nil) != tc.mac {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"a word":             {[]string{"--decision-log=some"}, "use off, refused or all"},
		"another word":       {[]string{"--decision-log-accounts=md5"}, "use plain or hash"},
		"hash without a key": {[]string{"--decision-log-accounts=hash"}, "set --decision-log-hash-key-file"},
		"also where nothing is logged": {[]string{"--decision-log=off", "--decision-log-accounts=hash"},
			"set --decision-log-hash-key-file"},
		"a key without hash": {[]string{"--decision-log-hash-key-file=" + key}, "set --decision-log-accounts=hash"},
		"a short key": {[]string{"--decision-log-accounts=hash", "--decision-log-hash-key-file=" + short},
			"openssl rand -hex 32"},
		"no such file": {[]string{"--decision-log-accounts=hash", "--decision-log-hash-key-file=nowhere"}, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := decisionLogOf(tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// By default a write to a standard output that nobody reads any more would end the process, and the gate with it.
func TestManagerOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "absent"))
	signal.Reset(syscall.SIGPIPE)
	cmd := managerCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs([]string{"--leader-elect=false", "--callback-insecure-http"})
	if err := cmd.ExecuteContext(t.Context()); err == nil {
		t.Fatal("there is a cluster")
	}
	if !signal.Ignored(syscall.SIGPIPE) {
		t.Error("SIGPIPE ends the manager")
	}
}
