package callback

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// vectors were computed with the vendor's own libraries.
type vectors struct {
	Sign []struct{ Token, RequestTime, Sign string }
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Sign) == 0 {
		t.Fatal("testdata/vectors.json holds no vectors")
	}
	return v
}

func TestSignVectors(t *testing.T) {
	for _, v := range readVectors(t).Sign {
		if got := Sign(v.Token, v.RequestTime); got != v.Sign {
			t.Errorf("Sign(%q, %q) = %s, want %s", v.Token, v.RequestTime, got, v.Sign)
		}
		for _, sign := range []string{v.Sign, strings.ToUpper(v.Sign)} {
			if !VerifySign(v.Token, v.RequestTime, sign) {
				t.Errorf("VerifySign(%q, %q, %s) is false", v.Token, v.RequestTime, sign)
			}
		}
	}
}

func TestVerifySignRefuses(t *testing.T) {
	const token, at = "s3cr3t-token", "1700000000"
	good := Sign(token, at)
	cases := map[string]struct{ token, requestTime, sign string }{
		"empty token":       {"", at, Sign("", at)},
		"empty time":        {token, "", Sign(token, "")},
		"other token":       {"s3cr3t-tokeN", at, good},
		"other time":        {token, "1700000001", good},
		"no sign":           {token, at, ""},
		"one digit less":    {token, at, good[:63]},
		"one digit more":    {token, at, good + "0"},
		"not hex":           {token, at, "x" + good[1:]},
		"last digit":        {token, at, good[:63] + strings.TrimLeft("01", good[63:])[:1]},
		"blank before":      {token, at, " " + good[1:]},
		"time with a blank": {token, at + " ", good},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.sign == good && tc.token == token && tc.requestTime == at {
				t.Fatal("the case changes nothing")
			}
			if VerifySign(tc.token, tc.requestTime, tc.sign) {
				t.Errorf("VerifySign(%q, %q, %q) is true", tc.token, tc.requestTime, tc.sign)
			}
		})
	}
}

func TestVerifySignAllocatesNothing(t *testing.T) {
	sign := Sign("s3cr3t-token", "1700000000")
	if got := testing.AllocsPerRun(100, func() { VerifySign("s3cr3t-token", "1700000000", sign) }); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

func FuzzVerifySign(f *testing.F) {
	f.Add("xxxxyyyy", "1669872112", Sign("xxxxyyyy", "1669872112"))
	f.Add("", "1669872112", Sign("", "1669872112"))
	f.Add("a", "1", "A")
	f.Fuzz(func(t *testing.T, token, requestTime, sign string) {
		sum := sha256.Sum256([]byte(token + requestTime))
		want := token != "" && requestTime != "" && strings.ToLower(sign) == hex.EncodeToString(sum[:]) && len(sign) == 64
		if got := VerifySign(token, requestTime, sign); got != want {
			t.Errorf("VerifySign(%q, %q, %q) = %t, want %t", token, requestTime, sign, got, want)
		}
		if got := VerifySign(token, requestTime, Sign(token, requestTime)); got != (token != "" && requestTime != "") {
			t.Errorf("a signature of its own verifies: %t", got)
		}
	})
}
