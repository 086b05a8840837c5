package webhookserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// Defaults of the tests.
const (
	appID = 1400000000
	token = "s3cr3t-token"
	group = "@TGS#2J4SZEAEL"

	applyCommand  = "Group.CallbackBeforeApplyJoinGroup"
	inviteCommand = "Group.CallbackBeforeInviteJoinGroup"
	fullCommand   = "Group.CallbackAfterGroupFull"
	otherCommand  = "Group.CallbackAfterSendMsg"

	listening = 30 * time.Second // how long a test waits for what must happen
)

// wallClock is the time of the tests.
var wallClock = time.Unix(1700000000, 0)

// gate is a server on loopback with its dependencies.
type gate struct {
	server   *Server
	handler  http.Handler
	store    *policy.Store
	full     *fullGroups
	registry *prometheus.Registry
	url      string
	client   *http.Client
	stop     func() // as SIGTERM does after the delay; waits for Start
}

// fullGroups records full groups.
type fullGroups struct {
	mu  sync.Mutex
	got []string
}

func (f *fullGroups) GroupFull(app policy.Object, groupID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, app.Key()+" "+groupID)
}

func (f *fullGroups) groups() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.got...)
}

// newGate returns a gate that does not listen.
func newGate(t testing.TB, input *policy.Input, adjust ...func(*Server)) *gate {
	t.Helper()
	g := &gate{store: new(policy.Store), full: new(fullGroups), registry: prometheus.NewPedanticRegistry()}
	if input != nil {
		g.store.Publish(policy.Compile(*input))
	}
	g.server = &Server{
		Snapshots:  g.store,
		FullGroups: g.full,
		Now:        func() time.Time { return wallClock },
		Metrics:    NewMetrics(g.registry),
	}
	for _, change := range adjust {
		change(g.server)
	}
	g.handler = g.server.handler()
	return g
}

// startGate runs Start on loopback until the test ends.
func startGate(t testing.TB, input *policy.Input, adjust ...func(*Server)) *gate {
	t.Helper()
	g := newGate(t, input, adjust...)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.server.Listener = listener
	scheme := "http"
	if g.server.TLS != nil {
		scheme = "https"
	}
	g.url = scheme + "://" + listener.Addr().String()
	g.client = &http.Client{Transport: new(http.Transport), Timeout: listening}

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- g.server.Start(ctx) }() // ends with ctx, awaited by stop
	g.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Start: %v", err)
			}
		case <-time.After(listening):
			t.Error("Start did not return after its context ended")
		}
	})
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		g.stop()
	})
	return g
}

// query is an unsigned query as the vendor sends it.
func query(command string) string {
	return "SdkAppid=1400000000&CallbackCommand=" + command + "&contenttype=json&ClientIP=127.0.0.1&OptPlatform=iOS"
}

// signed adds the parameters of callback authentication.
func signed(query string) string { return signedBy(token, wallClock, query) }

func signedBy(token string, at time.Time, query string) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	return query + "&Sign=" + callback.Sign(token, seconds) + "&RequestTime=" + seconds
}

func applyBody(account string) string {
	return fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":%q,"Type":"Public","Requestor_Account":%q,`+
		`"EventTime":"1670574414123"}`,
		applyCommand, group, account)
}

func inviteBody(accounts ...string) string {
	return fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":%q,"Type":"Public","Operator_Account":"leckie",`+
		`"DestinationMembers":[%s]}`,
		inviteCommand, group, memberList(accounts))
}

func memberList(accounts []string) string {
	var items []string
	for _, account := range accounts {
		items = append(items, fmt.Sprintf(`{"Member_Account":%q}`, account))
	}
	return strings.Join(items, ",")
}

func fullBody(groupID string) string {
	return fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":%q}`, fullCommand, groupID)
}

// reply is an answer as a strict reader of the protocol sees it.
type reply struct {
	Status       int      `json:"-"`
	ActionStatus string   `json:"ActionStatus"`
	ErrorInfo    string   `json:"ErrorInfo"`
	ErrorCode    *int     `json:"ErrorCode"`
	Refused      []string `json:"RefusedMembers_Account"`
	Header       http.Header
}

// shape is the part of an answer that decides.
func (r reply) shape() string {
	s := fmt.Sprintf("%d %s %d", r.Status, r.ActionStatus, *r.ErrorCode)
	if r.Refused != nil {
		s += fmt.Sprint(" ", r.Refused)
	}
	return s
}

func (g *gate) post(t testing.TB, query, body string) reply {
	t.Helper()
	return g.do(t, http.MethodPost, Path+"?"+query, strings.NewReader(body))
}

func (g *gate) do(t testing.TB, method, target string, body io.Reader) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, g.url+target, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := g.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return readReply(t, response)
}

// readReply checks what is true of all answers on the wire.
func readReply(t testing.TB, response *http.Response) reply {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := response.Header.Get("Content-Length"), strconv.Itoa(len(body)); got != want {
		t.Errorf("Content-Length %q, want %q", got, want)
	}
	return decodeReply(t, response.StatusCode, response.Header, body)
}

// decodeReply reads an answer, on the wire or as the handler leaves it to net/http, which adds the length.
func decodeReply(t testing.TB, status int, header http.Header, body []byte) reply {
	t.Helper()
	if got, want := header.Get("Content-Type"), "application/json; charset=utf-8"; got != want {
		t.Errorf("Content-Type %q, want %q", got, want)
	}
	r := reply{Status: status, Header: header}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil || r.ErrorCode == nil || r.ActionStatus == "" || decoder.More() {
		t.Fatalf("answer %q is not one complete JSON object: %v", body, err)
	}
	return r
}

// count is the value of one counter, by its labels in the order in which they are declared alphabetically.
func (g *gate) count(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	for series, value := range g.series(t, name) {
		if series == strings.Join(labels, " ") {
			return value
		}
	}
	t.Fatalf("no series %s %v", name, labels)
	return 0
}

// series are the values of one metric, by label values in the order of label names, summed over all apps.
func (g *gate) series(t testing.TB, name string) map[string]float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "groupgate_"+name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, pair := range metric.GetLabel() {
				if pair.GetName() != "app" {
					labels = append(labels, pair.GetValue())
				}
			}
			values[strings.Join(labels, " ")] += valueOf(metric)
		}
	}
	return values
}

func valueOf(metric *dto.Metric) float64 {
	switch {
	case metric.GetCounter() != nil:
		return metric.GetCounter().GetValue()
	case metric.GetGauge() != nil:
		return metric.GetGauge().GetValue()
	default:
		return float64(metric.GetHistogram().GetSampleCount())
	}
}

// moved returns the series of a metric that are not 0.
func (g *gate) moved(t testing.TB, name string) map[string]float64 {
	t.Helper()
	values := g.series(t, name)
	for series, value := range values {
		if value == 0 {
			delete(values, series)
		}
	}
	return values
}

// object is the identity of an object of the test's namespace.
func object(name string) policy.Object {
	return policy.Object{Namespace: "chat", Name: name, UID: "uid-" + name, Generation: 1,
		Created: time.Unix(1600000000, 0)}
}

// theApp is the one app, with the token that signed uses.
func theApp() policy.App {
	return policy.App{
		Object:   object("prod"),
		SDKAppID: appID,
		Tokens:   []policy.Token{{Name: policy.TokenCurrent, Value: token}},
	}
}

// everyGroup matches all groups.
func everyGroup() []policy.GroupMatcher { return []policy.GroupMatcher{{Kind: policy.MatchAll}} }

// gated is the app with one policy over every group.
func gated(join policy.JoinSection) *policy.Input {
	return &policy.Input{
		Apps:     []policy.App{theApp()},
		Policies: []policy.Policy{{Object: object("gate"), App: "prod", Groups: everyGroup(), Join: &join}},
	}
}

// members admits the accounts and refuses all others with a code of its own.
func members(accounts ...string) *policy.Input {
	return gated(policy.JoinSection{
		Allow:  &policy.AccountSelector{Accounts: accounts},
		Reject: policy.Rejection{Code: 10110, Message: "Members only"},
	})
}

// prunable is the app with one policy that prunes the group.
func prunable(groupID string) *policy.Input {
	return &policy.Input{
		Apps: []policy.App{theApp()},
		Policies: []policy.Policy{{
			Object: object("prune"), App: "prod",
			Groups: []policy.GroupMatcher{{Kind: policy.MatchExact, Value: groupID}},
			Prune: &policy.PruneRule{InactiveFor: 30 * 24 * time.Hour, FreeSeats: policy.Seats{Percent: 5},
				MaxRemovals: 100, MaxRemovalsPerDay: 1000},
		}},
	}
}
