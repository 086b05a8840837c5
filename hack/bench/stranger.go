package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// strangerCommand makes this program many strangers, in a process of its own with one P.
const strangerCommand = "strangers"

// strangerKind is what a stranger does with its connection.
type strangerKind string

const (
	strangerHolds          strangerKind = "hold"       // sends one request without an app
	strangerIsSilent       strangerKind = "silent"     // completes the handshake
	strangerShakesHands    strangerKind = "handshake"  // sends the first message of a handshake
	strangerIsSigned       strangerKind = "signed"     // sends one callback with a captured Sign
	strangerSendsBody      strangerKind = "body"       // sends all but the last byte of 512 KiB, with a captured Sign
	strangerSendsSmallBody strangerKind = "small-body" // the same with 64 KiB
)

// strangers are what a process of strangers has done.
type strangers struct {
	kind           strangerKind
	address, query string
	dialer         net.Dialer
	tls            *tls.Config
	hello          []byte

	tried, connected, sent atomic.Int64
}

func (b *bench) startStrangers(log io.Writer, s siege, address string) (*lab.Process, error) {
	from := "127.0.0.2"
	if s.hidden {
		from = "127.0.0.1"
	}
	// Valid from now until the end.
	captured := time.Now().Add(10 * time.Second)
	query := lab.Sign(lab.Query(strangersWorld.sdkAppID, lab.CommandApply), lab.CallbackToken, captured)
	return lab.Start(log, withProcs(1), os.Args[0], strangerCommand, "-kind="+string(s.kind), "-address="+address,
		"-from="+from, "-query="+query, fmt.Sprint("-count=", s.strangers))
}

// runStrangers is a process of strangers, until SIGTERM.
func runStrangers(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	s := &strangers{tls: &tls.Config{InsecureSkipVerify: true}} // they do not care
	flags := flag.NewFlagSet(strangerCommand, flag.ContinueOnError)
	kind := flags.String("kind", "", "")
	from := flags.String("from", "", "")
	count := flags.Int("count", 0, "")
	flags.StringVar(&s.address, "address", "", "")
	flags.StringVar(&s.query, "query", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s.kind = strangerKind(*kind)
	s.dialer = net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(*from)}, Timeout: 5 * time.Second}
	s.hello = firstMessage(ctx)

	var all sync.WaitGroup
	// All connect within some seconds. More at a time would fill the backlog, and a lost SYN is repeated after 1 s.
	turns := make(chan struct{}, 200)
	for range *count {
		all.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				s.visit(ctx, turns)
				if s.kind == strangerHolds {
					return
				}
			}
		})
	}
	<-ctx.Done()
	fmt.Printf("tried %d, connected %d, sent %d\n", s.tried.Load(), s.connected.Load(), s.sent.Load())
	return nil
}

// visit is one connection, until the server closes it, or to the end if the stranger holds it.
func (s *strangers) visit(ctx context.Context, turns chan struct{}) {
	turns <- struct{}{}
	conn := s.enter(ctx)
	<-turns
	if conn == nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn) // until the server closes it
	if s.kind == strangerHolds {
		<-ctx.Done()
	}
	_ = conn.Close()
}

// enter connects and sends; nil if that fails.
func (s *strangers) enter(ctx context.Context) net.Conn {
	s.tried.Add(1)
	raw, err := s.dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil
	}
	s.connected.Add(1)
	_ = raw.SetDeadline(time.Now().Add(besieged))
	if s.kind == strangerShakesHands {
		if _, err := raw.Write(s.hello); err == nil {
			s.sent.Add(1)
		}
		return raw
	}
	conn := tls.Client(raw, s.tls)
	send := func(request string, padding int) error {
		_, err := io.WriteString(conn, request)
		if err == nil && padding > 0 {
			_, err = conn.Write(spaces[:padding])
		}
		return err
	}
	post := func(query string, length int) string {
		return fmt.Sprintf("POST /callback?%s HTTP/1.1\r\nHost: gate\r\nContent-Length: %d\r\n\r\n", query, length)
	}
	switch s.kind {
	case strangerIsSilent:
		err = conn.HandshakeContext(ctx)
	case strangerHolds:
		err = send(post("", 0), 0)
	case strangerIsSigned:
		err = send(post(s.query, 2)+"{}", 0)
	case strangerSendsBody:
		err = send(post(s.query, len(spaces)), len(spaces)-1)
	case strangerSendsSmallBody:
		err = send(post(s.query, 64<<10), 64<<10-1)
	}
	if err != nil {
		_ = raw.Close()
		return nil
	}
	s.sent.Add(1)
	return conn
}

var spaces = make([]byte, 512<<10)

// firstMessage records the first message of a client's handshake.
func firstMessage(ctx context.Context) []byte {
	near, far := net.Pipe()
	go func() { // ends with the pipe
		_ = tls.Client(near, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	}()
	buffer := make([]byte, 16<<10)
	n, err := far.Read(buffer)
	_ = errors.Join(near.Close(), far.Close())
	if err != nil {
		return nil
	}
	return buffer[:n]
}
