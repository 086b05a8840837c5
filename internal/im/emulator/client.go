package emulator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client is a client of the control API. Only BaseURL is required.
type Client struct {
	// BaseURL is the URL of the emulator, for example http://127.0.0.1:8090.
	BaseURL string
	// SDKAppID selects the app. 0: the only one that is served.
	SDKAppID uint64
	// HTTPClient sends the requests. Nil: http.DefaultClient.
	HTTPClient *http.Client
}

// CreateGroup creates a group without callbacks.
func (c Client) CreateGroup(ctx context.Context, spec GroupSpec) (Group, error) {
	return send[Group](ctx, c, "POST", "groups", nil, spec)
}

// Groups lists the groups in the order of creation.
func (c Client) Groups(ctx context.Context) ([]Group, error) {
	answer, err := send[struct{ Groups []Group }](ctx, c, "GET", "groups", nil, nil)
	return answer.Groups, err
}

// Group returns a group without its members.
func (c Client) Group(ctx context.Context, id string) (Group, error) {
	return send[Group](ctx, c, "GET", groupPath(id), url.Values{"limit": {"0"}}, nil)
}

// Members lists all members of a group in the order of joining.
func (c Client) Members(ctx context.Context, id string) ([]Member, error) {
	var all []Member
	for offset := 0; ; {
		query := url.Values{"offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(maxControlPage)}}
		g, err := send[Group](ctx, c, "GET", groupPath(id), query, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, g.MemberList...)
		if offset = g.NextOffset; offset == 0 {
			return all, nil
		}
	}
}

// ChangeGroup changes the fields that are set in change.
func (c Client) ChangeGroup(ctx context.Context, id string, change GroupChange) (Group, error) {
	return send[Group](ctx, c, "PATCH", groupPath(id), nil, change)
}

// DestroyGroup disbands a group.
func (c Client) DestroyGroup(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", groupPath(id), nil, nil, nil)
}

// PutMembers adds members, or changes existing ones, without callbacks.
func (c Client) PutMembers(ctx context.Context, id string, spec MemberSpec) (Placed, error) {
	return send[Placed](ctx, c, "POST", groupPath(id)+"/members", nil, spec)
}

// Apply applies to join as an account on a client.
func (c Client) Apply(ctx context.Context, id, account string) (Outcome, error) {
	return c.Act(ctx, id, "apply", Act{Account: account})
}

// Invite invites accounts as a member on a client.
func (c Client) Invite(ctx context.Context, id, inviter string, accounts ...string) (Outcome, error) {
	return c.Act(ctx, id, "invite", Act{Account: inviter, Accounts: accounts})
}

// Speak sends a message as each of the accounts.
func (c Client) Speak(ctx context.Context, id string, accounts ...string) (Outcome, error) {
	return c.Act(ctx, id, "speak", Act{Accounts: accounts})
}

// Messages lists the last 200 messages that send_group_msg sent into a group, oldest first.
func (c Client) Messages(ctx context.Context, id string) ([]Message, error) {
	answer, err := send[struct{ Messages []Message }](ctx, c, "GET", groupPath(id)+"/messages", nil, nil)
	return answer.Messages, err
}

// Quit leaves the group as each of the accounts.
func (c Client) Quit(ctx context.Context, id string, accounts ...string) (Outcome, error) {
	return c.Act(ctx, id, "quit", Act{Accounts: accounts})
}

// Act performs apply, invite, speak or quit with all options of an Act.
func (c Client) Act(ctx context.Context, id, verb string, act Act) (Outcome, error) {
	return send[Outcome](ctx, c, "POST", groupPath(id)+"/"+verb, nil, act)
}

// Approve approves a pending application.
func (c Client) Approve(ctx context.Context, id, account string) (Outcome, error) {
	return send[Outcome](ctx, c, "POST", groupPath(id)+"/applications", nil, decision{account, "Approve"})
}

// Decline declines a pending application.
func (c Client) Decline(ctx context.Context, id, account string) (Outcome, error) {
	return send[Outcome](ctx, c, "POST", groupPath(id)+"/applications", nil, decision{account, "Decline"})
}

// Clock returns the emulator's time.
func (c Client) Clock(ctx context.Context) (ClockReading, error) {
	return send[ClockReading](ctx, c, "GET", "clock", nil, nil)
}

// MoveClock moves the emulator's time.
func (c Client) MoveClock(ctx context.Context, change ClockChange) (ClockReading, error) {
	return send[ClockReading](ctx, c, "POST", "clock", nil, change)
}

// AddFault adds a rule and returns it with its ID.
func (c Client) AddFault(ctx context.Context, f Fault) (Fault, error) {
	return send[Fault](ctx, c, "POST", "faults", nil, f)
}

// Faults lists the rules in force.
func (c Client) Faults(ctx context.Context) ([]Fault, error) {
	answer, err := send[struct{ Faults []Fault }](ctx, c, "GET", "faults", nil, nil)
	return answer.Faults, err
}

// RemoveFault removes a rule.
func (c Client) RemoveFault(ctx context.Context, id int) error {
	return c.do(ctx, "DELETE", "faults/"+strconv.Itoa(id), nil, nil, nil)
}

// ClearFaults removes all rules.
func (c Client) ClearFaults(ctx context.Context) error {
	return c.do(ctx, "DELETE", "faults", nil, nil, nil)
}

// RecordFilter selects records. Empty fields match all.
type RecordFilter struct {
	Command string // callbacks only
	Outcome string // callbacks only
	API     string // calls only
	Group   string
	Since   int // records with a greater ID
	Limit   int // the newest; default: all 2000 that are stored
}

func (f RecordFilter) query() url.Values {
	q := url.Values{"since": {strconv.Itoa(f.Since)}, "limit": {strconv.Itoa(cmp.Or(f.Limit, maxRecords))}}
	filters := map[string]string{"command": f.Command, "outcome": f.Outcome, "api": f.API, "group": f.Group}
	for name, value := range filters {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// Callbacks lists the recorded callbacks, oldest first.
func (c Client) Callbacks(ctx context.Context, f RecordFilter) ([]CallbackRecord, error) {
	answer, err := send[struct{ Callbacks []CallbackRecord }](ctx, c, "GET", "callbacks", f.query(), nil)
	return answer.Callbacks, err
}

// Settle waits until no callback is queued or being sent, for at most patience.
func (c Client) Settle(ctx context.Context, patience time.Duration) error {
	return c.do(ctx, "GET", "callbacks", url.Values{"settle": {patience.String()}, "limit": {"0"}}, nil, nil)
}

// ClearCallbacks deletes the records of callbacks.
func (c Client) ClearCallbacks(ctx context.Context) error {
	return c.do(ctx, "DELETE", "callbacks", nil, nil, nil)
}

// Calls lists the recorded calls of the REST API, oldest first.
func (c Client) Calls(ctx context.Context, f RecordFilter) ([]CallRecord, error) {
	answer, err := send[callList](ctx, c, "GET", "calls", f.query(), nil)
	return answer.Calls, err
}

// CallCount returns how often an API was called, including calls whose records were dropped.
func (c Client) CallCount(ctx context.Context, api string) (CallCount, error) {
	answer, err := send[callList](ctx, c, "GET", "calls", url.Values{"limit": {"0"}}, nil)
	if err != nil {
		return CallCount{}, err
	}
	for _, count := range answer.Counts {
		if count.API == api {
			return count, nil
		}
	}
	return CallCount{API: api}, nil
}

// ClearCalls deletes the records and counts of calls.
func (c Client) ClearCalls(ctx context.Context) error {
	return c.do(ctx, "DELETE", "calls", nil, nil, nil)
}

// Settings returns the app's settings.
func (c Client) Settings(ctx context.Context) (Settings, error) {
	return send[Settings](ctx, c, "GET", "settings", nil, nil)
}

// Configure reads the settings, applies change and writes them back.
func (c Client) Configure(ctx context.Context, change func(*Settings)) (Settings, error) {
	s, err := c.Settings(ctx)
	if err != nil {
		return Settings{}, err
	}
	change(&s)
	// Empty lists are sent too: a list that is left out is not changed.
	return send[Settings](ctx, c, "PATCH", "settings", nil, struct {
		Settings
		DisabledCallbacks []string `json:"disabledCallbacks"`
		MissingAccounts   []string `json:"missingAccounts"`
		AskedAccounts     []string `json:"askedAccounts"`
		CrowdedAccounts   []string `json:"crowdedAccounts"`
	}{s, s.DisabledCallbacks, s.MissingAccounts, s.AskedAccounts, s.CrowdedAccounts})
}

// UserSig returns a signature for REST calls by an admin account.
func (c Client) UserSig(ctx context.Context, identifier string) (Signature, error) {
	return send[Signature](ctx, c, "GET", "usersig", url.Values{"identifier": {identifier}}, nil)
}

// Call makes a call of the group REST API, for example import_group_member, as the admin account admin. An answer with
// another ErrorCode than 0 is an error.
func (c Client) Call(ctx context.Context, api string, body any) (json.RawMessage, error) {
	sig, err := c.UserSig(ctx, "admin")
	if err != nil {
		return nil, err
	}
	sent, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the body of %s: %w", api, err)
	}
	address := strings.TrimSuffix(c.BaseURL, "/") + restPrefix + api + "?" + sig.Query
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(sent))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", api, err)
	}
	response, err := cmp.Or(c.HTTPClient, http.DefaultClient).Do(request)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", api, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", api, err)
	}
	var status struct {
		ErrorCode int
		ErrorInfo string
	}
	if err := json.Unmarshal(answer, &status); err != nil {
		return nil, fmt.Errorf("%s: HTTP %d without JSON: %w", api, response.StatusCode, err)
	}
	if status.ErrorCode != 0 {
		return answer, fmt.Errorf("%s: %d: %s", api, status.ErrorCode, status.ErrorInfo)
	}
	return answer, nil
}

// Reset deletes groups, faults and records, and resets the clock. Settings stay.
func (c Client) Reset(ctx context.Context) error {
	return c.do(ctx, "POST", "reset", nil, nil, nil)
}

// groupPath escapes an id, which may contain any printable ASCII.
func groupPath(id string) string {
	escaped := url.PathEscape(id)
	if strings.Trim(escaped, ".") == "" { // "." and ".." would be resolved as path segments
		escaped = strings.ReplaceAll(escaped, ".", "%2E")
	}
	return "groups/" + escaped
}

// send makes one request and returns the answer.
func send[T any](ctx context.Context, c Client, method, path string, query url.Values, body any) (answer T, err error) {
	err = c.do(ctx, method, path, query, body, &answer)
	return answer, err
}

// do makes one request. into may be nil.
func (c Client) do(ctx context.Context, method, path string, query url.Values, body, into any) error {
	var sent io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the request to the emulator: %w", err)
		}
		sent = bytes.NewReader(raw)
	}
	if c.SDKAppID != 0 {
		if query == nil {
			query = url.Values{}
		}
		query.Set("app", strconv.FormatUint(c.SDKAppID, 10))
	}
	address := strings.TrimSuffix(c.BaseURL, "/") + "/emulator/" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		return fmt.Errorf("call the emulator: %w", err)
	}
	client := c.HTTPClient
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("call the emulator: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var refusal struct{ Error string }
		if json.NewDecoder(response.Body).Decode(&refusal) != nil || refusal.Error == "" {
			refusal.Error = response.Status
		}
		return errors.New("emulator: " + refusal.Error)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("decode the emulator's answer: %w", err)
	}
	return nil
}
