package webhookserver

import (
	"net/http"
	"sync/atomic"
	"time"
)

// dates hands out the Date header, which is the same for a second. Where a
// handler leaves it to net/http, that reads the clock and writes it anew for
// every answer. The zero value is ready; any number of goroutines may use it.
type dates struct{ last atomic.Pointer[date] }

type date struct {
	second int64
	value  []string // as http.Header holds it; shared, and only read
}

func (d *dates) at(now time.Time) []string {
	last := d.last.Load()
	if second := now.Unix(); last == nil || last.second != second {
		last = &date{second: second, value: []string{now.UTC().Format(http.TimeFormat)}}
		d.last.Store(last)
	}
	return last.value
}
