package app

import (
	"fmt"
	"net"
	"net/netip"
)

// ValidateProfilingAddress returns an error unless address is HOST:PORT with a loopback host. Profiles show the memory
// of the process, which has the credentials, and collecting them costs CPU time: whoever may open a port-forward to the
// Pod may read them, and no one else.
func ValidateProfilingAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT: use 127.0.0.1:6060, or 0 to turn profiling off", address)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("%q is not a loopback address, and profiles show the memory of the process, which has the "+
		"credentials: use 127.0.0.1:6060 and kubectl port-forward", address)
}
