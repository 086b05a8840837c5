package peers

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Bare is the limit: it reads the body into a buffer that is used again and writes a constant. It sets no header, since
// the first one would allocate the map that holds them; net/http finds out the type and the length, which is cheaper.
func Bare() http.Handler {
	buffers := sync.Pool{New: func() any { return new([4 << 10]byte) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buffer := buffers.Get().(*[4 << 10]byte)
		defer buffers.Put(buffer)
		for read := 0; read < len(buffer); {
			n, err := r.Body.Read(buffer[read:])
			read += n
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
		_, _ = w.Write(constant)
	})
}

var constant = []byte(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`)

// BareTyped is Bare with the headers that Groupgate has to send. What it costs above Bare, any handler that names a
// type does: net/http makes a map of the headers, and a copy of it when they are written.
func BareTyped() http.Handler {
	bare := Bare()
	contentType := []string{"application/json; charset=utf-8"}
	contentLength := []string{strconv.Itoa(len(constant))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header["Content-Type"] = contentType
		header["Content-Length"] = contentLength
		bare.ServeHTTP(w, r)
	})
}
