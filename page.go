package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
	_ "time/tzdata" // the container image has no zones

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/groupgate/groupgate/internal/page"
	"github.com/groupgate/groupgate/internal/terminal"
)

// pageOptions are the flags of `groupgate page`.
type pageOptions struct {
	cluster
	port      uint16
	noBrowser bool
	zone      string
	replicas  replicaFlags
	inCluster inClusterOptions
	logging   loggingOptions
}

func pageCommand() *cobra.Command {
	var o pageOptions
	cmd := &cobra.Command{
		Use:   "page",
		Short: "Show what waits for a decision, what was done, and who was refused, in a browser",
		Long: "Show in a browser what waits for a decision, what was done, and who was refused, and decide there.\n\n" +
			"The page listens on this machine only, for the user who starts it, and calls the API server with the " +
			"identity of the kubeconfig: what you may do on it is what kubectl lets you do.\n\n" +
			"With --in-cluster it serves many users, whom an OIDC proxy names in headers, and impersonates them.",
		Example: "  kubectl groupgate page -n chat\n" +
			"  kubectl groupgate page -A --no-browser --time-zone Asia/Shanghai",
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !o.inCluster.enabled && !cmd.Flags().Changed("log-format") {
				o.logging.format = "console" // a person reads it
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.Flags().Changed)
		},
	}
	cmd.SetFlagErrorFunc(badFlag)
	f := cmd.Flags()
	o.addPlaceFlags(f)
	f.Uint16Var(&o.port, "port", 0, "port on 127.0.0.1; 0 takes a free one")
	f.BoolVar(&o.noBrowser, "no-browser", false, "print the address only, and open no browser")
	f.StringVar(&o.zone, "time-zone", "Local", "zone of times, such as Asia/Shanghai; viewers can choose another")
	o.replicas.addFlags(f)
	o.inCluster.addFlags(f)
	o.logging.addFlags(f)
	o.completeFlags(cmd)
	return cmd
}

// run serves until SIGTERM or SIGINT; a second one ends the process at once.
func (o *pageOptions) run(parent context.Context, out io.Writer, given func(flag string) bool) error {
	if err := o.inCluster.validate(given); err != nil {
		return badInputError{err}
	}
	ctx, stop := signal.NotifyContext(parent, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	options := page.Options{Now: time.Now, Log: logr.FromSlogHandler(o.logging.logger(os.Stderr).Handler())}
	ctrl.SetLogger(options.Log)
	klog.SetLogger(options.Log.WithName("client-go"))
	var err error
	if options.Zone, err = time.LoadLocation(o.zone); err != nil {
		return badInputError{fmt.Errorf("--time-zone is %q: name a zone such as Asia/Shanghai or UTC", o.zone)}
	}
	if options.Namespace, err = o.scope(); err != nil {
		return badInputError{err}
	}
	config, err := o.restConfig()
	if err != nil {
		return badInputError{err}
	}
	config.UserAgent = "groupgate-page/" + builtVersion()
	scheme, err := kindsScheme()
	if err != nil {
		return err
	}
	clients, err := page.NewClients(config, scheme, kinds())
	if err != nil {
		return err
	}
	if o.inCluster.enabled {
		if options.Replicas, err = o.inCluster.replicas(&o.replicas); err != nil {
			return err
		}
		options.NoReplicas = "The replicas cannot be asked: the page was started without --replicas-url."
		return o.inCluster.serve(ctx, options, clients)
	}
	replicas, err := o.replicas.client(config, nil)
	if err != nil {
		return err
	}
	options.Replicas = func(*page.Viewer) page.Replicas { return replicas }
	return o.serveLaptop(ctx, options, clients, out)
}

// serveLaptop serves on loopback, with the identity of the kubeconfig.
func (o *pageOptions) serveLaptop(
	ctx context.Context, options page.Options, clients *page.Clients, out io.Writer,
) error {
	laptop, err := page.NewLaptop(ctx, clients)
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(o.port)))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return badInputError{fmt.Errorf("--port: %w: name another port, or 0 for any that is free", err)}
	}
	options.Origin = &url.URL{Scheme: "http", Host: listener.Addr().String()}
	options.Key = page.NewKey(options.Origin)
	options.Identity = laptop
	handler, err := page.New(options)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Fprintf(out, "The page of %s is here until Ctrl-C, for browsers on this machine only:\n\n  %s\n\n"+
		"The address has a key: do not pass it on.\n", terminal.Visible(laptop.Name()), options.Key.URL())
	if !o.noBrowser {
		if err := openBrowser(ctx, options.Key.LaunchURL()); err != nil {
			fmt.Fprintln(out, "No browser could be started, so open the address yourself.")
		}
	}
	return page.Serve(ctx, listener, nil, handler, options.Log)
}

// openBrowser starts the browser of the desktop, and does not wait for it.
func openBrowser(ctx context.Context, address string) error {
	program := map[string][]string{
		"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"},
	}[runtime.GOOS]
	if program == nil {
		program = []string{"xdg-open"}
	}
	//nolint:gosec // the address is made by this process
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program[0], append(program[1:], address)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // ends with the browser, or the process
	return nil
}
