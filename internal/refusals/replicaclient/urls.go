package replicaclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/refusals"
)

// endpoints finds the replicas.
func (c *Client) endpoints(ctx context.Context, headers http.Header) ([]endpoint, []Problem) {
	if len(c.urls) == 0 {
		found, err := c.pods(ctx)
		if err != nil {
			return nil, []Problem{{Message: err.Error()}}
		}
		return found, nil
	}
	roots, err := c.roots(headers)
	if err != nil {
		return nil, []Problem{{Message: err.Error()}}
	}
	var found []endpoint
	var problems []Problem
	for _, u := range c.urls {
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
		if err != nil {
			problems = append(problems, Problem{Message: fmt.Sprintf(
				"The host %s was not found: %v. Is there such a Service, and a Pod of the manager?",
				u.Hostname(), err)})
			continue
		}
		for _, address := range addresses {
			found = append(found, atAddress(u, net.JoinHostPort(address.Unmap().String(), port(u)), roots))
		}
	}
	slices.SortFunc(found, func(a, b endpoint) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(found, func(a, b endpoint) bool { return a.name == b.name && a.url == b.url }), problems
}

func port(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return "443"
}

// atAddress is a replica at one of the addresses of a host. No proxy is used: the token is for the replica.
func atAddress(u *url.URL, address string, roots *x509.CertPool) endpoint {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: u.Hostname(),
			InsecureSkipVerify: roots == nil, //nolint:gosec // roots says when
		},
		DisableKeepAlives: true,
	}
	return endpoint{
		name: address, url: "https://" + u.Host, transport: transport, close: transport.CloseIdleConnections,
	}
}

// roots returns what verifies the replicas, nil if nothing needs to: the token is of no use to others.
func (c *Client) roots(headers http.Header) (*x509.CertPool, error) {
	if c.options.CAFile == "" {
		if !onlyForReplicas(strings.TrimPrefix(headers.Get("Authorization"), "Bearer ")) {
			return nil, problem("The token is good for more than the replicas, so it is not sent to one that is "+
				"not verified: give it the one audience %s, or set a CA file.", refusals.Audience)
		}
		return nil, nil
	}
	text, err := os.ReadFile(c.options.CAFile)
	if err != nil {
		return nil, problem("The CA file of the replicas cannot be read: %w.", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, problem("The CA file of the replicas has no certificate in PEM.")
	}
	return roots, nil
}

// onlyForReplicas reads the audiences of a token. It need not be verified: whoever wrote it knows it.
func onlyForReplicas(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Audiences []string `json:"aud"`
	}
	return err == nil && json.Unmarshal(text, &claims) == nil &&
		len(claims.Audiences) == 1 && claims.Audiences[0] == refusals.Audience
}
