package check

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

const (
	vendor topic = "Vendor"
	clock  topic = "Clock"

	vendorTimeout = 20 * time.Second
	// noGroup is asked for: that changes nothing, and whether there is such a group does not matter.
	noGroup = "groupgate-check"
	// badSkew stops all pruning, and oddSkew is on the way to it.
	badSkew = 5 * time.Minute
	oddSkew = 20 * time.Second
)

// checkVendor makes one call that changes nothing, as the manager makes them. problem is why the key is not known, if
// it is not.
func (c *Checker) checkVendor(ctx context.Context, app *v1alpha1.IMApp, key string, problem *Line) []Line {
	name := app.Namespace + "/" + app.Name
	switch {
	case problem != nil && problem.Result == Warning:
		return []Line{vendor.warn(problem.ToDo, "%s: %s", name, problem.Message)}
	case problem != nil:
		return []Line{vendor.fail(problem.ToDo, "%s: %s", name, problem.Message)}
	case key == "" && app.Spec.Pruning == v1alpha1.PruningSuspended:
		return []Line{vendor.ok("%s: the Secret has no secretKey, and needs none while pruning is suspended", name)}
	case key == "":
		return []Line{vendor.fail("add it: groups can neither be read nor pruned without it",
			"%s: the Secret has no secretKey", name)}
	}
	endpoint := c.IMEndpoint
	if endpoint == "" {
		var err error
		if endpoint, err = imrest.Endpoint(string(app.Spec.Region)); err != nil {
			return []Line{vendor.fail("set spec.region", "%s: %s", name, err)}
		}
	}
	dates := &dateRecorder{now: c.Now, next: http.DefaultTransport}
	client, err := imrest.NewClient(imrest.Config{
		Endpoint: endpoint, SDKAppID: uint64(app.Spec.SDKAppID), //nolint:gosec // G115: the schema wants at least 1
		AdminAccount: app.Spec.AdminAccount, SecretKey: key, Now: c.Now, HTTPClient: &http.Client{Transport: dates},
	})
	if err != nil {
		return []Line{vendor.fail("correct the IMApp or its Secret", "%s: %s", name, err)}
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, vendorTimeout)
	defer cancel()
	_, failures, err := client.Groups(ctx, []string{noGroup})
	if err == nil && imrest.ClassOf(failures[noGroup]) == imrest.ClassUnauthorized {
		err = failures[noGroup]
	}
	lines := []Line{vendor.ok("%s: the REST API accepts the UserSig of %s", name, app.Spec.AdminAccount)}
	switch {
	case imrest.ClassOf(err) == imrest.ClassUnauthorized:
		lines[0] = vendor.fail("compare sdkAppID, adminAccount and secretKey with the vendor's console",
			"%s: the REST API does not accept the UserSig of %s: %s", name, app.Spec.AdminAccount, err)
	case err != nil:
		lines[0] = vendor.fail("look at the network policy, and at the vendor's status page",
			"%s: the REST API gave no usable answer: %s", name, err)
	}
	return append(lines, dates.line(name)...)
}

// dateRecorder records by how much the Date of the last response was ahead of this machine's clock.
type dateRecorder struct {
	now  func() time.Time
	next http.RoundTripper
	skew atomic.Pointer[time.Duration]
}

// RoundTrip implements http.RoundTripper.
func (d *dateRecorder) RoundTrip(request *http.Request) (*http.Response, error) {
	start := d.now()
	response, err := d.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		// A Date has whole seconds, so that on average it is half a second behind.
		middle := start.Add(d.now().Sub(start) / 2)
		skew := date.Add(time.Second / 2).Sub(middle).Round(time.Second)
		d.skew.Store(&skew)
	}
	return response, nil
}

func (d *dateRecorder) line(name string) []Line {
	skew := d.skew.Load()
	switch {
	case skew == nil:
		return nil
	case skew.Abs() > badSkew:
		return []Line{clock.fail("set the clock: with more than 5 minutes nobody is pruned (ClockSkew), and with more "+
			"than 60 s on a node every callback is refused",
			"%s: the vendor's clock and that of this machine differ by %s", name, skew.Abs())}
	case skew.Abs() > oddSkew:
		return []Line{clock.warn("look at the time synchronisation",
			"%s: the vendor's clock and that of this machine differ by %s", name, skew.Abs())}
	}
	return []Line{clock.ok("%s: the vendor's clock and that of this machine differ by %s", name, skew.Abs())}
}
