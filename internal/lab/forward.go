package lab

import (
	"bytes"
	"io"
	"net/http"
	"slices"
)

// Forward does what a load balancer in front of managers does: it hands a callback to the first of their callback URLs that answers the connection,
// and the answer back. Where none does, the answer is 502.
func Forward(w http.ResponseWriter, r *http.Request, targets ...string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !slices.ContainsFunc(targets, func(target string) bool { return forward(w, r, body, target) }) {
		http.Error(w, "no manager answers", http.StatusBadGateway)
	}
}

func forward(w http.ResponseWriter, r *http.Request, body []byte, target string) (answered bool) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, target+"?"+r.URL.RawQuery, bytes.NewReader(body))
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
