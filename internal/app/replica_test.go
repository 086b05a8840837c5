package app

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

func TestReadinessProbeDoesNotNameTheAPIServer(t *testing.T) {
	refused := &url.Error{Op: "Patch", URL: "https://10.0.0.1/apis", Err: syscall.ECONNREFUSED}
	got := forProbe(fmt.Errorf("waiting for the Lease chat/replica-a: %w", refused))
	if text := got.Error(); strings.Contains(text, "10.0.0.1") || !strings.Contains(text, "connection refused") {
		t.Errorf("forProbe: %q, want what is wrong, without the address", text)
	}
	if other := errors.New("another replica serves namespace chat"); !errors.Is(forProbe(other), other) {
		t.Errorf("forProbe(%v) = %v", other, forProbe(other))
	}
}
