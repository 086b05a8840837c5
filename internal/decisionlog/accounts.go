package decisionlog

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"strings"

	"github.com/groupgate/groupgate/internal/policy"
)

// minKey is the length of the shortest key. Ids of accounts can be enumerated, so that a key that can be guessed hides
// none of them.
const minKey = 32

// Accounts writes the ids of accounts: as they are or, with a key, as HMAC-SHA256. It is not safe for concurrent use.
// A nil *Accounts writes them as they are.
type Accounts struct {
	mac   hash.Hash
	keyID string
	sum   []byte
}

// Hashed returns the Accounts of a key of at least 32 bytes.
func Hashed(key policy.Secret) (*Accounts, error) {
	if n := len(key.Reveal()); n < minKey {
		return nil, fmt.Errorf("the key has %d bytes, and needs at least %d: create one with openssl rand -hex 32",
			n, minKey)
	}
	a := &Accounts{mac: hmac.New(sha256.New, []byte(key.Reveal()))}
	a.keyID = a.Name("groupgate decision log")[:8]
	return a, nil
}

// ReadKey reads a key from a file. One newline at its end is not part of the key.
func ReadKey(path string) (policy.Secret, error) {
	text, err := os.ReadFile(path) //nolint:gosec // a flag names the file
	if err != nil {
		return "", err
	}
	key := strings.TrimSuffix(string(text), "\n")
	return policy.Secret(strings.TrimSuffix(key, "\r")), nil
}

// KeyID tells keys apart without revealing anything about them; empty without a key.
func (a *Accounts) KeyID() string {
	if a == nil {
		return ""
	}
	return a.keyID
}

// Name returns what is written for an account: 64 hexadecimal digits if there is a key.
func (a *Accounts) Name(account string) string {
	if a == nil {
		return account
	}
	return string(a.append(nil, account))
}

func (a *Accounts) append(b []byte, account string) []byte {
	a.mac.Reset()
	_, _ = a.mac.Write([]byte(account)) // a hash never fails
	a.sum = a.mac.Sum(a.sum[:0])
	return hex.AppendEncode(b, a.sum)
}

func (a *Accounts) appendField(b []byte, name, account string) []byte {
	if a == nil {
		return appendField(b, name, account)
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, `":"`...)
	b = a.append(b, account)
	return append(b, '"')
}
