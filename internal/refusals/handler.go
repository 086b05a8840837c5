package refusals

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Paths of a Handler, as patterns of http.ServeMux. The last element is the subresource of the IMApp that it takes a
// right to get.
const (
	RefusalsPath = "/namespaces/{namespace}/imapps/{name}/refusals"
	ActivityPath = "/namespaces/{namespace}/imapps/{name}/activity"
)

// Handler serves what a replica remembers. It does not ask who the client is.
type Handler struct {
	Ring   *Ring
	Counts *Counts
	// Missed returns how many decisions that refuse never reached the ring.
	Missed func() uint64
}

// Refusals answers at RefusalsPath. The query is a Filter: group, account, before (RFC 3339) and limit.
func (h *Handler) Refusals(w http.ResponseWriter, r *http.Request) {
	filter, wrong := parseFilter(r.URL.RawQuery)
	if wrong != "" {
		refuse(w, http.StatusBadRequest, wrong)
		return
	}
	if h.Ring.capacity == 0 {
		refuse(w, http.StatusNotFound, "This replica remembers no refusals: --refusals-kept of the manager is 0.")
		return
	}
	app := appOf(r)
	answer := h.Ring.Refusals(app, filter)
	answer.Dropped = h.Missed()
	if _, served := h.Counts.Activity(app); !served && len(answer.Refusals) == 0 {
		unserved(w, app)
		return
	}
	send(w, answer)
}

// Activity answers at ActivityPath.
func (h *Handler) Activity(w http.ResponseWriter, r *http.Request) {
	activity, served := h.Counts.Activity(appOf(r))
	if !served {
		unserved(w, appOf(r))
		return
	}
	send(w, activity)
}

func appOf(r *http.Request) string { return r.PathValue("namespace") + "/" + r.PathValue("name") }

// unserved must not look like an app that nobody wanted to join.
func unserved(w http.ResponseWriter, app string) {
	refuse(w, http.StatusNotFound, fmt.Sprintf("This replica decides nothing for the IMApp %s: "+
		"it does not exist, is not accepted, or is in a namespace that is not watched.", app))
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, why, status)
}

func send(w http.ResponseWriter, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "The answer cannot be encoded: "+err.Error())
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text)
}

// Query is the filter as the query of a URL.
func (f *Filter) Query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"group": f.Group, "account": f.Account} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if !f.Before.IsZero() {
		query.Set("before", f.Before.Format(time.RFC3339Nano))
	}
	if f.Limit != 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	return query
}

// parseFilter returns what is wrong as a sentence; empty if nothing is.
func parseFilter(raw string) (f Filter, wrong string) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return f, "The query cannot be read: escape it as a URL."
	}
	for name, values := range query {
		value := values[0]
		if len(values) > 1 {
			return f, fmt.Sprintf("Name %s once, not %d times.", name, len(values))
		}
		switch name {
		case "group":
			f.Group = value
		case "account":
			f.Account = value
		case "before":
			if f.Before, err = time.Parse(time.RFC3339, value); err != nil {
				return f, fmt.Sprintf("before is %q: use a time in RFC 3339.", value)
			}
		case "limit":
			if f.Limit, err = strconv.Atoi(value); err != nil || f.Limit < 1 || f.Limit > MaxLimit {
				return f, fmt.Sprintf("limit is %q: use a number from 1 to %d.", value, MaxLimit)
			}
		default:
			return f, fmt.Sprintf("The query has %q: use group, account, before and limit.", name)
		}
	}
	return f, ""
}
