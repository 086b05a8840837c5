package replicaclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

const (
	// podLabel is that of the Pods of the manager, and portName that of the metrics endpoint in them.
	podLabel = "app.kubernetes.io/name=groupgate"
	portName = "metrics"
)

// pods are the replicas in the namespace of the system, through the API server.
func (c *Client) pods(ctx context.Context) ([]endpoint, error) {
	core, err := corev1client.NewForConfig(c.options.Config)
	if err != nil {
		return nil, problem("The cluster cannot be reached: %w.", err)
	}
	list, err := core.Pods(c.options.Namespace).List(ctx, metav1.ListOptions{LabelSelector: podLabel})
	if err != nil {
		return nil, problem("The Pods of the manager cannot be listed: %w. It takes the rights to "+
			"list pods, and to create and get pods/portforward, in namespace %s, or the URLs of the replicas.",
			err, c.options.Namespace)
	}
	var found []endpoint
	for i := range list.Items {
		pod := &list.Items[i]
		port := metricsPort(pod)
		if port == 0 || pod.Status.Phase != corev1.PodRunning || !pod.DeletionTimestamp.IsZero() {
			continue
		}
		target := core.RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).
			SubResource("portforward").URL()
		found = append(found, throughTunnel(pod.Name, port, func() (httpstream.Connection, error) {
			return dialPod(c.options.Config, target)
		}))
	}
	if len(found) == 0 {
		return nil, problem("No Pod of the manager runs in namespace %s: "+
			"name the namespace that it was installed in.", c.options.Namespace)
	}
	return found, nil
}

func metricsPort(pod *corev1.Pod) int32 {
	for i := range pod.Spec.Containers {
		for _, port := range pod.Spec.Containers[i].Ports {
			if port.Name == portName {
				return port.ContainerPort
			}
		}
	}
	return 0
}

// throughTunnel is a replica behind a tunnel that dial opens, of which the API server says that it ends in the Pod.
func throughTunnel(name string, port int32, dial func() (httpstream.Connection, error)) endpoint {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			type result struct {
				conn net.Conn
				err  error
			}
			dialed := make(chan result, 1)
			go func() { // ends with the attempt, which takes no context
				conn, err := openTunnel(dial, port)
				dialed <- result{conn, err}
			}()
			select {
			case r := <-dialed:
				return r.conn, r.err
			case <-ctx.Done():
				go func() {
					if r := <-dialed; r.conn != nil {
						_ = r.conn.Close()
					}
				}()
				return nil, ctx.Err()
			}
		},
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, //nolint:gosec // the tunnel ends in the Pod
		},
		DisableKeepAlives: true,
	}
	return endpoint{name: name, url: "https://" + name, transport: transport, close: transport.CloseIdleConnections}
}

// dialPod opens a connection for port-forwards, over a WebSocket, or over SPDY where the API server has none.
func dialPod(config *rest.Config, target *url.URL) (httpstream.Connection, error) {
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, config)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	dialer := portforward.NewFallbackDialerForStreaming(overWebSocket, overSPDY, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	connection, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	return connection, err
}

// openTunnel connects to a port of a Pod.
func openTunnel(dial func() (httpstream.Connection, error), port int32) (net.Conn, error) {
	connection, err := dial()
	if err != nil {
		return nil, fmt.Errorf("no tunnel to the Pod: %w (it takes the rights to create and get pods/portforward)", err)
	}
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := connection.CreateStream(headers)
	if err == nil {
		err = failures.Close() // nothing is written to it
	}
	var data httpstream.Stream
	if err == nil {
		headers.Set(corev1.StreamType, corev1.StreamTypeData)
		data, err = connection.CreateStream(headers)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no tunnel to the Pod: %w", err), connection.Close())
	}
	return &tunnel{Stream: data, connection: connection, failures: failures}, nil
}

// tunnel is a stream as a net.Conn without deadlines.
type tunnel struct {
	httpstream.Stream
	connection httpstream.Connection
	failures   httpstream.Stream
}

// Read implements net.Conn. Where the stream ends at once, the kubelet has said why.
func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.Stream.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		text, _ := io.ReadAll(io.LimitReader(t.failures, maxReason))
		if len(text) > 0 {
			return 0, fmt.Errorf("the Pod cannot be reached: %s", text)
		}
	}
	return n, err
}

// Close implements net.Conn.
func (t *tunnel) Close() error { return t.connection.Close() }

// LocalAddr implements net.Conn.
func (t *tunnel) LocalAddr() net.Addr { return tunnelAddress{} }

// RemoteAddr implements net.Conn.
func (t *tunnel) RemoteAddr() net.Addr { return tunnelAddress{} }

// SetDeadline implements net.Conn. The context of a request ends a tunnel instead.
func (t *tunnel) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (t *tunnel) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (t *tunnel) SetWriteDeadline(time.Time) error { return nil }

type tunnelAddress struct{}

// Network implements net.Addr.
func (tunnelAddress) Network() string { return "tunnel" }

// String implements net.Addr.
func (tunnelAddress) String() string { return "a Pod" }
