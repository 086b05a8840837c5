package term

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// failure is what happens to requests on a leaseServer.
type failure int32

const (
	none   failure = iota
	cut            // connections are closed
	silent         // requests get no answer
)

// leaseServer is as much of an API server as an election needs: one Lease that is created, read and updated with
// optimistic locking. Several servers may share the Lease, so that a failure concerns one replica only.
type leaseServer struct {
	*httptest.Server
	leases  *leases
	failing atomic.Int32
}

type leases struct {
	mu      sync.Mutex
	version int
	lease   *coordinationv1.Lease
}

// newLeaseServer serves shared, or a Lease of its own.
func newLeaseServer(t *testing.T, shared *leases) *leaseServer {
	t.Helper()
	if shared == nil {
		shared = &leases{}
	}
	s := &leaseServer{leases: shared}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Server.Close)
	return s
}

func (s *leaseServer) fail(f failure) { s.failing.Store(int32(f)) }

func (s *leaseServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch failure(s.failing.Load()) {
	case cut:
		panic(http.ErrAbortHandler)
	case silent:
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client gave up
		<-r.Context().Done()
		return
	case none:
	}
	lease, err := s.leases.serve(r)
	w.Header().Set("Content-Type", "application/json")
	if refused, ok := errors.AsType[*apierrors.StatusError](err); ok {
		w.WriteHeader(int(refused.ErrStatus.Code))
		_ = json.NewEncoder(w).Encode(refused.ErrStatus)
		return
	}
	_ = json.NewEncoder(w).Encode(lease)
}

func (l *leases) serve(r *http.Request) (*coordinationv1.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	resource := coordinationv1.Resource("leases")
	if r.Method == http.MethodGet {
		if l.lease == nil {
			return nil, apierrors.NewNotFound(resource, "term")
		}
		return l.lease, nil
	}
	var sent coordinationv1.Lease
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	switch {
	case r.Method == http.MethodPost && l.lease != nil:
		return nil, apierrors.NewAlreadyExists(resource, "term")
	case r.Method == http.MethodPut && (l.lease == nil || sent.ResourceVersion != l.lease.ResourceVersion):
		return nil, apierrors.NewConflict(resource, "term", errors.New("another version"))
	}
	l.version++
	sent.ResourceVersion = strconv.Itoa(l.version)
	l.lease = &sent
	return l.lease, nil
}
