package drill

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// laggingServer is the API server of the managers, whose watches of AccountLists can be behind while everything else is
// not.
type laggingServer struct {
	server *httptest.Server

	mu      sync.Mutex
	goingOn chan struct{} // closed while the watches are up to date
}

func newLaggingServer(t *testing.T, w *world) *laggingServer {
	t.Helper()
	kubeconfig, err := w.ManagerKubeconfig("")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	if proxy.Transport, err = rest.TransportFor(config); err != nil {
		t.Fatal(err)
	}
	proxy.FlushInterval, proxy.ErrorLog = -1, log.New(io.Discard, "", 0) // watches are cut all the time
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	l := &laggingServer{goingOn: make(chan struct{})}
	close(l.goingOn)
	proxy.ModifyResponse = func(got *http.Response) error {
		if r := got.Request; strings.HasSuffix(r.URL.Path, "/accountlists") && r.URL.Query().Has("watch") {
			got.Body = lagging{l, r, got.Body}
		}
		return nil
	}
	l.server = httptest.NewServer(proxy)
	t.Cleanup(l.server.CloseClientConnections)
	return l
}

// kubeconfig is that of a manager which reaches the server at address.
func (l *laggingServer) kubeconfig(t *testing.T, address string) (string, error) {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["lab"] = &clientcmdapi.Cluster{Server: "http://" + address}
	config.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab"}
	config.CurrentContext = "lab"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}

// lag holds the watches up, or lets them go on.
func (l *laggingServer) lag(behind bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.goingOn:
		if behind {
			l.goingOn = make(chan struct{})
		}
	default:
		if !behind {
			close(l.goingOn)
		}
	}
}

// awaitLag waits until the watches are held up, as long as faults are injected.
func (l *laggingServer) awaitLag(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, faultsFor)
	defer cancel()
	for ctx.Err() == nil {
		l.mu.Lock()
		goingOn := l.goingOn
		l.mu.Unlock()
		select {
		case <-goingOn:
			pause(ctx, 5*time.Millisecond)
		default:
			return
		}
	}
}

// lagging is the stream of one watch.
type lagging struct {
	l *laggingServer
	r *http.Request
	io.ReadCloser
}

func (b lagging) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.l.mu.Lock()
	goingOn := b.l.goingOn
	b.l.mu.Unlock()
	select {
	case <-goingOn:
	case <-b.r.Context().Done():
	}
	return n, err
}
