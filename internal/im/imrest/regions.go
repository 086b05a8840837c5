package imrest

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint returns the base URL of the REST API in a region (page 34620). The closed list keeps users from choosing a
// host.
func Endpoint(region string) (string, error) {
	host := ""
	switch region {
	case "China":
		host = "console.tim.qq.com"
	case "Singapore":
		host = "adminapisgp.im.qcloud.com"
	case "Seoul":
		host = "adminapikr.im.qcloud.com"
	case "Tokyo":
		host = "adminapijpn.im.qcloud.com"
	case "Frankfurt":
		host = "adminapiger.im.qcloud.com"
	case "SiliconValley":
		host = "adminapiusa.im.qcloud.com"
	case "Jakarta":
		host = "adminapiidn.im.qcloud.com"
	case "Riyadh":
		host = "adminapiksa.im.qcloud.com"
	default:
		return "", fmt.Errorf(
			"unknown region %q: use China, Singapore, Seoul, Tokyo, Frankfurt, SiliconValley, Jakarta or Riyadh",
			region,
		)
	}
	return "https://" + host, nil
}

// ParseEndpoint checks the base URL of a REST API and returns it without a trailing slash. It must be scheme, host and
// port only. Plain http is only allowed for a loopback address or localhost, because every call has a UserSig in its
// URL.
func ParseEndpoint(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the URL, which may hold a password.
		return "", errors.New("not a URL: use the form https://host or https://host:port")
	}
	switch {
	case u.User != nil:
		return "", errors.New("the URL must not hold a user name or password: use the form https://host:port")
	case u.Hostname() == "":
		return "", errors.New("the URL has no host: use the form https://host:port")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("the URL must end after the host and port: use %s://%s", u.Scheme, u.Host)
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	case u.Scheme == "http":
		return "", fmt.Errorf("http is allowed towards a loopback address only, %q is none: use https", u.Host)
	default:
		return "", fmt.Errorf("scheme %q is not supported: use https", u.Scheme)
	}
	if port := u.Port(); port == "" && strings.HasSuffix(u.Host, ":") {
		return "", errors.New("the URL has an empty port: use the form https://host:port")
	} else if _, err := strconv.ParseUint(port, 10, 16); port != "" && err != nil {
		return "", fmt.Errorf("port %q is not a port number", port)
	}
	return u.Scheme + "://" + u.Host, nil
}

func loopback(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
