package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/callback"
)

const (
	callbackURL topic = "Callback URL"

	// vendorPatience is how long the vendor waits for an answer before it lets the user in, and slow what is too close
	// to that.
	vendorPatience = 2 * time.Second
	slow           = time.Second
	// probePatience is for the whole of one probe.
	probePatience = 10 * time.Second
	// soon is before the end of a certificate, when its renewal has most likely failed.
	soon = 14 * 24 * time.Hour
)

// ParseURL checks a callback URL.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("not a URL: use the form https://gate.example.com/callback")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("leave out user, query and fragment: the vendor adds its own query")
	}
	return u, nil
}

// checkURL looks up the name and checks the certificate, as the vendor does before it sends a callback.
func (c *Checker) checkURL(ctx context.Context) []Line {
	if c.URL == "" {
		return []Line{callbackURL.warn("pass --url as it stands in the vendor's console",
			"not checked: no URL is given")}
	}
	u, err := ParseURL(c.URL)
	if err != nil {
		return []Line{callbackURL.fail("", "%s", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return []Line{callbackURL.fail("mend the DNS record", "%s has no address: %s", u.Hostname(), err)}
	}
	var lines []Line
	if i := slices.IndexFunc(addresses, hidden); i >= 0 {
		lines = append(lines, callbackURL.warn("let a public address lead to it; ask from outside of your network",
			"%s has the address %s, which the vendor cannot reach", u.Hostname(), addresses[i].Unmap()))
	}
	if c.untrusted = u.Scheme == "http"; c.untrusted {
		return append(lines, callbackURL.fail("use https: whoever sees a callback can read its Sign",
			"%s is not encrypted", u))
	}
	line := c.checkCertificate(ctx, u)
	c.untrusted = line.Result == Failure
	return append(lines, line)
}

func hidden(address netip.Addr) bool {
	address = address.Unmap()
	return address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsUnspecified()
}

func (c *Checker) checkCertificate(ctx context.Context, u *url.URL) Line {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	dialer := &tls.Dialer{Config: &tls.Config{
		RootCAs: c.Roots, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, Time: c.Now,
	}}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return notTrusted(u, err)
	}
	defer func() { _ = connection.Close() }()
	leaf := connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
	until := leaf.NotAfter.UTC().Format(time.RFC3339)
	if left := leaf.NotAfter.Sub(c.Now()); left < soon {
		return callbackURL.warn("look why it is not renewed", "the certificate of %s ends at %s", u.Hostname(), until)
	}
	return callbackURL.ok("the certificate of %s is trusted, and valid until %s", u.Hostname(), until)
}

// notTrusted says why no connection was made.
func notTrusted(u *url.URL, err error) Line {
	verification, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return callbackURL.fail("open the way to it: load balancer, firewall, port",
			"%s does not answer: %s", u.Host, err)
	}
	leaf := verification.UnverifiedCertificates[0]
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	_, otherName := errors.AsType[x509.HostnameError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case otherName:
		return callbackURL.fail("issue a certificate for this name", "the certificate is for %s, not for %s",
			strings.Join(leaf.DNSNames, ", "), u.Hostname())
	case invalid.Reason == x509.Expired && invalid.Cert != nil:
		return callbackURL.fail("renew it", "the certificate is valid from %s to %s only",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	case unknown && len(verification.UnverifiedCertificates) == 1 && leaf.Issuer.String() != leaf.Subject.String():
		return callbackURL.fail("serve the intermediate certificate with it, or use a public authority",
			"the certificate is issued by %q, which is not trusted, and comes alone", leaf.Issuer)
	case unknown:
		return callbackURL.fail("use a certificate of a public authority", "the certificate is issued by %q, which is "+
			"not trusted", leaf.Issuer)
	}
	return callbackURL.fail("use another certificate", "the certificate is not valid: %s", verification.Err)
}

// probe is what came back to a request.
type probe struct {
	status int
	answer struct {
		ActionStatus string
		ErrorCode    *int
	}
	readable bool
	took     time.Duration
	date     time.Time
}

// checkCallback asks with a signed probe whether the URL leads to a replica that knows the app, and with one that is
// signed wrongly whether that is refused. problem is why the token is not known, if it is not.
func (c *Checker) checkCallback(ctx context.Context, app *v1alpha1.IMApp, token string, problem *Line) []Line {
	name := app.Namespace + "/" + app.Name
	u, err := ParseURL(c.URL)
	switch {
	case c.URL == "" || err != nil:
		return nil
	case c.untrusted:
		return []Line{callbackURL.warn("mend that first",
			"%s: not checked, since a Sign is sent to nobody who is not trusted", name)}
	}
	client := &http.Client{
		Timeout:       probePatience,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.tls()},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	open := app.Spec.CallbackAuthentication == v1alpha1.CallbackAuthenticationNone
	p, err := c.send(ctx, client, u, app, token)
	if err != nil {
		return []Line{callbackURL.fail("open the way to it: load balancer, firewall, port",
			"%s: no answer: %s", name, err)}
	}
	if line := c.unexpected(name, p, token == "" && !open); line != nil {
		return []Line{*line}
	}
	if token == "" && !open {
		why, toDo := "the Secret has no callbackToken", "add it: every callback is refused without one"
		if problem != nil {
			why, toDo = problem.Message, problem.ToDo
		}
		return []Line{callbackURL.warn(toDo,
			"%s: a probe without a Sign is refused, as it has to be; the token is not checked: %s", name, why)}
	}
	if !open {
		wrong, err := c.send(ctx, client, u, app, token+"x")
		if err != nil {
			return []Line{callbackURL.fail("repeat it; some replica, or what is before it, may be broken",
				"%s: a second probe was not answered: %s", name, err)}
		}
		if wrong.status != http.StatusUnauthorized {
			return []Line{callbackURL.fail("look what answers there: it is not Groupgate",
				"%s: a probe with a wrong Sign is not refused", name)}
		}
	}
	if p.took > slow {
		return []Line{callbackURL.warn("look for what is slow: the vendor lets the user in after 2 s",
			"%s: the answer took %s", name, p.took.Round(time.Millisecond))}
	}
	return []Line{callbackURL.ok("%s: a signed probe was answered in %s", name, p.took.Round(time.Millisecond))}
}

// unexpected is the line for an answer that Groupgate does not give to the vendor; nil if it does. unsigned says that
// the probe had no Sign, so that it has to be refused.
func (c *Checker) unexpected(name string, p probe, unsigned bool) *Line {
	var line Line
	right := p.readable && p.status == http.StatusOK && p.answer.ActionStatus == "OK" && *p.answer.ErrorCode == 0
	switch {
	case !p.readable && p.status == http.StatusOK, !p.readable && p.status >= http.StatusBadRequest:
		line = callbackURL.fail("let the URL lead to the Service of Groupgate, and to the path /callback",
			"%s: something else than Groupgate answered, with HTTP status %d", name, p.status)
	case p.status >= 300 && p.status < 400:
		line = callbackURL.fail("use the URL that it redirects to: the vendor follows no redirect",
			"%s: the answer is a redirect (%d)", name, p.status)
	case p.status == http.StatusNotFound:
		line = callbackURL.fail("let it end in /callback", "%s: there is no such path", name)
	case p.status == http.StatusForbidden:
		line = callbackURL.fail("look at the IMApp's conditions, and whether the URL leads to another installation",
			"%s: the replica knows no app with this sdkAppID", name)
	case p.status == http.StatusUnauthorized && unsigned:
		return nil
	case p.status == http.StatusUnauthorized:
		skew := c.Now().Sub(p.date).Abs().Round(time.Second)
		line = callbackURL.fail("look whether the replica has read the Secret; the clocks may differ by 60 s at most",
			"%s: the token of the Secret is refused; the clocks differ by %s", name, skew)
	case p.status == http.StatusServiceUnavailable:
		line = callbackURL.fail("wait until a replica is ready", "%s: no replica is ready", name)
	case p.took > vendorPatience:
		line = callbackURL.fail("look for what is slow: the vendor lets the user in after 2 s",
			"%s: the answer took %s", name, p.took.Round(time.Millisecond))
	case right && unsigned:
		line = callbackURL.fail("look what answers there: it is not Groupgate",
			"%s: a probe without a Sign is not refused", name)
	case right:
		return nil
	default:
		line = callbackURL.fail("look at the log of the manager", "%s: the probe was answered with HTTP status %d",
			name, p.status)
	}
	return &line
}

func (c *Checker) tls() *tls.Config {
	return &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12, Time: c.Now}
}

// send sends a probe that is signed with the token, without a Sign if that is empty. An error shows no part of the URL.
func (c *Checker) send(
	ctx context.Context, client *http.Client, u *url.URL, app *v1alpha1.IMApp, token string,
) (p probe, err error) {
	query := url.Values{
		"SdkAppid":        {strconv.FormatInt(app.Spec.SDKAppID, 10)},
		"CallbackCommand": {string(callback.CommandCheck)},
		"contenttype":     {"json"},
	}
	if token != "" {
		at := strconv.FormatInt(c.Now().Unix(), 10)
		query.Set("RequestTime", at)
		query.Set("Sign", callback.Sign(token, at))
	}
	to := *u
	to.RawQuery = query.Encode()
	body := strings.NewReader(`{"CallbackCommand":"` + string(callback.CommandCheck) + `"}`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), body)
	if err != nil {
		return p, errors.New("the URL cannot be used")
	}
	request.Header.Set("Content-Type", "application/json")
	start := time.Now()
	response, err := client.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the URL holds the Sign
		}
		return p, err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return p, fmt.Errorf("read the answer: %w", err)
	}
	p.took, p.status = time.Since(start), response.StatusCode
	p.date, _ = http.ParseTime(response.Header.Get("Date"))
	p.readable = json.Unmarshal(data, &p.answer) == nil && p.answer.ErrorCode != nil
	return p, nil
}
