package webhookserver

import (
	"errors"
	"io"
	"slices"
)

const (
	// maxBody is the largest body that is read. The largest the vendor is known
	// to send is about 360 KB: every member of a destroyed group (page 34377).
	maxBody = 1 << 20

	// firstRead is the room that a body is first given; a callback about a
	// join takes 300 bytes. Room grows with what has arrived, never with what
	// Content-Length promises.
	firstRead = 4 << 10

	// keptBuffer is the largest buffer kept for the next request, so that one
	// large body does not stay in memory for good.
	keptBuffer = 64 << 10
)

var errBodyTooLarge = errors.New("body over 1 MiB")

// readBody reads all of body into buf, from its start, and returns what buf has
// become, also on an error. A body over maxBody is errBodyTooLarge.
//
// A body that has ended is closed: net/http, which looks for what is left of
// one before it writes the answer, then knows at once.
func readBody(body io.ReadCloser, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], firstRead)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > maxBody:
			return buf, errBodyTooLarge
		case errors.Is(err, io.EOF):
			return buf, body.Close()
		case err != nil:
			return buf, err
		}
	}
}
