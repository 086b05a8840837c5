package peers

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// Data is what every contender decides on, as its process reads it from a file. It is the data.json of Open Policy
// Agent, too.
type Data struct {
	SDKAppID string `json:"sdkAppID"`
	Token    string `json:"token"`
	// Members are the accounts that each group admits. They are objects and not arrays, because Open Policy Agent looks
	// up a key of an object at once, and searches an array from its beginning.
	Members map[string]map[string]bool `json:"members"`
}

// Load reads Data from a file.
func Load(path string) (*Data, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the data: %w", err)
	}
	data := &Data{}
	if err := json.Unmarshal(text, data); err != nil {
		return nil, fmt.Errorf("read the data of %s: %w", path, err)
	}
	return data, nil
}

// NewServer is an HTTP server with the timeouts and limits of Groupgate's.
func NewServer(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       3 * time.Second,
		WriteTimeout:      3 * time.Second,
		IdleTimeout:       10 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		Protocols:         new(http.Protocols),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12},
	}
	server.Protocols.SetHTTP1(true)
	return server
}
