// Package jsontext appends JSON to buffers that are used again: answers to callbacks, and lines of the decision log.
package jsontext

import "unicode/utf8"

// HexDigits are the digits of escapes.
const HexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string, which is valid whatever bytes s holds: those that are not UTF-8 become
// U+FFFD. It allocates only if b has to grow.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', HexDigits[c>>4], HexDigits[c&0xf])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
		}
	}
	return append(b, '"')
}
