package drill

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"sync"
	"time"
)

// The kinds of unkind answers, which no fault of the emulator has.
const (
	unkindLate    = "late"    // a deletion is carried out after its answer, which is an error
	unkindHTML    = "HTML"    // with HTTP status 200
	unkindBare    = "bare OK" // without what was asked for
	unkindNoDate  = "no Date"
	unkindRefusal = "refusal" // of every deletion that names one account
)

// unkindness is what the next Count calls of an API meet.
type unkindness struct {
	Kind    string
	API     string
	Count   int
	After   time.Duration `json:",omitempty"` // late
	Account string        `json:",omitempty"` // refusal
}

// unkindVendor stands before the emulator.
type unkindVendor struct {
	w      *world
	target *url.URL
	server *httptest.Server
	late   sync.WaitGroup

	mu    sync.Mutex
	rules []unkindness
}

func newUnkindVendor(w *world, target string) (*unkindVendor, error) {
	address, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("the address of the emulator: %w", err)
	}
	v := &unkindVendor{w: w, target: address}
	v.server = httptest.NewServer(v)
	return v, nil
}

// close waits for the deletions that are still to be carried out.
func (v *unkindVendor) close() {
	v.server.Close()
	v.late.Wait()
}

func (v *unkindVendor) add(rule unkindness) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rules = append(v.rules, rule)
}

func (v *unkindVendor) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rules = nil
}

// meets is the unkindness that a call meets, if any.
func (v *unkindVendor) meets(api string, body []byte) unkindness {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.IndexFunc(v.rules, func(rule unkindness) bool {
		return rule.Count > 0 && rule.API == api && bytes.Contains(body, []byte(rule.Account))
	})
	if i < 0 {
		return unkindness{}
	}
	v.rules[i].Count--
	return v.rules[i]
}

func (v *unkindVendor) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	proxy := httputil.NewSingleHostReverseProxy(v.target)
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	rule := v.meets(path.Base(r.URL.Path), body)
	if rule.Kind != "" {
		v.w.ledger.recordFault()
	}
	switch rule.Kind {
	case unkindLate:
		v.late.Go(func() { v.carryOut(v.target.String()+r.URL.RequestURI(), body, rule.After) })
		answer(rw, map[string]any{"ActionStatus": "FAIL", "ErrorCode": 60008, "ErrorInfo": "service timeout"})
	case unkindHTML:
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, "<html>maintenance</html>")
	case unkindBare:
		answer(rw, map[string]any{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""})
	case unkindRefusal:
		answer(rw, map[string]any{"ActionStatus": "FAIL", "ErrorCode": 10004, "ErrorInfo": "bad parameter"})
	case unkindNoDate:
		proxy.ModifyResponse = func(got *http.Response) error {
			got.Header["Date"] = nil // not even one of this server's own
			return nil
		}
		proxy.ServeHTTP(rw, r)
	default:
		proxy.ServeHTTP(rw, r)
	}
}

// carryOut sends a call that was answered before.
func (v *unkindVendor) carryOut(address string, body []byte, after time.Duration) {
	pause(v.w.ctx, after)
	request, err := http.NewRequestWithContext(v.w.ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		v.w.violation("carry out a late call: %v", err)
		return
	}
	if got, err := http.DefaultClient.Do(request); err == nil { // a fault of the emulator may hit this call, too
		_ = got.Body.Close()
	}
	v.w.ledger.recordFault()
}

func answer(rw http.ResponseWriter, fields map[string]any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(fields)
}
