package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Expose listens on loopback for a port of a Service, until the node stops, and returns host:port. Every connection
// goes to a random endpoint that is ready, as kube-proxy balances them; while none is, to one that still serves while
// its Pod ends; and without those it is closed. ctx bounds the call only.
func (n *Node) Expose(ctx context.Context, namespace, service, port string) (address string, err error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen for Service %s: %w", service, err)
	}
	n.running.Go(func() {
		defer context.AfterFunc(n.life, func() { _ = listener.Close() })()
		for {
			incoming, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				n.running.Go(func() { n.forward(n.life, incoming, namespace, service, port) })
			}
		}
	})
	return listener.Addr().String(), nil
}

// forward joins a connection to one of an endpoint, until one side or the node ends it.
func (n *Node) forward(ctx context.Context, incoming net.Conn, namespace, service, port string) {
	defer func() { _ = incoming.Close() }()
	target, err := n.endpoint(ctx, namespace, service, port)
	if err != nil {
		fmt.Fprintf(n.Log, "node: Service %s: %v\n", service, err)
		return
	}
	var dialer net.Dialer
	outgoing, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		fmt.Fprintf(n.Log, "node: Service %s: %v\n", service, err)
		return
	}
	defer func() { _ = outgoing.Close() }()
	defer context.AfterFunc(ctx, func() { _, _ = incoming.Close(), outgoing.Close() })()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{incoming, outgoing}, {outgoing, incoming}} {
		go func() { // ends with the connections
			_, _ = io.Copy(pair[0], pair[1])
			// The other side may still have to say something: an answer after the end of the request.
			if half, ok := pair[0].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

// endpoint chooses one of the Service.
func (n *Node) endpoint(ctx context.Context, namespace, service, port string) (address string, err error) {
	var slices discoveryv1.EndpointSliceList
	err = n.client.List(ctx, &slices, client.InNamespace(namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: service})
	if err != nil {
		return "", fmt.Errorf("list its endpoints: %w", err)
	}
	var ready, serving []string
	for i := range slices.Items {
		slice := &slices.Items[i]
		for _, p := range slice.Ports {
			if ptr.Deref(p.Name, "") != port || p.Port == nil {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				target := net.JoinHostPort(PodAddress(endpoint.Addresses[0]), strconv.Itoa(int(*p.Port)))
				if ptr.Deref(endpoint.Conditions.Ready, true) {
					ready = append(ready, target)
				} else if ptr.Deref(endpoint.Conditions.Serving, false) {
					serving = append(serving, target)
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = serving
	}
	if len(ready) == 0 {
		return "", fmt.Errorf("no endpoint of port %q is ready", port)
	}
	return ready[rand.IntN(len(ready))], nil
}
