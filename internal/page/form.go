package page

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// tokenLife is how long a form can be sent. It is longer than a plan is valid.
	tokenLife = 24 * time.Hour
	// maxBody and maxURI are in bytes.
	maxBody = 64 << 10
	maxURI  = 8 << 10
	// maxFields is how many fields a form or a query may have.
	maxFields = 32
)

// token is what forms send back: it proves that this process made the form, for this viewer, and not long ago.
func (s *server) token(v *Viewer) string { return s.sign(v.Name, s.Now().Add(tokenLife)) }

// sign is the time until which a token is valid, and a MAC of it and of the name.
func (s *server) sign(name string, until time.Time) string {
	token := binary.BigEndian.AppendUint64(nil, uint64(until.Unix())) //nolint:gosec // after 1970
	mac := hmac.New(sha256.New, s.key)
	mac.Write(token)
	mac.Write([]byte(name))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(token))
}

// signed reports whether a token is one of sign for this name, and still valid.
func (s *server) signed(token, name string) bool {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(data) != 8+sha256.Size {
		return false
	}
	until := time.Unix(int64(binary.BigEndian.Uint64(data)), 0) //nolint:gosec // the MAC covers it
	return equal(token, s.sign(name, until)) && s.Now().Before(until)
}

// checkForm reads the form of a POST into its PostForm, and proves that the viewer sent it from a page of this process.
func (s *server) checkForm(w http.ResponseWriter, r *http.Request, viewer *Viewer) error {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := parameters["charset"]; err != nil || mediaType != "application/x-www-form-urlencoded" ||
		charset != "" && !strings.EqualFold(charset, "utf-8") || len(r.Header.Values("Content-Type")) != 1 {
		return &Refusal{
			Status: http.StatusUnsupportedMediaType, Text: "The page takes forms only, as browsers send them.",
			Advice: "Load the page again, look at it, and send its form.",
		}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return &Refusal{
				Status: http.StatusRequestEntityTooLarge, Text: "The form is too large.",
				Advice: "Write a shorter reason.",
			}
		}
		return malformed()
	}
	if err := checkValues(r.PostForm); err != nil {
		return err
	}
	if !s.signed(r.PostForm.Get("csrf"), viewer.Name) {
		return &Refusal{
			Status: http.StatusForbidden,
			Text:   "Nothing was done: this form is too old, or was made for another user or another process.",
			Advice: "Load the page again, look at it, and send its form.",
		}
	}
	return nil
}

// checkQuery refuses what url.URL.Query leaves out silently: a page would show something else than was asked for.
func checkQuery(r *http.Request) error {
	if len(r.RequestURI) > maxURI {
		return &Refusal{
			Status: http.StatusRequestURITooLong, Text: "The address is too long.",
			Advice: "Begin with one of the links above.",
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return malformed()
	}
	return checkValues(query)
}

// checkValues refuses values of which some program would read another one than the page does.
func checkValues(values url.Values) error {
	if len(values) > maxFields {
		return malformed()
	}
	for name, all := range values {
		if len(all) != 1 || !utf8.ValidString(name+all[0]) || strings.ContainsRune(name+all[0], 0) {
			return malformed()
		}
	}
	return nil
}

func malformed() error {
	return &Refusal{
		Status: http.StatusBadRequest, Text: "The request is malformed: a part of it is missing, doubled or no text.",
		Advice: "Begin with one of the links above.",
	}
}
