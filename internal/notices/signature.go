package notices

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	secretPrefix = "whsec_"
	// minSecret and maxSecret are the bytes that Standard Webhooks demands of a secret.
	minSecret, maxSecret = 24, 64
	// maxSecrets is how many secrets a file may hold: one, and one more while it is being replaced.
	maxSecrets = 2
)

// Headers of the signature, by Standard Webhooks (version 1).
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// secrets sign notices, all of them each. No way of printing them shows them.
type secrets [][]byte

// Format implements fmt.Formatter.
func (secrets) Format(f fmt.State, _ rune) { fmt.Fprint(f, "REDACTED") }

// readSecrets reads the secrets of a file, one a line: whsec_ and 24 to 64 bytes in base64. Errors do not repeat them.
func readSecrets(path string) (secrets, error) {
	text, err := os.ReadFile(path) //nolint:gosec // a flag names the file
	if err != nil {
		return nil, err
	}
	var read secrets
	for line := range strings.FieldsSeq(string(text)) {
		encoded, ok := strings.CutPrefix(line, secretPrefix)
		if !ok {
			return nil, fmt.Errorf("a secret begins with %s: create one with echo %[1]s$(openssl rand -base64 32)",
				secretPrefix)
		}
		secret, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("what follows %s is not base64: create a secret with "+
				"echo %[1]s$(openssl rand -base64 32)", secretPrefix)
		}
		if len(secret) < minSecret || len(secret) > maxSecret {
			return nil, fmt.Errorf("the secret has %d bytes, and needs %d to %d: create one with "+
				"echo %s$(openssl rand -base64 32)", len(secret), minSecret, maxSecret, secretPrefix)
		}
		read = append(read, secret)
	}
	switch {
	case len(read) == 0:
		return nil, errors.New("the file has no secret: create one with echo whsec_$(openssl rand -base64 32)")
	case len(read) > maxSecrets:
		return nil, fmt.Errorf("the file has %d secrets: leave the new one, and the old one while receivers change",
			len(read))
	}
	return read, nil
}

// sign sets the headers by which a receiver verifies that the body is from this manager, and is new.
func (s secrets) sign(header http.Header, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(s))
	for _, secret := range s {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	header.Set(HeaderID, id)
	header.Set(HeaderTimestamp, timestamp)
	header.Set(HeaderSignature, strings.Join(signatures, " "))
}
