package peers

import (
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// ServeFastHTTP is BareTyped with fasthttp instead of net/http: the cost of that choice, which docs/adr explains.
func ServeFastHTTP(listener net.Listener) error {
	server := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.SetContentType("application/json; charset=utf-8")
			_, _ = ctx.Write(constant)
		},
		ReadTimeout:           3 * time.Second,
		WriteTimeout:          3 * time.Second,
		IdleTimeout:           10 * time.Minute,
		ReadBufferSize:        16 << 10,
		MaxRequestBodySize:    1 << 20,
		NoDefaultServerHeader: true,
	}
	return server.Serve(listener)
}
