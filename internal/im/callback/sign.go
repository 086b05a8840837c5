package callback

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
)

// Sign returns what the vendor puts into a callback's Sign parameter: the lower-case hex SHA-256 of the token followed by the
// text of RequestTime (page 34354). It covers neither the body nor any other parameter.
func Sign(token, requestTime string) string {
	sum := digest(token, requestTime)
	return hex.EncodeToString(sum[:])
}

// VerifySign reports whether sign, in hex of either case, is the signature of requestTime under token, in time that does not
// depend on where they differ. An empty token or an empty requestTime never verifies. Whether requestTime is recent is for
// the caller to check.
func VerifySign(token, requestTime, sign string) bool {
	if token == "" || requestTime == "" || len(sign) != hex.EncodedLen(sha256.Size) {
		return false
	}
	var given [sha256.Size]byte
	if _, err := hex.Decode(given[:], []byte(sign)); err != nil {
		return false
	}
	want := digest(token, requestTime)
	return subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

func digest(token, requestTime string) [sha256.Size]byte {
	// Room for the longest token that is documented (128 bytes) and the 10 digits of a time, so that it stays on the stack.
	text := append(make([]byte, 0, 160), token...)
	return sha256.Sum256(append(text, requestTime...))
}
