package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// connection is a keep-alive connection that costs the load generator as little as possible: requests are sent as they
// stand, and of an answer only the status and the length are read.
type connection struct {
	net.Conn
	reader *bufio.Reader
	body   []byte
}

// dial connects, over TLS where config is not nil.
func dial(ctx context.Context, address string, config *tls.Config) (*connection, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	return &connection{Conn: conn, reader: bufio.NewReader(conn)}, nil
}

// patience bounds one exchange; only a server that is broken needs it.
const patience = 30 * time.Second

// exchange sends a request and returns status and body of the answer; the body is good until the next exchange.
func (c *connection) exchange(request []byte) (status int, body []byte, err error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	if _, err := c.Write(request); err != nil {
		return 0, nil, fmt.Errorf("send a request: %w", err)
	}
	length := -1
	for first := true; ; first = false {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, nil, fmt.Errorf("read an answer: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			if len(line) < len("HTTP/1.1 200") {
				return 0, nil, fmt.Errorf("no status in %q", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, nil, fmt.Errorf("no status in %q", line)
			}
			continue
		case len(line) > 15 && bytes.EqualFold(line[:15], []byte("Content-Length:")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:]))); err != nil {
				return 0, nil, fmt.Errorf("no length in %q", line)
			}
			continue
		case len(line) > 0:
			continue
		}
		break
	}
	if length < 0 {
		return status, nil, errors.New("an answer without a length")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	if _, err := io.ReadFull(c.reader, c.body); err != nil {
		return status, nil, fmt.Errorf("read an answer: %w", err)
	}
	return status, c.body, nil
}

// await sends a request every so often until the answer is the wanted one.
func (c *connection) await(
	ctx context.Context, request []byte, every time.Duration, wanted func(answer []byte) bool,
) error {
	for {
		status, answer, err := c.exchange(request)
		switch {
		case err != nil:
			return err
		case status != http.StatusOK:
			return fmt.Errorf("HTTP %d: %s", status, answer)
		case wanted(answer):
			return nil
		}
		if err := wait(ctx, every); err != nil {
			return fmt.Errorf("wait for a change to be enforced, last answer %s: %w", answer, err)
		}
	}
}
