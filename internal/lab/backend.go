package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// Backend is an emulated IM backend in this process. Its callbacks go through a load balancer, as the vendor's do.
type Backend struct {
	*emulator.Emulator
	// URL is the base of its REST and control API.
	URL string

	api, balancer *httptest.Server
}

// NewBackend serves apps whose callbacks go to the first of targets() that accepts the connection; without targets they
// are answered with 502. witness may be nil. It must be closed.
func NewBackend(apps []App, targets func() []string, witness func(emulator.MemberCall)) *Backend {
	b := &Backend{balancer: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forward(w, r, targets())
	}))}
	config := emulator.Config{CallbackURL: b.balancer.URL + "/callback", OnMemberCall: witness}
	for _, app := range apps {
		config.Apps = append(config.Apps, app.emulated())
	}
	b.Emulator = emulator.New(config)
	b.api = httptest.NewServer(b.Emulator)
	b.URL = b.api.URL
	return b
}

func (a App) emulated() emulator.App {
	if a.SDKAppID == 0 {
		a.SDKAppID = SDKAppID
	}
	return emulator.App{SDKAppID: a.SDKAppID, SecretKey: SecretKey, CallbackToken: CallbackToken}
}

// Close ends callbacks that are under way, too.
func (b *Backend) Close() error {
	b.api.Close()
	err := b.Emulator.Close()
	b.balancer.Close()
	return err
}

// forward hands a callback to the first target that accepts the connection, and its answer back.
func forward(w http.ResponseWriter, r *http.Request, targets []string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !slices.ContainsFunc(targets, func(target string) bool { return forwardTo(w, r, body, target) }) {
		http.Error(w, "no manager answers", http.StatusBadGateway)
	}
}

func forwardTo(w http.ResponseWriter, r *http.Request, body []byte, target string) (answered bool) {
	url := target + "?" + r.URL.RawQuery
	request, err := http.NewRequestWithContext(r.Context(), r.Method, url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
	return true
}

// Emulator is a `groupgate emulator` process.
type Emulator struct {
	*Process
	emulator.Client
}

// SendCallbacksTo sets the callback URL.
func (e *Emulator) SendCallbacksTo(ctx context.Context, url string) error {
	_, err := e.Configure(ctx, func(s *emulator.Settings) { s.CallbackURL = url })
	return err
}

// StartEmulator starts binary as an emulator and waits until it answers.
func StartEmulator(ctx context.Context, log io.Writer, binary string, flags ...string) (*Emulator, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	process, err := Start(log, nil, binary, append([]string{"emulator", "--bind-address=" + address}, flags...)...)
	if err != nil {
		return nil, err
	}
	e := &Emulator{Process: process, Client: emulator.Client{BaseURL: "http://" + address}}
	err = Await(ctx, "the emulator to answer", func(ctx context.Context) (bool, error) {
		if !e.Running() {
			return false, errors.New("the emulator has ended")
		}
		_, err := e.Groups(ctx)
		return err == nil, nil
	})
	if err != nil {
		return nil, errors.Join(err, e.Kill())
	}
	return e, nil
}
