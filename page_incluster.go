package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/groupgate/groupgate/internal/page"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

// inClusterOptions are the flags of `groupgate page --in-cluster`.
type inClusterOptions struct {
	enabled      bool
	listen       string
	tlsCertDir   string
	clientCAFile string
	clientName   string
	publicURL    string
	probeAddress string
	tokenFile    string
	proxy        page.Proxy

	public *url.URL
}

func (o *inClusterOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.enabled, "in-cluster", false,
		"serve many users, whom a proxy names in headers; the flags below belong to it")
	f.StringVar(&o.listen, "listen", "", "unix:/PATH of a socket, or HOST:PORT for TLS with the proxy's certificate")
	f.StringVar(&o.publicURL, "public-url", "",
		"address of the page in browsers, such as https://groupgate.example.com; no other one is accepted")
	f.StringVar(&o.tlsCertDir, "tls-cert-dir", "", "directory with tls.crt and tls.key of the page, reloaded on change")
	f.StringVar(&o.clientCAFile, "client-ca-file", "",
		"certificates of the authority that signed the proxy's certificate, reloaded on change")
	f.StringVar(&o.clientName, "client-name", "", "common name or DNS name in the proxy's certificate")
	f.StringVar(&o.proxy.UserHeader, "user-header", "X-Forwarded-User", "header with the name of the user")
	f.StringVar(&o.proxy.GroupsHeader, "groups-header", "X-Forwarded-Groups",
		"header with the groups of the user, separated by commas")
	f.StringVar(&o.proxy.UserPrefix, "user-prefix", "",
		"what comes before names of users, as --oidc-username-prefix")
	f.StringVar(&o.proxy.GroupsPrefix, "groups-prefix", "",
		"what comes before names of groups, as --oidc-groups-prefix")
	f.StringVar(&o.tokenFile, "replicas-token-file", "",
		"token that the page presents to the replicas, read for each question: a projected one with their audience")
	f.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081",
		"address of /healthz and /readyz alone; 0 turns it off")
}

// onlyTheProxy says how to listen so that the headers can be believed.
const onlyTheProxy = "user and groups are taken from headers, so that nobody but the proxy may connect: use " +
	"--listen=unix:/run/groupgate/page.sock with the proxy in the same Pod, or --listen=HOST:PORT with " +
	"--tls-cert-dir, --client-ca-file and --client-name, the name in the proxy's certificate"

func (o *inClusterOptions) validate(given func(flag string) bool) error {
	if !o.enabled {
		for _, flag := range []string{
			"listen", "public-url", "tls-cert-dir", "client-ca-file", "client-name", "user-header", "groups-header",
			"user-prefix", "groups-prefix", "health-probe-bind-address", "replicas-token-file",
		} {
			if given(flag) {
				return fmt.Errorf("--%s needs --in-cluster", flag)
			}
		}
		return nil
	}
	var errs []error
	for _, flag := range []string{"port", "no-browser", "context"} {
		if given(flag) {
			errs = append(errs, fmt.Errorf("--%s is for a laptop: leave out either it or --in-cluster", flag))
		}
	}
	if !given("namespace") && !given("all-namespaces") {
		errs = append(errs, errors.New("say whose objects are shown: either --namespace or --all-namespaces"))
	}
	path, isUnix := strings.CutPrefix(o.listen, "unix:")
	secured := o.tlsCertDir != "" && o.clientCAFile != "" && o.clientName != ""
	switch {
	case isUnix && !filepath.IsAbs(path):
		errs = append(errs, fmt.Errorf("--listen is %q: write unix: and an absolute path", o.listen))
	case isUnix && (o.tlsCertDir != "" || o.clientCAFile != "" || o.clientName != ""):
		errs = append(errs, errors.New("--tls-cert-dir, --client-ca-file and --client-name are for --listen=HOST:PORT"))
	case !isUnix && (o.listen == "" || !secured):
		errs = append(errs, errors.New(onlyTheProxy))
	}
	var err error
	if o.public, err = publicURL(o.publicURL); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, o.proxy.Validate())...)
}

// publicURL is the origin of the page in browsers.
func publicURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Path != "" && u.Path != "/" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, fmt.Errorf("--public-url is %q: name the address that browsers use, such as "+
			"https://groupgate.example.com, without a path", text)
	}
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[u.Scheme]) // as browsers send it
	return &url.URL{Scheme: u.Scheme, Host: host}, nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// serve answers the proxy until ctx ends.
func (o *inClusterOptions) serve(ctx context.Context, options page.Options, clients *page.Clients) error {
	o.proxy.Clients, o.proxy.Namespace, o.proxy.Now = clients, options.Namespace, options.Now
	options.Identity, options.Origin = &o.proxy, o.public
	handler, err := page.New(options)
	if err != nil {
		return err
	}
	listener, secured, err := o.listenForProxy(ctx, options)
	if err != nil {
		return err
	}
	servers, ctx := errgroup.WithContext(ctx)
	if o.probeAddress != "0" {
		probes, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.probeAddress)
		if err != nil {
			return errors.Join(fmt.Errorf("--health-probe-bind-address: %w", err), listener.Close())
		}
		servers.Go(func() error { return page.Serve(ctx, probes, nil, o.probes(), logr.Discard()) })
	}
	options.Log.Info("Serving the page", "version", builtVersion(), "listen", o.listen, "publicURL", o.public.String())
	servers.Go(func() error { return page.Serve(ctx, listener, secured, handler, options.Log) })
	return servers.Wait()
}

// replicas ask as the viewer, whom the page may impersonate; without that, with the page's own rights.
func (o *inClusterOptions) replicas(flags *replicaFlags) (func(*page.Viewer) page.Replicas, error) {
	if len(flags.urls) == 0 {
		return nil, nil //nolint:nilnil // the page says that it cannot ask
	}
	if o.tokenFile == "" {
		return nil, badInputError{errors.New("--replicas-url needs --replicas-token-file in the cluster: project a " +
			"ServiceAccount token with the audience groupgate-replicas")}
	}
	own, err := flags.client(nil, replicaclient.TokenFile(o.tokenFile))
	if err != nil {
		return nil, err
	}
	return func(v *page.Viewer) page.Replicas {
		if v.ReadOnly != "" {
			return own
		}
		return own.As(v.Name, v.Groups)
	}, nil
}

func (o *inClusterOptions) listenForProxy(
	ctx context.Context, options page.Options,
) (listener net.Listener, secured *tls.Config, err error) {
	if path, ok := strings.CutPrefix(o.listen, "unix:"); ok {
		if listener, err = page.ListenUnix(ctx, path); err != nil {
			return nil, nil, fmt.Errorf("--listen: %w", err)
		}
		return listener, nil, nil
	}
	files := &page.MutualTLS{
		CertFile: filepath.Join(o.tlsCertDir, "tls.crt"), KeyFile: filepath.Join(o.tlsCertDir, "tls.key"),
		ClientCAFile: o.clientCAFile, ClientName: o.clientName, Now: options.Now, Log: options.Log,
	}
	if secured, err = files.Config(); err != nil {
		return nil, nil, err
	}
	if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen); err != nil {
		return nil, nil, fmt.Errorf("--listen: %w", err)
	}
	return listener, secured, nil
}

// probes answers the kubelet, which reaches neither a Unix socket nor a server that asks for a certificate. The page is
// ready while the proxy can connect.
func (o *inClusterOptions) probes() http.Handler {
	network, address := "tcp", o.listen
	if path, ok := strings.CutPrefix(o.listen, "unix:"); ok {
		network, address = "unix", path
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(r.Context(), network, address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_ = connection.Close()
		_, _ = io.WriteString(w, "ok")
	})
	return mux
}
