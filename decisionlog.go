package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/groupgate/groupgate/internal/decisionlog"
)

// decisionLogOptions are the flags of the decision log.
type decisionLogOptions struct {
	which, accounts oneOf
	keyFile         string
}

func (o *decisionLogOptions) addFlags(f *pflag.FlagSet) {
	o.which = oneOf{"refused", []string{"off", "refused", "all"}}
	o.accounts = oneOf{"plain", []string{"plain", "hash"}}
	f.Var(&o.which, "decision-log",
		"what is logged on the standard output, a line of JSON for each account: off, refused (refusals, and what "+
			"would be another verdict if mode Audit were Enforce) or all")
	f.Var(&o.accounts, "decision-log-accounts",
		"how the decision log names accounts: plain, or hash (HMAC-SHA256 with --decision-log-hash-key-file)")
	f.StringVar(&o.keyFile, "decision-log-hash-key-file", "",
		"file with the key of --decision-log-accounts=hash, at least 32 bytes: mount a Secret")
}

// options returns what the log is, with out as its output. It reads the key.
func (o *decisionLogOptions) options(out io.Writer) (decisionlog.Options, error) {
	hashed := o.accounts.value == "hash"
	switch {
	case hashed && o.keyFile == "":
		return decisionlog.Options{}, errors.New("--decision-log-accounts=hash needs a key: " +
			"set --decision-log-hash-key-file to a file of at least 32 bytes")
	case !hashed && o.keyFile != "":
		return decisionlog.Options{}, errors.New("--decision-log-hash-key-file is set, but accounts are logged as " +
			"they are: set --decision-log-accounts=hash, or leave the key out")
	case o.which.value == "off":
		return decisionlog.Options{}, nil
	}
	options := decisionlog.Options{Out: out, All: o.which.value == "all"}
	if !hashed {
		return options, nil
	}
	accounts, err := readKey(o.keyFile)
	if err != nil {
		return decisionlog.Options{}, fmt.Errorf("--decision-log-hash-key-file: %w", err)
	}
	options.Accounts = accounts
	return options, nil
}

func readKey(path string) (*decisionlog.Accounts, error) {
	key, err := decisionlog.ReadKey(path)
	if err != nil {
		return nil, err
	}
	return decisionlog.Hashed(key)
}

// oneOf is the value of a flag that is one of a few words.
type oneOf struct {
	value string
	words []string
}

// Set implements pflag.Value.
func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.words, s) {
		last := len(o.words) - 1
		return fmt.Errorf("%q is not known: use %s or %s", s, strings.Join(o.words[:last], ", "), o.words[last])
	}
	o.value = s
	return nil
}

// Type implements pflag.Value.
func (o *oneOf) Type() string { return "word" }

func (o *oneOf) String() string { return o.value }
