package callback

import (
	"encoding/binary"
	"math/bits"
)

// Strings are looked at in words of eight bytes: most ids of a callback are two or three of them, too short for what package bytes does
// with long texts to pay.
const (
	wordSize = 8
	everyOne = 0x0101010101010101 // 1 in each byte of a word
	everyTop = 0x8080808080808080 // the top bit of each byte
)

// stringStop is where the next quote or backslash stands at or after i; len(text) or more where there is none.
func stringStop(text []byte, i int) int {
	for ; i+wordSize <= len(text); i += wordSize {
		word := binary.LittleEndian.Uint64(text[i:])
		if found := marked(word, '"') | marked(word, '\\'); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text); i++ {
		if text[i] == '"' || text[i] == '\\' {
			break
		}
	}
	return i
}

// marked has the top bit of the first byte that is c, and none below it; those above it mean nothing.
func marked(word uint64, c byte) uint64 {
	zero := word ^ everyOne*uint64(c)
	return (zero - everyOne) &^ zero & everyTop
}

// classify reports whether all of a text is ASCII, and whether there is a control character in it.
func classify(text []byte) (ascii, control bool) {
	var all, below uint64
	i := 0
	for ; i+wordSize <= len(text); i += wordSize {
		word := binary.LittleEndian.Uint64(text[i:])
		all |= word
		below |= (word - everyOne*' ') &^ word
	}
	for ; i < len(text); i++ {
		all |= uint64(text[i])
		if text[i] < ' ' {
			control = true
		}
	}
	return all&everyTop == 0, control || below&everyTop != 0
}
