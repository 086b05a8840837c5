package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"k8s.io/client-go/util/keyutil"

	"github.com/groupgate/groupgate/internal/lab"
)

// strangersWorld is small, so that what strangers take shows.
var strangersWorld = world{
	namespace:  "bench-strangers",
	population: population{sdkAppID: 1400000005, groups: 10, accounts: 10},
}

const (
	// containerLimit is the memory limit of config/manager.
	containerLimit = 512 << 20
	// besieged is how long strangers stay. A signature that they have captured is valid for a minute.
	besieged = 30 * time.Second
	// vendorPatience is how long the vendor waits for an answer.
	vendorPatience = 2 * time.Second
)

// siege is what strangers do at the same time.
type siege struct {
	name string
	kind strangerKind
	// strangers are in several processes where one cannot have as many files.
	processes, strangers int
	// hidden strangers come from the address of the vendor, as behind a load balancer that hides addresses.
	hidden bool
	// ecdsa is for a certificate with a key on P-256 instead of RSA with 2,048 bits.
	ecdsa bool
}

var sieges = []siege{
	{name: "none"},
	{name: "20,000 connections, one request each, held", kind: strangerHolds, processes: 2, strangers: 10_000},
	{name: "6,000 silent connections, always renewed", kind: strangerIsSilent, processes: 1, strangers: 6_000},
	{name: "1,000 bodies of 512 KiB under one Sign", kind: strangerSendsBody, processes: 1, strangers: 1_000},
	{name: "6,000 bodies of 64 KiB under one Sign", kind: strangerSendsSmallBody, processes: 1, strangers: 6_000},
	{name: "6,000 handshakes in progress", kind: strangerShakesHands, processes: 1, strangers: 6_000},
	{
		name: "the same, from the vendor's address", kind: strangerShakesHands, processes: 1, strangers: 6_000,
		hidden: true,
	},
	{
		name: "6,000 handshakes in progress, ECDSA", kind: strangerShakesHands, processes: 1, strangers: 6_000,
		ecdsa: true,
	},
	{
		name: "the same, from the vendor's address, ECDSA", kind: strangerShakesHands, processes: 1, strangers: 6_000,
		hidden: true, ecdsa: true,
	},
	{name: "4,096 connections with one Sign, held", kind: strangerIsSigned, processes: 1, strangers: 4_096},
}

// strangers measures what callbacks notice of strangers, and what memory these take, with the memory limit of
// config/manager.
func (b *bench) strangers(ctx context.Context) error {
	certificate, _, client, err := b.certificate()
	if err != nil {
		return err
	}
	onP256, err := ecdsaCertificate(b.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range sieges {
		b.say("strangers: %s", s.name)
		dir, client := filepath.Dir(certificate), client
		if s.ecdsa {
			dir, client = onP256, &tls.Config{InsecureSkipVerify: true}
		}
		if err := b.withstand(ctx, s, dir, client); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}

func (b *bench) withstand(ctx context.Context, s siege, certificates string, client *tls.Config) (err error) {
	if err := b.world(ctx, strangersWorld); err != nil {
		return err
	}
	namespace := lab.World{
		ControlPlane: b.plane.ControlPlane, Namespace: strangersWorld.namespace, Binary: b.groupgate,
		Env: []string{"GOMEMLIMIT=" + memoryLimit},
	}
	started, err := namespace.StartManager(b.log, "", "--shutdown-delay=0s", "--log-level=error",
		"--callback-insecure-http=false", "--callback-tls-cert-dir="+certificates)
	if err != nil {
		return err
	}
	release, err := confine(started.PID(), containerLimit)
	if err != nil {
		return errors.Join(err, started.Kill())
	}
	defer func() { err = errors.Join(err, started.Kill(), release()) }()
	if err := started.AwaitReady(ctx); err != nil {
		return err
	}

	m := &manager{Manager: started}
	target := target{address: m.address(), tls: client}
	probes := newProbes(target)
	if err := probes.begin(ctx); err != nil { // verified before the strangers come
		return err
	}
	if err := resetPeak(m.PID()); err != nil {
		return err
	}
	over, cancel := context.WithTimeout(ctx, besieged)
	defer cancel()
	var attackers []*lab.Process
	output := new(lockedBuffer)
	for range s.processes {
		attacker, err := b.startStrangers(output, s, target.address)
		if err != nil {
			return err
		}
		attackers = append(attackers, attacker)
	}
	probes.run(over)
	for _, attacker := range attackers {
		err = errors.Join(err, attacker.Stop(10*time.Second))
	}
	report := strings.Join(strings.Fields(output.String()), " ")
	most, problem := memory(m.PID(), peak)
	if problem != nil {
		most = -1 // killed
		report += " THE MANAGER ENDED"
	}
	table := b.results.table("Callbacks while strangers are there, and the most memory:",
		"strangers", "resident", "kept: sent", "lost", "p99", "worst", "fresh: sent", "lost", "p99", "worst",
		"connections of strangers")
	table.add(s.name, fmt.Sprintf("%.0f MiB", most),
		probes.kept.sent, probes.kept.lost, ms(probes.kept.times, 99), ms(probes.kept.times, 100),
		probes.fresh.sent, probes.fresh.lost, ms(probes.fresh.times, 99), ms(probes.fresh.times, 100), report)
	b.say("%s", table)
	return err
}

// ecdsaCertificate writes a certificate with a key on P-256 into a folder of its own.
func ecdsaCertificate(dir string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", fmt.Errorf("make a certificate: %w", err)
	}
	encoded, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return "", fmt.Errorf("encode a key: %w", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	dir = filepath.Join(dir, "ecdsa")
	return dir, errors.Join(
		os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "tls.crt"), block, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), encoded, 0o600))
}

func ms(h *hdrhistogram.Histogram, q float64) string { return fmt.Sprintf("%.1f ms", quantile(h, q)) }

// confine puts a process into a memory cgroup of its own, as the kubelet does.
func confine(pid, limit int) (release func() error, err error) {
	dir, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes" // version 1
	if _, err := os.Stat(dir); err != nil {
		dir, file = "/sys/fs/cgroup", "memory.max"
	}
	dir = filepath.Join(dir, "groupgate-bench-"+strconv.Itoa(pid))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a memory cgroup: %w", err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o600),
		os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("limit the memory: %w", err), os.Remove(dir))
	}
	return func() error { return os.Remove(dir) }, nil
}

// probes are the vendor's callbacks: 50 a second on one connection, and 40 a second on fresh ones.
type probes struct {
	target
	kept, fresh probe
	on          *connection
}

type probe struct {
	mu         sync.Mutex
	sent, lost int
	times      *hdrhistogram.Histogram
}

func newProbes(t target) *probes {
	return &probes{target: t, kept: probe{times: newHistogram()}, fresh: probe{times: newHistogram()}}
}

func (p *probe) record(begun time.Time, err error) {
	took := time.Since(begun)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	if err != nil || took > vendorPatience {
		p.lost++
	}
	_ = p.times.RecordValue(took.Microseconds()) // within the range by the deadline of exchange
}

// callback is a member's application, signed now.
func (p *probes) callback() *request {
	c := callback{group: 1, account: strangersWorld.member(1, 1), listed: true}
	return &request{
		bytes: strangersWorld.asVendor(&c, lab.CallbackToken, time.Now()), want: []byte(c.want()),
	}
}

// begin makes the address familiar by a first Sign, and opens the connection that is kept with the next one.
func (p *probes) begin(ctx context.Context) error {
	first, err := dial(ctx, p.address, p.tls)
	if err != nil {
		return err
	}
	if err := errors.Join(first.checked(p.callback()), first.Conn.Close()); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
	}
	if p.on, err = dial(ctx, p.address, p.tls); err != nil {
		return err
	}
	return p.on.checked(p.callback())
}

// run sends callbacks until ctx ends.
func (p *probes) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() {
		every(ctx, 20*time.Millisecond, func(begun time.Time) {
			var err error
			if p.on == nil {
				p.on, err = dial(context.WithoutCancel(ctx), p.address, p.tls)
			}
			if err == nil {
				err = p.on.checked(p.callback())
			}
			if err != nil {
				p.on = nil
			}
			p.kept.record(begun, err)
		})
	})
	for range 4 {
		all.Go(func() {
			every(ctx, 100*time.Millisecond, func(begun time.Time) {
				on, err := dial(context.WithoutCancel(ctx), p.address, p.tls)
				if err == nil {
					err = errors.Join(on.checked(p.callback()), on.Conn.Close())
				}
				p.fresh.record(begun, err)
			})
		})
	}
	all.Wait()
}

// every calls do at an interval, unless the last call is still going on.
func every(ctx context.Context, interval time.Duration, do func(begun time.Time)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(time.Now())
		}
	}
}

// lockedBuffer takes the output of several processes.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
