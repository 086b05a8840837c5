package callback

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON in one pass, without recursion or allocation. It checks the structure and leaves the content of
// strings alone. encoding/json is no substitute: it takes the last of repeated fields, folds the case of keys and
// replaces invalid bytes, so that two readers could see two different accounts.
//
// An object is read by
//
//	for more, err = s.open('{'); more && err == nil; more, err = s.more('}') {
//
// and an array with the other brackets. The body of the loop must read one field or item.
type scanner struct {
	text []byte
	pos  int
}

// span is a part of the scanned text; quotes of a string are inside.
type span struct {
	start, end int
	escaped    bool // a string with a backslash
}

// syntaxError is an ErrUnreadable that is formatted only when it is printed.
type syntaxError struct {
	what string
	at   int
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("%v: %s at byte %d", ErrUnreadable, e.what, e.at)
}
func (e *syntaxError) Unwrap() error { return ErrUnreadable }

func (s *scanner) fail(what string) error { return &syntaxError{what, s.pos} }

// peek skips blanks and returns the byte after them, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) && s.text[s.pos] > ' ' {
		return s.text[s.pos]
	}
	return s.peekFar()
}

func (s *scanner) peekFar() byte {
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// end checks that only blanks are left.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.text) {
		return s.fail("data after the object")
	}
	return nil
}

// open reads the bracket that opens an object or array, and its closing one if nothing is inside.
func (s *scanner) open(bracket byte) (more bool, err error) {
	if s.peek() != bracket {
		if bracket == '{' {
			return false, s.fail("no object")
		}
		return false, s.fail("no array")
	}
	s.pos++
	if s.peek() == closes(bracket) {
		s.pos++
		return false, nil
	}
	return true, nil
}

// closes is the bracket that closes what another one opened: both pairs are two apart.
func closes(bracket byte) byte { return bracket + 2 }

// more reads what follows a value inside an object or array: a comma, or the bracket that closes it.
func (s *scanner) more(closing byte) (bool, error) {
	switch s.peek() {
	case ',':
		s.pos++
		return true, nil
	case closing:
		s.pos++
		return false, nil
	}
	return false, s.fail("no comma and no closing bracket")
}

// key reads a key and its colon.
func (s *scanner) key() (span, error) {
	if s.peek() != '"' {
		return span{}, s.fail("no key")
	}
	key, err := s.str()
	if err != nil {
		return span{}, err
	}
	if s.peek() != ':' {
		return span{}, s.fail("no colon")
	}
	s.pos++
	return key, nil
}

// str reads a string whatever it holds, up to the next quote that is not escaped.
func (s *scanner) str() (span, error) {
	found := span{start: s.pos}
	for i := s.pos + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '"':
			s.pos = i + 1
			found.end = s.pos
			return found, nil
		case '\\':
			found.escaped = true
			i++ // what follows is part of the escape
		}
	}
	s.pos = len(s.text)
	return span{}, s.fail("string without an end")
}

// skipValue reads one value of any type.
func (s *scanner) skipValue() (span, error) {
	if s.peek() == '"' {
		return s.str()
	}
	return s.skipOther()
}

// skipOther reads one value that is no string.
func (s *scanner) skipOther() (span, error) {
	start := s.pos
	var nesting uint64 // one bit for each open bracket, the innermost lowest: 1 is an object. Holds maxDepth of them.
	depth := 0
	for {
		opened, err := s.token(&nesting, &depth)
		if err != nil {
			return span{}, err
		}
		if opened {
			continue
		}
		// A value has ended: close what it closes, up to the next value.
		for depth > 0 {
			closing := byte(']')
			if nesting&1 == 1 {
				closing = '}'
			}
			more, err := s.more(closing)
			if err != nil {
				return span{}, err
			}
			if more {
				if nesting&1 == 1 {
					if _, err := s.key(); err != nil {
						return span{}, err
					}
				}
				break
			}
			nesting >>= 1
			depth--
		}
		if depth == 0 {
			return span{start: start, end: s.pos}, nil
		}
	}
}

// token reads a scalar, an empty array or object, or the start of one that is not empty up to its first value (opened).
func (s *scanner) token(nesting *uint64, depth *int) (opened bool, err error) {
	switch c := s.peek(); c {
	case '"':
		_, err = s.str()
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		err = s.number()
	case '[', '{':
		if *depth == maxDepth {
			return false, s.fail("nested too deep")
		}
		s.pos++
		if s.peek() == closes(c) {
			s.pos++
			return false, nil
		}
		*nesting <<= 1
		*depth++
		if c == '{' {
			*nesting |= 1
			_, err = s.key()
		}
		return true, err
	default:
		err = s.fail("no value")
	}
	return false, err
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.text[s.pos:], []byte(word)) {
		return s.fail("no value")
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) number() error {
	if s.text[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.text) && s.text[s.pos] == '0' {
		s.pos++
	} else if !s.digits() {
		return s.fail("broken number")
	}
	if s.pos < len(s.text) && s.text[s.pos] == '.' {
		s.pos++
		if !s.digits() {
			return s.fail("broken number")
		}
	}
	if s.pos < len(s.text) && (s.text[s.pos] == 'e' || s.text[s.pos] == 'E') {
		s.pos++
		if s.pos < len(s.text) && (s.text[s.pos] == '+' || s.text[s.pos] == '-') {
			s.pos++
		}
		if !s.digits() {
			return s.fail("broken number")
		}
	}
	return nil
}

// digits reads at least one digit.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.text) && '0' <= s.text[s.pos] && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

var (
	errNoString  = errors.New("is not a string")
	errBadString = errors.New("is not a valid string")
	errEmpty     = errors.New("is empty")
	errTooLong   = fmt.Errorf("has more than %d bytes", maxText)
)

// unquote decodes a quoted string of 1 to maxText bytes: UTF-8 without NUL, valid escapes, no half of a surrogate pair,
// no raw control character. escaped says that there is a backslash in it. The result may be a part of raw.
func unquote(raw []byte, escaped bool) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, errNoString
	}
	text := raw[1 : len(raw)-1]
	if escaped {
		var err error
		if text, err = unescape(text); err != nil {
			return nil, err
		}
	} else if slices.ContainsFunc(text, isControl) {
		return nil, errBadString
	}
	switch {
	case len(text) == 0:
		return nil, errEmpty
	case len(text) > maxText:
		return nil, errTooLong
	case !utf8.Valid(text):
		return nil, errBadString
	}
	return text, nil
}

func isControl(c byte) bool { return c < ' ' }

// keyText decodes a quoted key, nil if it is invalid, empty or too long for any key that is needed.
func keyText(quoted []byte, escaped bool) []byte {
	if !escaped {
		return quoted[1 : len(quoted)-1]
	}
	text, err := unquote(quoted, escaped)
	if err != nil {
		return nil
	}
	return text
}

// unescape stops as soon as the result is too long, so that a long string costs no memory.
func unescape(text []byte) ([]byte, error) {
	out := make([]byte, 0, min(len(text), maxText+utf8.UTFMax))
	for i := 0; i < len(text); {
		if len(out) > maxText {
			return nil, errTooLong
		}
		c := text[i]
		if isControl(c) {
			return nil, errBadString
		}
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		r, size := escape(text[i:])
		if size == 0 || r == 0 {
			return nil, errBadString
		}
		out = utf8.AppendRune(out, r)
		i += size
	}
	return out, nil
}

// escape decodes the escape at the start of text; size is 0 if it is none, or half of a surrogate pair.
func escape(text []byte) (r rune, size int) {
	if len(text) < 2 {
		return 0, 0
	}
	switch text[1] {
	case '"', '\\', '/':
		return rune(text[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := codeUnit(text)
		if !ok {
			return 0, 0
		}
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		low, ok := codeUnit(text[6:])
		if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
			return pair, 12
		}
	}
	return 0, 0
}

// codeUnit reads \uXXXX at the start of text.
func codeUnit(text []byte) (rune, bool) {
	var unit [2]byte
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	if _, err := hex.Decode(unit[:], text[2:6]); err != nil {
		return 0, false
	}
	return rune(unit[0])<<8 | rune(unit[1]), true
}
