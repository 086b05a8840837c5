package runs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/groupgate/groupgate/internal/prunerun"
)

// words is the range as "Jan 25 to Jul 24, 2 not known".
func (a *Activity) words(now time.Time) string {
	var parts []string
	if a.From != nil {
		from, to := date(*a.From, now), date(*a.To, now)
		if from == to {
			parts = append(parts, from)
		} else {
			parts = append(parts, from+" to "+to)
		}
	}
	switch {
	case a.From == nil && a.Unknown > 0:
		return "not known"
	case a.Unknown > 0:
		parts = append(parts, fmt.Sprintf("%d not known", a.Unknown))
	case a.From == nil:
		return "-"
	}
	return strings.Join(parts, ", ")
}

// date is a day, in UTC as all times of a run. The year is left out if it is this one.
func date(at, now time.Time) string {
	if at = at.UTC(); at.Year() == now.UTC().Year() {
		return at.Format("Jan 2")
	}
	return at.Format("Jan 2, 2006")
}

// ago says how long ago something was, in the largest unit that says something.
func ago(at, now time.Time) string {
	switch hours := int(now.Sub(at).Hours()); {
	case hours < 1:
		return "just now"
	case hours < 48:
		return prunerun.Count(hours, "hour ago", "hours ago")
	default:
		return prunerun.Count(hours/24, "day ago", "days ago")
	}
}

// quoted is an id as it is, or quoted if it holds what a terminal shows in another way, or not at all. The ids of
// groups and accounts come from the vendor, who takes them from apps.
func quoted(id string) string {
	for _, r := range id {
		if !unicode.IsPrint(r) || r == '\u00a0' {
			return strconv.Quote(id)
		}
	}
	if id != strings.TrimSpace(id) {
		return strconv.Quote(id)
	}
	return id
}

// printable is text that others wrote, in one line and without what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
