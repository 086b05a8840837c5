package convert

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// durationUnits are the units of a duration, in the order in which they are written.
var durationUnits = []durationUnit{{'d', 24 * time.Hour}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}}

type durationUnit struct {
	symbol byte
	size   time.Duration
}

// ParseDuration reads a duration of the API: whole days (d, of 24 hours), hours (h) and minutes (m), each at most once
// and in this order, such as "30d", "36h", "1d12h" or "10m". Zero is a duration; an empty text, and one beyond 292
// years, is an error.
func ParseDuration(s string) (time.Duration, error) {
	return parseDuration(s, durationUnits[:3], "days, hours and minutes, such as 30d, 1d12h or 10m")
}

// parsePreciseDuration reads a duration that may have seconds (s), too.
func parsePreciseDuration(s string) (time.Duration, error) {
	return parseDuration(s, durationUnits, "days, hours, minutes and seconds, such as 7d, 12h or 1h30m")
}

// parseDuration reads a duration of some units; form says how one is written.
func parseDuration(s string, units []durationUnit, form string) (time.Duration, error) {
	rest, total := s, time.Duration(0)
	for _, unit := range units {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) || rest[digits] != unit.symbol {
			continue
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil || n > int64((math.MaxInt64-total)/unit.size) {
			return 0, fmt.Errorf("%q is too long for a duration", s)
		}
		total += time.Duration(n) * unit.size
		rest = rest[digits+1:]
	}
	if s == "" || rest != "" {
		return 0, fmt.Errorf("%q is not a duration: write %s", s, form)
	}
	return total, nil
}
