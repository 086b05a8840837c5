// Command record runs two replicas under every kind of traffic and writes what Prometheus would scrape of them: files
// named MILLISECONDS-POD.txt, in the text format. hack/tools/promtool/dashboard evaluates and draws the dashboard with
// them.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	certutil "k8s.io/client-go/util/cert"

	"github.com/groupgate/groupgate/internal/lab"
)

// callbacksEach is a second, on average.
const callbacksEach = 25

func main() {
	dir := flag.String("dir", "", "folder that the scrapes are written to")
	lasts := flag.Duration("for", 30*time.Second, "how long")
	interval := flag.Duration("interval", time.Second, "time between two scrapes of a replica")
	flag.Parse()
	if *dir == "" {
		fmt.Fprintln(os.Stderr, "record: say where: --dir=FOLDER")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := record(ctx, *dir, *lasts, *interval); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func record(ctx context.Context, dir string, lasts, interval time.Duration) (err error) {
	scratch, err := os.MkdirTemp("", "groupgate-record-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	s, err := newScene(ctx, scratch)
	if s != nil {
		defer func() { err = errors.Join(err, s.close()) }()
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	running, ctx := errgroup.WithContext(ctx)
	for pod, replica := range s.replicas {
		running.Go(func() error { return s.callbacks(ctx, replica.CallbackURL, lasts) })
		running.Go(func() error {
			return every(ctx, interval, func() error { return scrape(ctx, replica.MetricsURL, dir, pod) })
		})
	}
	running.Go(func() error { return s.fullGroups(ctx) })
	running.Go(func() error { return s.strangers(ctx) })
	running.Go(func() error { return s.edits(ctx) })
	return running.Wait()
}

// every calls f until ctx ends or it fails.
func every(ctx context.Context, interval time.Duration, f func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := f(); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func scrape(ctx context.Context, url, dir, pod string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	at := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the metrics of %s: %w", pod, err)
	}
	name := fmt.Sprintf("%d-%s.txt", at.UnixMilli(), pod)
	return os.WriteFile(filepath.Join(dir, name), text, 0o600)
}

// scene is a control plane, an IM backend with two apps, and two replicas with TLS.
type scene struct {
	lab.World
	backend  *lab.Backend
	replicas map[string]*lab.Manager // by the name of the Pod
	log      *lab.Log
}

// newScene returns a scene to close even with an error, if there is one.
func newScene(ctx context.Context, dir string) (*scene, error) {
	plane, err := lab.StartControlPlane(dir, nil)
	if err != nil {
		return nil, err
	}
	s := &scene{replicas: map[string]*lab.Manager{}, log: &lab.Log{}}
	s.World = lab.World{ControlPlane: plane, Namespace: "chat"}
	s.backend = lab.NewBackend([]lab.App{prod, trial}, s.targets, nil)
	s.IMEndpoint = s.backend.URL
	if s.Binary, err = lab.Build(dir, false); err != nil {
		return s, err
	}
	if err := plane.Install(ctx); err != nil {
		return s, err
	}
	if err := s.Apply(ctx, prod.Manifests(), trial.Manifests(), policies); err != nil {
		return s, err
	}
	if err := selfSigned(dir); err != nil {
		return s, err
	}
	for _, pod := range []string{"groupgate-manager-6d9f-x2x7k", "groupgate-manager-6d9f-qq4bd"} {
		s.Env = []string{"POD_NAMESPACE=groupgate-system", "POD_NAME=" + pod, "POD_UID=" + pod, "GOMEMLIMIT=460MiB"}
		m, err := s.StartManager(s.log, "", append(lab.FastElection,
			"--callback-insecure-http=false", "--callback-tls-cert-dir="+dir, "--sweep-interval=20s",
			"--shutdown-delay=0s", "--decision-log=off")...)
		if err != nil {
			return s, err
		}
		m.CallbackURL = strings.Replace(m.CallbackURL, "http:", "https:", 1)
		s.replicas[pod] = m
		ready, cancel := context.WithTimeout(ctx, time.Minute)
		err = m.AwaitReady(ready)
		cancel()
		if err != nil {
			return s, fmt.Errorf("%w\n%s", err, s.log)
		}
	}
	return s, nil
}

// selfSigned writes a certificate for loopback, and has this process trust every one.
func selfSigned(dir string) error {
	cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), cert, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), key, 0o600),
	)
}

func (s *scene) targets() (urls []string) {
	for _, m := range s.replicas {
		urls = append(urls, m.CallbackURL)
	}
	return urls
}

func (s *scene) close() error {
	var errs []error
	for _, m := range s.replicas {
		errs = append(errs, m.Stop(30*time.Second))
	}
	return errors.Join(append(errs, s.backend.Close(), s.Stop())...)
}
