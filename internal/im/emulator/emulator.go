package emulator

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says what to emulate.
type Config struct {
	// Apps are served; at least one.
	Apps []App
	// CallbackURL gets the callbacks of every app, as set in the vendor's console. Empty: none are sent. Settings can change it later.
	CallbackURL string
	// CallbackTLS is for a CallbackURL with a certificate that the machine does not trust. Nil: the machine's trust.
	CallbackTLS *tls.Config
	// Log gets a warning for each failed callback, and at debug level every call. Nil: nothing is logged.
	Log *slog.Logger
	// Now is the time before the control API shifts it. Nil: time.Now.
	Now func() time.Time
	// Witness, if set, is told of every call that looks at single members, removes or adds some. It is called while the group is locked, so that
	// it must not wait for the emulator.
	Witness func(Testimony)
}

// Validate reports what New would trip over.
func (c Config) Validate() error {
	if len(c.Apps) == 0 {
		return errors.New("no app to emulate: name at least one as sdkAppID:secretKey:callbackToken")
	}
	var ids []uint64
	for _, a := range c.Apps {
		if a.SDKAppID == 0 || a.SecretKey == "" {
			return errors.New("an app needs an SDKAppID and a secret key")
		}
		if slices.Contains(ids, a.SDKAppID) {
			return fmt.Errorf("app %d is named twice: name each app once", a.SDKAppID)
		}
		ids = append(ids, a.SDKAppID)
	}
	return checkCallbackURL(c.CallbackURL)
}

// ValidateBindAddress refuses addresses that others can reach: whoever reaches the control API owns the emulated world, and it asks
// nobody for a password.
func ValidateBindAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT: use for example 127.0.0.1:8090", address)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("%q can be reached from outside and the control API has no password: use a loopback address such as 127.0.0.1:8090", address)
}

// Emulator is an IM backend. It is an http.Handler, safe for concurrent use.
type Emulator struct {
	clock  clock
	log    *slog.Logger
	apps   map[uint64]*app // never changes
	first  *app
	faults faultList
	outbox *outbox
	http   *http.Client
	mux    *http.ServeMux

	witness func(Testimony) // may be nil

	callbacks journal[CallbackRecord]
	calls     journal[CallRecord]
	tally     tally

	close   sync.Once
	closing chan struct{} // ends faults that hang
}

// callbackLanes bounds how many after-callbacks are under way at the same time.
const callbackLanes = 64

// New makes an emulator without any groups. What Config.Validate complains about is not checked again: an app that is named twice is
// served once.
func New(c Config) *Emulator {
	e := &Emulator{
		log: c.Log, witness: c.Witness, apps: map[uint64]*app{}, outbox: newOutbox(callbackLanes), closing: make(chan struct{}),
		http: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig: c.CallbackTLS, MaxIdleConnsPerHost: callbackLanes, IdleConnTimeout: 5 * time.Minute,
			},
			// A redirect is an answer other than 200: a failed callback.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.clock.base = c.Now
	if e.clock.base == nil {
		e.clock.base = time.Now
	}
	for _, a := range c.Apps {
		if e.apps[a.SDKAppID] == nil {
			e.apps[a.SDKAppID] = newApp(a, c.CallbackURL)
		}
		if e.first == nil {
			e.first = e.apps[a.SDKAppID]
		}
	}
	e.mux = e.controlMux()
	return e
}

// ServeHTTP implements http.Handler.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v4/") {
		e.serveREST(w, r)
		return
	}
	e.serveControl(w, r)
}

// Close ends what hangs, drops the callbacks that are still queued, and waits for those under way, which is at most the 2 seconds of a
// callback. Serving goes on, but nothing is sent any more. It can be called again.
func (e *Emulator) Close() error {
	e.close.Do(func() { close(e.closing) })
	e.outbox.close()
	e.http.CloseIdleConnections()
	return nil
}
