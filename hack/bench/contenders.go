package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/groupgate/groupgate/hack/bench/peers"
	"github.com/groupgate/groupgate/internal/lab"
)

// contender is a kind of server that answers the stream.
type contender struct {
	name  string
	title string
	// required ones end the run where they do not start; any other one is left out, and said so.
	required bool
	// decides is false for the bare server, whose answers are always the same.
	decides bool
	encode  func(p population, c *callback, token string, at time.Time) []byte
	start   func(ctx context.Context, b *bench, procs int) (*server, error)
}

func contenders() []*contender {
	peer := func(name, title string, required, decides bool) *contender {
		return &contender{name: name, title: title, required: required, decides: decides, encode: population.asVendor,
			start: func(ctx context.Context, b *bench, procs int) (*server, error) {
				return b.startPeer(ctx, name, procs)
			}}
	}
	return []*contender{
		peer("bare", "bare net/http", true, false),
		{
			name:     "groupgate",
			title:    "Groupgate",
			required: true,
			decides:  true,
			encode:   population.asVendor,
			start:    startGroupgate,
		},
		peer("bare-typed", "bare net/http with our headers", true, false),
		peer("fasthttp", "bare fasthttp with our headers", false, false),
		peer("handwritten", "handwritten", true, true),
		{
			name:    "opa",
			title:   "Open Policy Agent " + opaVersion,
			decides: true,
			encode:  population.asOPA,
			start:   startOPA,
		},
		peer("cedar", "cedar-go behind net/http", false, true),
		peer("casbin", "casbin behind net/http", false, true),
		{
			name:    "redis",
			title:   "Redis SISMEMBER behind net/http",
			decides: true,
			encode:  population.asVendor,
			start:   startWithRedis,
		},
	}
}

// signedOver is for how many seconds a stream is signed. One signature verifies at most 16 connections of Groupgate.
const signedOver = 40

// requests are the stream in the form of the contender, signed in the last seconds: connections that begin side by
// side, at neighbouring requests or at distant ones, begin with different signatures.
func (c *contender) requests(p population) []request {
	drawn := p.callbacks(4096)
	out := make([]request, len(drawn))
	now := time.Now()
	for i := range drawn {
		age := time.Duration((i+i/128)%signedOver) * time.Second
		out[i].bytes = c.encode(p, &drawn[i], lab.CallbackToken, now.Add(-age))
		if c.decides {
			out[i].want = []byte(drawn[i].want())
		}
	}
	return out
}

// verify sends every callback once, and then forged ones: a contender that is fast because it checks less does not
// count.
func (c *contender) verify(ctx context.Context, s *server, p population) error {
	conn, err := dial(ctx, s.address, s.tls)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, r := range c.requests(p) {
		if err := conn.checked(&r); err != nil {
			return err
		}
	}
	if !c.decides {
		return nil
	}
	member := callback{group: 1, account: p.member(1, 1), listed: true}
	foreign := p
	foreign.sdkAppID++
	for what, forged := range map[string][]byte{
		"signed with a wrong token": c.encode(p, &member, "another token", time.Now()),
		"signed an hour ago":        c.encode(p, &member, lab.CallbackToken, time.Now().Add(-time.Hour)),
		"of an unknown app":         c.encode(foreign, &member, lab.CallbackToken, time.Now()),
	} {
		status, body, err := conn.exchange(forged)
		if err != nil {
			return err
		}
		if status == http.StatusOK && strings.Contains(string(body), admission) {
			return fmt.Errorf("a callback %s was answered with %s", what, body)
		}
	}
	return nil
}

// startAll starts the contenders and verifies each; the one that is not required and fails is left out.
func (b *bench) startAll(ctx context.Context, procs int, all []*contender) (map[*contender]*server, error) {
	running := map[*contender]*server{}
	for _, c := range all {
		if b.results.LeftOut[c.title] != "" {
			continue
		}
		b.say("starting %s", c.title)
		s, err := c.start(ctx, b, procs)
		if err == nil {
			if err = c.verify(ctx, s, streamWorld.population); err != nil {
				err = errors.Join(err, s.end())
			}
		}
		switch {
		case err == nil:
			running[c] = s
		case ctx.Err() != nil || c.required:
			return running, fmt.Errorf("%s: %w", c.title, err)
		default:
			b.say("left out: %s: %v", c.title, err)
			b.results.LeftOut[c.title] = err.Error()
		}
	}
	return running, nil
}

func endAll(running map[*contender]*server) error {
	var errs []error
	for _, s := range running {
		errs = append(errs, s.end())
	}
	return errors.Join(errs...)
}

// startGroupgate starts a manager with the policies and lists of the stream.
func startGroupgate(ctx context.Context, b *bench, procs int) (*server, error) {
	return b.startGate(ctx, procs, nil)
}

func (b *bench) startGate(ctx context.Context, procs int, secured *tls.Config, flags ...string) (*server, error) {
	m, err := b.startQuiet(ctx, procs, streamWorld, flags...)
	if err != nil {
		return nil, err
	}
	return &server{target: target{address: m.address(), tls: secured, pids: []int{m.PID()}}, end: m.end}, nil
}

// contenderBinary is built beside this program.
func contenderBinary() string { return filepath.Join(filepath.Dir(os.Args[0]), "contender") }

// startPeer starts a process of hack/bench/contender. What it shares with its like comes from a file.
func (b *bench) startPeer(ctx context.Context, kind string, procs int, flags ...string) (*server, error) {
	data, err := b.data()
	if err != nil {
		return nil, err
	}
	address, err := lab.FreeAddress()
	if err != nil {
		return nil, err
	}
	flags = append([]string{"-kind=" + kind, "-address=" + address, "-data=" + data}, flags...)
	return b.startServer(ctx, withProcs(procs), address, contenderBinary(), flags...)
}

// data writes the data of the stream for the contenders, once, and returns the path.
func (b *bench) data() (string, error) {
	path := filepath.Join(b.dir, "data.json")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	data := peers.Data{
		SDKAppID: fmt.Sprint(streamWorld.sdkAppID),
		Token:    lab.CallbackToken,
		Members:  map[string]map[string]bool{},
	}
	for group := range streamWorld.groups {
		members := map[string]bool{}
		for _, account := range streamWorld.members(group) {
			members[account] = true
		}
		data.Members[groupID(group)] = members
	}
	text, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, text, 0o600)
}
