package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	certutil "k8s.io/client-go/util/cert"
)

// path measures the CPU time that each contender takes for a callback, over plain HTTP.
func (b *bench) path(ctx context.Context) error {
	return b.compare(ctx, "http", contenders())
}

// tls measures the same over TLS, of the bare server and Groupgate.
func (b *bench) tls(ctx context.Context) error {
	certificate, key, client, err := b.certificate()
	if err != nil {
		return err
	}
	all := contenders()
	bare, groupgate := all[0], all[1]
	bare.start = func(ctx context.Context, b *bench, procs int) (*server, error) {
		s, err := b.startPeer(ctx, "bare", procs, "-tls-cert="+certificate, "-tls-key="+key)
		if err == nil {
			s.tls = client
		}
		return s, err
	}
	groupgate.start = func(ctx context.Context, b *bench, procs int) (*server, error) {
		return b.startGate(ctx, procs, client, "--callback-insecure-http=false",
			"--callback-tls-cert-dir="+filepath.Dir(certificate))
	}
	return b.compare(ctx, "https", []*contender{bare, groupgate})
}

// compare puts the contenders under load in turn, round after round, so that whatever else goes on in the machine meets
// all of them. It does so with GOMAXPROCS=1, where server and load generator have CPUs of their own, and at full cores,
// where they share them.
func (b *bench) compare(ctx context.Context, protocol string, all []*contender) error {
	for _, procs := range []int{1, runtime.NumCPU()} {
		if err := b.compareWith(ctx, protocol, procs, all); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) compareWith(ctx context.Context, protocol string, procs int, all []*contender) (err error) {
	running, err := b.startAll(ctx, procs, all)
	defer func() { err = errors.Join(err, endAll(running)) }()
	if err != nil {
		return err
	}
	unpin, err := separate(procs, running)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unpin()) }()

	mode := fmt.Sprintf("%s/%s", protocol, procsName(procs))
	costs := map[string][]float64{}
	rates := map[string][]float64{}
	for round := range b.rounds {
		for i := range all {
			c := all[(i+round)%len(all)]
			s := running[c]
			if s == nil {
				continue
			}
			measured, err := closedLoop(ctx, s.target, c.requests(streamWorld.population), b.connections, b.round)
			if err != nil {
				return fmt.Errorf("%s: %w", c.title, err)
			}
			costs[c.name] = append(costs[c.name], measured.cpuEach())
			rates[c.name] = append(rates[c.name], measured.perSecond())
			b.say("%s round %d: %-28s %6.1f us CPU, %6.0f/s", mode, round+1, c.title, measured.cpuEach()/1e3,
				measured.perSecond())
		}
	}
	for _, c := range all {
		if costs[c.name] == nil {
			continue
		}
		table := b.results.table("", "contender", "mode", "CPU per callback", "callbacks per second")
		cpu, rate := fmt.Sprintf("%.1f us", median(costs[c.name])/1e3), fmt.Sprintf("%.0f", median(rates[c.name]))
		table.add(c.title, mode, cpu, rate)
		switch c.name {
		case "groupgate":
			b.results.add(mode+"/groupgate-per-bare", ratios(costs["groupgate"], costs["bare"])...)
			if typed := costs["bare-typed"]; typed != nil {
				b.results.add(mode+"/groupgate-per-bare-typed", ratios(costs["groupgate"], typed)...)
			}
			b.results.add(mode+"/capacity", rates["groupgate"]...)
		case "bare-typed", "fasthttp":
			b.results.add(mode+"/"+c.name+"-per-bare", ratios(costs[c.name], costs["bare"])...)
		case "bare":
		default:
			b.results.add(mode+"/"+c.name+"-per-groupgate", ratios(costs[c.name], costs["groupgate"])...)
		}
	}
	return nil
}

// procsName names the mode, independent of the machine.
func procsName(procs int) string {
	if procs == 1 {
		return "one"
	}
	return "all"
}

// separate gives the servers a CPU of their own and the load generator the others, where there is but one P. The
// function it returns takes that back for the load generator.
func separate(procs int, running map[*contender]*server) (func() error, error) {
	cpus := make([]int, runtime.NumCPU())
	for i := range cpus {
		cpus[i] = i
	}
	if procs > 1 || len(cpus) < 2 {
		return func() error { return nil }, nil
	}
	for _, s := range running {
		for _, pid := range s.pids {
			if err := pin(pid, cpus[0]); err != nil {
				return nil, err
			}
		}
	}
	if err := pin(os.Getpid(), cpus[1:]...); err != nil {
		return nil, err
	}
	return func() error { return pin(os.Getpid(), cpus...) }, nil
}

// certificate writes a self-signed one as tls.crt and tls.key, and returns what a client needs to trust it.
func (b *bench) certificate() (certificate, key string, client *tls.Config, err error) {
	certPEM, keyPEM, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		return "", "", nil, fmt.Errorf("make a certificate: %w", err)
	}
	certificate, key = filepath.Join(b.dir, "tls.crt"), filepath.Join(b.dir, "tls.key")
	if err := errors.Join(os.WriteFile(certificate, certPEM, 0o600), os.WriteFile(key, keyPEM, 0o600)); err != nil {
		return "", "", nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certPEM) {
		return "", "", nil, errors.New("the certificate cannot be read")
	}
	return certificate, key, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}, nil
}
