package emulator

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// clock is the emulated time: the time of the machine plus an offset. Everything visible from outside uses it (recorded
// times, RequestTime, the Date header, the expiry of a UserSig), so that they never contradict each other. Timeouts use
// real time: a callback has 2 real seconds.
type clock struct {
	base   func() time.Time
	offset atomic.Int64
}

func (c *clock) now() time.Time { return c.base().Add(c.shifted()) }

func (c *clock) shifted() time.Duration { return time.Duration(c.offset.Load()) }

func (c *clock) forward(d time.Duration) { c.offset.Add(int64(d)) }

func (c *clock) set(at time.Time) { c.offset.Store(int64(at.Sub(c.base()))) }

func (c *clock) reset() { c.offset.Store(0) }

// parseDuration parses days followed by what time.ParseDuration accepts, for example "40d", "1d12h", "90m" or "-2h".
func parseDuration(text string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(text, "-")
	var total time.Duration
	if days, after, found := strings.Cut(rest, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, badDuration(text)
		}
		total, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || d > math.MaxInt64-total {
			return 0, badDuration(text)
		}
		total += d
	} else if text == "" || text == "-" {
		return 0, badDuration(text)
	}
	if negative {
		return -total, nil
	}
	return total, nil
}

func badDuration(text string) error {
	return fmt.Errorf("%q is not a duration: write for example 40d, 12h, 1d12h or 90s, at most 65535d", text)
}

// ago returns the Unix second that lies a duration such as "40d" before now.
func ago(now time.Time, text string) (uint32, error) {
	d, err := parseDuration(text)
	if err != nil {
		return 0, err
	}
	at := now.Add(-d)
	if !recordable(at) {
		return 0, errors.New("that long ago is before 1970 or after 2106: use a smaller duration")
	}
	return seconds(at), nil
}

// recordable reports whether seconds can represent a time. 0 is reserved for never.
func recordable(at time.Time) bool { return at.Unix() > 0 && at.Unix() <= math.MaxUint32 }

// seconds converts a time to Unix seconds, in 4 bytes since a Community has a million members. Times out of range
// become the nearest one in range.
func seconds(at time.Time) uint32 {
	return uint32(min(max(at.Unix(), 1), math.MaxUint32))
}
