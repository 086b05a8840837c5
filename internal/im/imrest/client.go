package imrest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// attemptTimeout is above the 3 s after which the vendor's own backend gives up (page 34620), so that its answer is seen.
	attemptTimeout = 5 * time.Second
	maxAttempts    = 5
	minBackOff     = 200 * time.Millisecond
	maxBackOff     = 10 * time.Second

	userSigLife = time.Hour

	defaultRequestsPerSecond = 20
	maxRequestsPerSecond     = 200 // what the vendor allows an app for each API by default
)

// Config is what a Client needs. Printed in whatever way, it does not show SecretKey.
type Config struct {
	// Endpoint is the base URL of the REST API, from Endpoint or ParseEndpoint.
	Endpoint string
	SDKAppID uint64
	// AdminAccount is the admin account of the app that calls are made as.
	AdminAccount string
	// SecretKey is the text of the key that UserSigs are made with.
	SecretKey string
	// RequestsPerSecond bounds all calls together, 1 to 200; 0 is 20.
	RequestsPerSecond int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Sleep waits for d or until ctx ends, then with the cause; nil is a timer. Tests pass one that moves Now.
	Sleep func(ctx context.Context, d time.Duration) error
	// HTTPClient carries the calls; nil is one of the client's own. Its CheckRedirect is replaced: redirects are not followed.
	HTTPClient *http.Client
	// Observe is called after every request with its API, its result (ok, canceled, or the Class in lower case with
	// underscores) and how long it took; nil is nobody.
	Observe func(api, result string, d time.Duration)
}

// Format implements fmt.Formatter, so that no verb shows SecretKey.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{Endpoint:%s SDKAppID:%d AdminAccount:%s SecretKey:REDACTED RequestsPerSecond:%d}",
		c.Endpoint, c.SDKAppID, c.AdminAccount, c.RequestsPerSecond)
}

// LogValue implements slog.LogValuer.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// settled returns the config with its defaults, or what is wrong with it.
func (c Config) settled() (Config, error) {
	endpoint, err := ParseEndpoint(c.Endpoint)
	switch {
	case err != nil:
		return c, fmt.Errorf("endpoint: %w", err)
	case c.SDKAppID == 0:
		return c, errors.New("no SDKAppID: set the number that the vendor's console shows")
	case c.AdminAccount == "":
		return c, errors.New("no admin account: set one that the vendor's console lists as admin")
	case c.SecretKey == "":
		return c, errors.New("no secret key: set the key that the vendor's console shows")
	case c.RequestsPerSecond < 0 || c.RequestsPerSecond > maxRequestsPerSecond:
		return c, fmt.Errorf("%d requests per second: use 1 to %d", c.RequestsPerSecond, maxRequestsPerSecond)
	}
	c.Endpoint = endpoint
	c.RequestsPerSecond = cmp.Or(c.RequestsPerSecond, defaultRequestsPerSecond)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Observe == nil {
		c.Observe = func(string, string, time.Duration) {}
	}
	own := http.Client{Transport: newTransport()}
	if c.HTTPClient != nil {
		own = *c.HTTPClient
	}
	// A redirect would carry the UserSig, which is in the URL, to wherever it points.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTPClient = &own
	return c, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: attemptTimeout}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   attemptTimeout,
		ResponseHeaderTimeout: attemptTimeout,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
	}
}

// Client calls the REST API of one app (page 34620). It is safe for concurrent use.
//
// All its calls share one limiter and one pause. Where several wait, those with a notAfter go first, but at most 3 in a row, then all others in the
// order in which they came, and last the sweep's (Groups and AppGroups), which together get at most a quarter of the rate. A call makes up to 5 attempts while the vendor is out of order or finds it too
// frequent, 200 ms to 10 s apart and doubling, with jitter; each takes at most 5 s. An outage and a frequency limit hold
// the other calls back for as long. A pause of more than 10 s, which the vendor wants after too many failed verifications (70050: a
// minute), is not waited out: the call that meets it and every call during it fail at once with ClassThrottled and
// RetryAfter, so that whoever called can do something else meanwhile.
type Client struct {
	limiter *limiter

	mu     sync.Mutex
	config Config
	sig    signature
	health Health
}

// NewClient makes a client, or says what is wrong with the config.
func NewClient(config Config) (*Client, error) {
	config, err := config.settled()
	if err != nil {
		return nil, fmt.Errorf("REST client: %w", err)
	}
	return &Client{config: config, limiter: newLimiter(config.Now, config.Sleep, config.RequestsPerSecond)}, nil
}

// Update gives the client another config; calls under way may still end with the old one. The limiter and the pause go on, so that an edit does not
// let calls through that the vendor does not want, except that a new identity (endpoint, app, admin account or key) ends a pause
// and forgets the health that the old one is to blame for. Now, Sleep and, unless it is given, HTTPClient stay as they are.
func (c *Client) Update(config Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	config.Now, config.Sleep = c.config.Now, c.config.Sleep
	if config.HTTPClient == nil {
		config.HTTPClient = c.config.HTTPClient
	}
	config, err := config.settled()
	if err != nil {
		return fmt.Errorf("REST client: %w", err)
	}
	if config.identity() != c.config.identity() {
		c.sig, c.health = signature{}, Health{}
		c.limiter.resume()
	}
	c.config = config
	c.limiter.setRate(config.RequestsPerSecond)
	return nil
}

type identity struct {
	endpoint, admin, key string
	sdkAppID             uint64
}

func (c Config) identity() identity {
	return identity{endpoint: c.Endpoint, admin: c.AdminAccount, key: c.SecretKey, sdkAppID: c.SDKAppID}
}

// Close lets go of idle connections. Calls still work afterwards.
func (c *Client) Close() { c.settings().HTTPClient.CloseIdleConnections() }

// Format implements fmt.Formatter, so that no verb shows what the client holds.
func (c *Client) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "imrest.Client%v", c.settings()) }

// Health tells how the calls fare.
func (c *Client) Health() Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health
}

func (c *Client) settings() Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// call is one call of the REST API, whatever number of attempts it takes.
type call struct {
	api      string
	body     any
	notAfter time.Time // zero: no limit
	once     bool      // an attempt that may have taken effect is not repeated
	sweep    bool      // nobody waits for it
	// decode reads an answer that is JSON. An *Error is a failure that the vendor reports; any other error says that the answer
	// is not what the vendor documents, which counts as transient.
	decode func(answer) error
}

func (c call) lane() lane {
	switch {
	case c.sweep:
		return laneSweep
	case !c.notAfter.IsZero():
		return laneUrgent
	}
	return laneNormal
}

// do makes a call. The error is an *Error, ErrTooLate, or the cause of a context that ended.
func (c *Client) do(ctx context.Context, call call) error {
	delays := backoff.ExponentialBackOff{InitialInterval: minBackOff, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: maxBackOff}
	var notBefore time.Time
	resigned := false
	var failed *Error
	for attempt := 1; ; attempt++ {
		err := c.limiter.admit(ctx, call, notBefore)
		switch {
		case failed != nil && errors.Is(err, ErrTooLate):
			// What used up the time is news of the vendor, but does not class the error: a later attempt might have worked.
			c.ended(failed)
			return fmt.Errorf("call %s: %w after a failure: %s", call.api, err, failed.Error())
		case err != nil:
			return fmt.Errorf("call %s: %w", call.api, err)
		}
		failed, err = c.attempt(ctx, call)
		switch {
		case err != nil:
			return fmt.Errorf("call %s: %w", call.api, err)
		case failed == nil:
			c.ended(nil)
			return nil
		}
		if resigns(failed.Code) && !resigned {
			resigned = true
			attempt--
			c.forgetSignature()
			continue
		}
		delay := max(delays.NextBackOff(), pauseOfCode(failed.Code))
		if failed.Class == ClassThrottled || failed.outage() {
			c.limiter.pause(delay, *failed)
			if failed.Class == ClassThrottled {
				failed.RetryAfter = delay
			}
		}
		retryable := failed.Class == ClassTransient && !call.once || failed.Class == ClassThrottled && delay <= longestWait
		if !retryable || attempt >= maxAttempts {
			c.ended(failed)
			return failed
		}
		notBefore = c.limiter.now().Add(delay)
	}
}

// outage reports that other calls would fare no better: the vendor's host is out of reach or out of order.
func (e *Error) outage() bool {
	return e.Class == ClassTransient && e.HTTPStatus != http.StatusOK
}

func (c *Client) ended(failed *Error) {
	health := healthAfter(failed)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.health = health
}
