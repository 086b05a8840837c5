package notices

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// maxURL is the longest URL: the name of a run, and what else an event says, must fit beside it.
const maxURL = 256

// ParsePageURL checks the URL of the page, and returns it without a slash at its end.
func ParsePageURL(raw string) (string, error) {
	u, err := parseURL(raw)
	switch {
	case err != nil:
		return "", err
	case u.RawQuery != "" || u.ForceQuery:
		return "", errors.New("the URL must end after its path, since /runs/NAMESPACE/NAME is added to it")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// parseURL checks a URL: https, or http towards this machine. Its errors do not repeat the URL, which may hold a
// secret.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("not a URL: use the form https://HOST/PATH")
	case len(raw) > maxURL:
		return nil, fmt.Errorf("the URL has %d bytes: use one of at most %d", len(raw), maxURL)
	case u.User != nil:
		return nil, errors.New("the URL must not hold a user name or password: use the form https://HOST/PATH")
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host: use the form https://HOST/PATH")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, errors.New("the URL must not have a fragment: leave out # and what follows")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("http is allowed towards a loopback address only, %q is none: use https", u.Host)
	}
	return nil, fmt.Errorf("scheme %q is not supported: use https", u.Scheme)
}

func loopback(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
