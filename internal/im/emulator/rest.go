package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/imrest"
)

const (
	restPrefix    = "/v4/group_open_http_svc/"
	maxRESTBody   = 1 << 20
	maxRESTAnswer = 1 << 20 // beyond that the vendor answers 10018 (page 34948)
	apiDelete     = "delete_group_member"
)

// call is one authenticated call of the REST API.
type call struct {
	app        *app
	identifier string // an admin of the app
	now        time.Time
	skip       []string // accounts that a removal passes over
	*params
}

// origin is the origin of what a call causes. Callbacks of REST calls have the platform RESTAPI (page 34354).
func (c *call) origin() origin {
	return origin{account: c.identifier, platform: "RESTAPI", ip: "127.0.0.1"}
}

// api is one command of the REST API. It returns the fields of the answer besides those of the envelope, nil for none.
type api func(e *Emulator, ctx context.Context, c *call) (any, *failure)

var apis = map[string]api{
	"create_group":                    (*Emulator).createGroup,
	"destroy_group":                   (*Emulator).destroyGroup,
	"get_group_info":                  (*Emulator).getGroupInfo,
	"get_appid_group_list":            (*Emulator).getGroupList,
	"modify_group_base_info":          (*Emulator).modifyGroup,
	"change_group_owner":              (*Emulator).changeOwner,
	"get_group_member_info":           (*Emulator).getMembers,
	"get_specified_group_member_info": (*Emulator).getSpecifiedMembers,
	"get_role_in_group":               (*Emulator).getRoles,
	"modify_group_member_info":        (*Emulator).modifyMember,
	"add_group_member":                (*Emulator).addMembers,
	apiDelete:                         (*Emulator).deleteMembers,
	"import_group_member":             (*Emulator).importMembers,
	"send_group_msg":                  (*Emulator).sendMessage,
}

// envelope has the fields that begin every answer. The HTTP status is always 200.
type envelope struct {
	ActionStatus string `json:"ActionStatus"`
	ErrorInfo    string `json:"ErrorInfo"`
	ErrorCode    int    `json:"ErrorCode"`
}

func envelopeOf(f *failure) []byte {
	env := envelope{ActionStatus: "OK"}
	if f != nil {
		env = envelope{ActionStatus: "FAIL", ErrorInfo: f.info, ErrorCode: f.code}
	}
	answer, err := json.Marshal(env)
	if err != nil { // two strings and a number
		return []byte(`{"ActionStatus":"FAIL","ErrorInfo":"internal error","ErrorCode":10002}`)
	}
	return answer
}

// serveREST answers one call: pick the faults, authenticate, execute, record, answer.
func (e *Emulator) serveREST(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	now := e.clock.now()
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	body, tooLarge := readBody(r)

	rec := CallRecord{API: otherAPIName, ReceivedAt: now.UTC()}
	if name, ok := strings.CutPrefix(r.URL.Path, restPrefix); ok && apis[name] != nil {
		rec.API = name
	}
	p, bodyErr := parseParams(body)
	var accounts []string
	if bodyErr == nil {
		rec.Group = groupOf(p)
		accounts = accountsOf(p)
		if len(body) <= maxRecordedBody {
			rec.Body = body
		}
	}
	inj := e.faults.forCall(rec.API, rec.Group, accounts)
	rec.Fault = inj.name()
	if inj.noDate {
		w.Header()["Date"] = nil // net/http would set it otherwise
	}

	var answer []byte
	var f *failure
	if wait(r.Context(), inj.latency, e.closing) != nil {
		abort() // the client has disconnected
	}
	switch {
	case inj.fault != nil && inj.fault.effectAfter > 0:
		e.carryOutLater(r, inj, p, bodyErr, rec)
	case inj.fault != nil && !inj.fault.AfterEffect:
	case tooLarge:
		f = fail(codeBadRequest, "the body is larger than %d bytes", maxRESTBody)
	default:
		answer, f = e.call(r, now, p, bodyErr, inj.skip, &rec)
	}
	if f != nil {
		answer = envelopeOf(f)
		rec.Code, rec.Info = f.code, f.info
	}
	if inj.is(FaultCode) {
		rec.Code, rec.Info = inj.fault.Code, inj.fault.Info
	}
	rec.DurationMillis = time.Since(start).Milliseconds()
	// Recorded before the answer is sent, so that a client that has the answer finds the record.
	e.tally.add(rec.API, rec.Code != 0 || inj.fault != nil)
	e.calls.add(func(id int) CallRecord { rec.ID = id; return rec })
	e.log.Debug("REST call", "app", rec.SDKAppID, "api", rec.API, "group", rec.Group,
		"code", rec.Code, "info", rec.Info, "fault", rec.Fault)

	if inj.fault != nil {
		e.injectIntoAnswer(w, r, inj.fault, answer)
		return
	}
	writeAnswer(w, len(answer), answer)
}

// carryOutLater executes a call that is answered now.
func (e *Emulator) carryOutLater(r *http.Request, inj injected, p *params, bodyErr error, rec CallRecord) {
	go func(ctx context.Context) { // ends after the delay, or when the emulator is closed
		if wait(ctx, inj.fault.effectAfter, e.closing) == nil {
			_, _ = e.call(r.WithContext(ctx), e.clock.now(), p, bodyErr, inj.skip, &rec)
		}
	}(context.WithoutCancel(r.Context()))
}

// writeAnswer writes an answer of the given length, or only a part of it. It ignores errors, which mean that the client
// has disconnected.
func writeAnswer(w http.ResponseWriter, length int, part []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(length))
	_, _ = w.Write(part) //nolint:gosec // JSON, and labelled as such
}

// abort closes the connection without an answer: net/http recovers from this panic value and does so.
func abort() { panic(http.ErrAbortHandler) } //nolint:forbidigo // see above

// injectIntoAnswer applies a fault to an answer.
func (e *Emulator) injectIntoAnswer(w http.ResponseWriter, r *http.Request, f *Fault, answer []byte) {
	switch f.Kind {
	case FaultHTTP:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.Status)
		_, _ = fmt.Fprintf(w, "<html><body><h1>%d %s</h1></body></html>\n", f.Status, http.StatusText(f.Status))
		return
	case FaultCode:
		answer = envelopeOf(&failure{f.Code, f.Info})
		writeAnswer(w, len(answer), answer)
		return
	case FaultOK:
		answer = envelopeOf(nil)
		writeAnswer(w, len(answer), answer)
		return
	case FaultTruncate:
		writeAnswer(w, len(answer), answer[:len(answer)/2])
		_ = http.NewResponseController(w).Flush()
	case FaultHang:
		_ = wait(r.Context(), forever, e.closing)
	}
	abort()
}

// call authenticates and executes a call.
func (e *Emulator) call(
	r *http.Request, now time.Time, p *params, bodyErr error, skip []string, rec *CallRecord,
) ([]byte, *failure) {
	a, identifier, f := e.authenticate(r, now)
	if a != nil {
		rec.SDKAppID, rec.Identifier = a.id, identifier
	}
	if f != nil {
		return nil, f
	}
	if bodyErr != nil {
		return nil, fail(codeBadJSON, "the body must be a JSON object, at least {}: %v", bodyErr)
	}
	do := apis[rec.API]
	if do == nil {
		return nil, fail(codeUnknownCommand, "unknown command %q", strings.TrimPrefix(r.URL.Path, restPrefix))
	}
	if a.tooFrequent(rec.API) {
		return nil, fail(codeTooFrequent, "%s is called too often", rec.API)
	}
	result, f := do(e, r.Context(), &call{app: a, identifier: identifier, now: now, skip: skip, params: p})
	if f != nil {
		return nil, f
	}
	answer := envelopeOf(nil)
	if result != nil {
		fields, err := json.Marshal(result)
		if err != nil { // strings and numbers only
			return nil, fail(10002, "internal error: %v", err)
		}
		answer = append(append(answer[:len(answer)-1], ','), fields[1:]...)
	}
	if len(answer) > maxRESTAnswer {
		return nil, fail(codeAnswerTooLarge, "the answer would be larger than 1 MB: request fewer members or fields")
	}
	return answer, nil
}

// authenticate checks the request line in the presumable order of the vendor's gateway (page 34620; codes on page
// 34348).
func (e *Emulator) authenticate(r *http.Request, now time.Time) (*app, string, *failure) {
	if r.Method != http.MethodPost {
		return nil, "", fail(codeBadRequest, "the method must be POST, not %s", r.Method)
	}
	if !strings.HasPrefix(r.URL.Path, restPrefix) {
		return nil, "", fail(codeBadURL, "the emulator serves %s... only", restPrefix)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, "", fail(codeBadRequest, "the query cannot be parsed: encode every parameter")
	}
	number := query.Get("sdkappid")
	if number == "" {
		return nil, "", fail(codeNoSDKAppID, "the parameter sdkappid is missing")
	}
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return nil, "", fail(codeBadSDKAppID, "sdkappid is not a number")
	}
	a := e.apps[id]
	if a == nil {
		return nil, "", fail(codeNoSuchApp, "there is no app %d", id)
	}
	identifier := query.Get("identifier")
	if identifier == "" {
		return a, "", fail(codeNoIdentifier, "the parameter identifier is missing")
	}
	settings, key, _ := a.config()
	if err := imrest.VerifyUserSig(query.Get("usersig"), key, id, identifier, now); err != nil {
		code := codeUserSigMalformed
		if refused := (*imrest.UserSigError)(nil); errors.As(err, &refused) {
			code = refused.Code
		}
		return a, identifier, fail(code, "%v", err)
	}
	if !slices.Contains(settings.AdminAccounts, identifier) {
		return a, identifier, fail(codeNotAdmin, "%q is not an admin of the app", identifier)
	}
	if _, err := strconv.ParseUint(query.Get("random"), 10, 32); err != nil {
		return a, identifier, fail(codeBadRequest, "the parameter random must be an unsigned 32-bit integer")
	}
	if query.Get("contenttype") != "json" {
		return a, identifier, fail(codeBadRequest, "the parameter contenttype must be json")
	}
	return a, identifier, nil
}

func readBody(r *http.Request) (body []byte, tooLarge bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRESTBody+1))
	if err != nil {
		return nil, false
	}
	return body, len(body) > maxRESTBody
}

// groupOf is the group of a call, for faults and records; empty if the call names none or several.
func groupOf(p *params) string {
	p = &params{members: p.members} // the call itself reports what is wrong with its parameters
	if id := p.text("GroupId"); id != "" {
		return id
	}
	if ids := p.texts("GroupIdList"); len(ids) == 1 {
		return ids[0]
	}
	return ""
}

// accountsOf are the accounts that a call about members names, for faults.
func accountsOf(p *params) []string {
	p = &params{members: p.members} // as for groupOf
	named := append(p.texts("MemberToDel_Account"), p.texts("Member_List_Account")...)
	for _, o := range p.objects("MemberList") {
		named = append(named, o.text("Member_Account"))
	}
	return named
}

// namedGroup returns the group of a call, locked; the caller unlocks it.
func (c *call) namedGroup() (*group, *failure) {
	id := c.required("GroupId")
	if c.bad != nil {
		return nil, c.bad
	}
	return c.lockGroup(id)
}

func (c *call) lockGroup(id string) (*group, *failure) {
	if len(id) > 96 || strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		return nil, fail(codeBadGroupID, "the group id is invalid")
	}
	g := c.app.group(id)
	if g == nil {
		return nil, errNoSuchGroup
	}
	g.mu.Lock()
	if g.dissolved {
		g.mu.Unlock()
		return nil, errNoSuchGroup
	}
	return g, nil
}
