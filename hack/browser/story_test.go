package browser

import (
	"crypto/tls"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/refusals"
)

// replicaOfADay answers as a replica that has been up for a day would, of which a test has no time: with the figures of
// a community that sleeps at night, and the same ones every time.
func (w *world) replicaOfADay(t *testing.T, name string, share float64) (url string) {
	t.Helper()
	now := time.Now()
	since := now.Add(-23*time.Hour - 12*time.Minute)
	activity := refusals.Activity{Replica: name, Since: since, Now: now, SnapshotAt: now}
	const length = refusals.IntervalLength
	for start := since.Truncate(length); start.Before(now); start = start.Add(length) {
		hour := start.Sub(since).Hours()
		joins := share * (30 + 26*math.Sin((hour-9)/24*2*math.Pi) + 6*math.Sin(hour*7))
		activity.Intervals = append(activity.Intervals, refusals.Interval{
			Start: start, Admitted: uint64(joins), Refused: uint64(joins / 9),
		})
	}
	all := refusals.Refusals{Replica: name, Since: since, Capacity: refusals.DefaultCapacity}
	for i, r := range []refusals.Refusal{
		{Group: "vip-berlin", Account: "mallory", Reason: "Denied", Policy: "banned", Code: 10120,
			Message: "You cannot join groups at the moment"},
		{Group: "vip-berlin", Account: "stranger", Reason: "NotListed", Policy: "vip-lounge", Code: 10110,
			Message: "Members only"},
		{Group: "vip-berlin", Account: "j\u0430red", Reason: "NotListed", Policy: "vip-lounge", Code: 10110,
			Message: "Members only"},
		{Group: "club-genf", Account: "chen", Reason: "Pruned", Policy: "club", Code: 10140,
			Message: "You were inactive, come back next week"},
		{Group: "backstage-1", Account: "eve", Operator: "jared", Trigger: "Invite", Reason: "NotListed",
			Policy: "backstage", Code: 10150, Message: "Staff and VIPs only"},
		{Group: "club-oslo", Account: "mallory", Reason: "Denied", Policy: "banned", Code: 10120,
			Message: "You cannot join groups at the moment"},
	} {
		if r.Trigger == "" {
			r.Trigger = "Apply"
		}
		r.GroupType, r.Time = "Public", now.Add(-time.Duration(4+23*i*i)*time.Minute)
		all.Refusals = append(all.Refusals, r)
	}
	certificate := must(tls.LoadX509KeyPair(
		filepath.Join(w.certificates, "tls.crt"), filepath.Join(w.certificates, "tls.key")))(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/activity") {
			_ = json.NewEncoder(rw).Encode(activity)
			return
		}
		answer := all
		answer.Refusals = []refusals.Refusal{}
		for _, refusal := range all.Refusals {
			group, account := r.URL.Query().Get("group"), r.URL.Query().Get("account")
			if share == 1 && (group == "" || group == refusal.Group) && (account == "" || account == refusal.Account) {
				answer.Refusals = append(answer.Refusals, refusal)
			}
		}
		_ = json.NewEncoder(rw).Encode(answer)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}
