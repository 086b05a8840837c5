// Command contender is one server process of the benchmark: it answers callbacks as one of Groupgate's peers would.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/groupgate/groupgate/hack/bench/peers"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "contender:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	kind := flag.String("kind", "bare", "bare, bare-typed, fasthttp, handwritten, cedar, casbin, redis or informers")
	address := flag.String("address", "127.0.0.1:0", "address to listen on")
	file := flag.String("data", "", "file with the data; the bare ones need none")
	redisAddress := flag.String("redis", "", "address of the Redis server")
	certificate := flag.String("tls-cert", "", "serve TLS with this certificate")
	key := flag.String("tls-key", "", "and this key")
	kubeconfig := flag.String("kubeconfig", "", "of the API server, for informers")
	namespace := flag.String("namespace", "", "what informers watch")
	flag.Parse()

	if *kind == "informers" {
		return peers.ServeInformers(ctx, *kubeconfig, *namespace, *address)
	}
	var handler http.Handler
	if *kind != "fasthttp" {
		var err error
		if handler, err = newHandler(ctx, *kind, *file, *redisAddress); err != nil {
			return err
		}
	}
	// What reading the data left behind is none of what is measured.
	debug.FreeOSMemory()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	if handler == nil {
		return peers.ServeFastHTTP(listener)
	}
	server := peers.NewServer(handler)
	if *certificate != "" {
		return server.ServeTLS(listener, *certificate, *key)
	}
	return server.Serve(listener)
}

func newHandler(ctx context.Context, kind, file, redisAddress string) (http.Handler, error) {
	switch kind {
	case "bare":
		return peers.Bare(), nil
	case "bare-typed":
		return peers.BareTyped(), nil
	}
	data, err := peers.Load(file)
	if err != nil {
		return nil, err
	}
	var admits peers.Decider
	switch kind {
	case "handwritten":
		admits = peers.FromMaps(data)
	case "cedar":
		admits, err = peers.FromCedar(data)
	case "casbin":
		admits, err = peers.FromCasbin(data)
	case "redis":
		admits, err = peers.FromRedis(ctx, data, redisAddress)
	default:
		return nil, fmt.Errorf(
			"-kind=%s: name one of bare, bare-typed, fasthttp, handwritten, cedar, casbin, redis, informers",
			kind,
		)
	}
	if err != nil {
		return nil, err
	}
	return peers.Handwritten(&peers.Data{SDKAppID: data.SDKAppID, Token: data.Token}, admits), nil
}
