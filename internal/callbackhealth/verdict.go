package callbackhealth

import "time"

// Verdict says what an app's callbacks look like.
type Verdict uint8

// The verdicts.
const (
	// NeverSeen apps had no callback that tells anything.
	NeverSeen Verdict = iota
	// Verified apps had a callback with a right Sign.
	Verified
	// WrongToken apps had a callback with a wrong Sign.
	WrongToken
	// Unsigned apps had a callback without a Sign.
	Unsigned
	// ClockSkew apps had a callback with a right Sign of another time.
	ClockSkew
)

// tolerance is how long after a right Sign a wrong one says nothing: anybody who knows an SDKAppID, which is public,
// can send one at any time.
const tolerance = 10 * time.Minute

// Verdict returns what was seen last, without the callbacks that the tolerance leaves out.
func (s Seen) Verdict() Verdict {
	verdict, last := NeverSeen, time.Time{}
	if !s.Right.IsZero() {
		verdict, last = Verified, s.Right.Add(tolerance-time.Nanosecond)
	}
	for _, bad := range []struct {
		verdict Verdict
		at      time.Time
	}{{Unsigned, s.Unsigned}, {WrongToken, s.Wrong}, {ClockSkew, s.Skewed}} {
		if bad.at.After(last) {
			verdict, last = bad.verdict, bad.at
		}
	}
	return verdict
}

// Join returns what two replicas have seen together. One whose clock is wrong refuses its share of the callbacks,
// whatever the other one sees: what it has seen counts alone.
func (s Seen) Join(other Seen) Seen {
	switch mine, others := s.Verdict() == ClockSkew, other.Verdict() == ClockSkew; {
	case mine && (!others || s.Skewed.After(other.Skewed)):
		return s
	case others:
		return other
	}
	if other.Skewed.After(s.Skewed) {
		s.Skewed, s.Skew = other.Skewed, other.Skew
	}
	s.Right, s.Wrong = later(s.Right, other.Right), later(s.Wrong, other.Wrong)
	s.Unsigned = later(s.Unsigned, other.Unsigned)
	return s
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
