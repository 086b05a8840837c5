package notices

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// Sign is the signature of a body with one secret.
func Sign(secret, id string, at time.Time, body string) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return err.Error()
	}
	header := http.Header{}
	secrets{key}.sign(header, id, at, []byte(body))
	return header.Get(HeaderSignature)
}
