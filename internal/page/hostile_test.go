package page

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"golang.org/x/net/html"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// target is the page as a proxy reaches it: on a Unix socket, in front of a real API server.
type target struct {
	*site
	socket string
	// ahead is how far its clock is ahead. Each attack comes a second after the other, within the limits of a viewer.
	ahead atomic.Int64
}

func newTarget(t *testing.T) *target {
	t.Helper()
	s := newSite(t)
	origin := &url.URL{Scheme: "https", Host: "page.example"}
	h := &target{site: s, socket: filepath.Join(t.TempDir(), "s")}
	now := func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }
	handler, err := New(Options{
		Identity: &Proxy{
			Clients: s.clients(), Namespace: s.namespace, Now: now,
			UserHeader: "X-Forwarded-User", GroupsHeader: "X-Forwarded-Groups",
		},
		Origin: origin, Namespace: s.namespace, Zone: time.UTC, Log: testr.New(t), Now: now,
	})
	must(t, err)
	listener, err := ListenUnix(t.Context(), h.socket)
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), listener, nil, handler, testr.New(t)) }() // until the test ends
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return h
}

// attack is a request as it is on the wire.
type attack struct {
	method, path string
	// headers replace those of maria's browser behind the proxy; a line without a value leaves one out.
	headers []string
	body    string
	// status, and title, the heading of the answer, are what is expected. says is somewhere in it.
	status      int
	title, says string
}

// attack sends an attack, and returns the answer and its text.
func (h *target) attack(a *attack) (status int, header http.Header, text string) {
	h.t.Helper()
	h.ahead.Add(int64(time.Second))
	if a.method == "" {
		a.method = http.MethodGet
	}
	headers := map[string]string{"host": "Host: page.example", "x-forwarded-user": "X-Forwarded-User: maria"}
	if a.method == http.MethodPost {
		headers["content-type"] = "Content-Type: application/x-www-form-urlencoded"
		headers["content-length"] = fmt.Sprintf("Content-Length: %d", len(a.body))
		headers["origin"] = "Origin: https://page.example"
	}
	for _, line := range a.headers {
		name, value, _ := strings.Cut(line, ":")
		key := strings.ToLower(name)
		for headers[key] != "" && strings.HasPrefix(value, " again ") { // a second line of the same header
			key += "+"
		}
		headers[key] = strings.Replace(line, ": again ", ": ", 1)
		if value == "" {
			delete(headers, key)
		}
	}
	lines := []string{a.method + " " + a.path + " HTTP/1.1"}
	for _, line := range headers {
		lines = append(lines, line)
	}
	conn, err := (&net.Dialer{}).DialContext(h.t.Context(), "unix", h.socket)
	must(h.t, err)
	defer conn.Close()
	must(h.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	go func() { // until the connection is closed; the answer to a large body may come before its end
		_, _ = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\nConnection: close\r\n\r\n"+a.body)
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: a.method})
	if err != nil {
		h.t.Fatalf("%s %.80s: %v", a.method, a.path, err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body) // a connection that is reset after the answer
	return response.StatusCode, response.Header, string(body)
}

// expect sends an attack, and compares the answer.
func (h *target) expect(t *testing.T, a *attack) {
	t.Helper()
	status, header, body := h.attack(a)
	root, err := html.Parse(strings.NewReader(body))
	must(t, err)
	title := ""
	each(root, "h1", func(n *html.Node) { title = textOf(n) })
	if status != a.status || a.title != "" && title != a.title || !strings.Contains(body, a.says) {
		t.Errorf("status %d %q, want %d %q with %q:\n%s", status, title, a.status, a.title, a.says, body)
	}
	each(root, "script", func(*html.Node) { t.Error("the answer has a script") })
	each(root, "textarea", func(n *html.Node) { n.FirstChild = nil }) // what was typed, as it was
	if strings.Contains(textOf(root), "\u202e") {
		t.Error("the answer has a character that turns text around")
	}
	if location := header.Get("Location"); location != "" && (!strings.HasPrefix(location, "/") ||
		strings.HasPrefix(location, "//") || strings.HasPrefix(location, `/\`)) {
		t.Errorf("redirected to %q", location)
	}
	if title != "" && header.Get("Content-Security-Policy") == "" {
		t.Error("the answer has no Content-Security-Policy")
	}
}

const (
	stranger     = "The page does not know who you are."
	ofKubernetes = "Names of users and groups that begin with system: belong to Kubernetes: the page does not " +
		"take them."
	notText   = "The request is malformed: a part of it is missing, doubled or no text."
	otherSite = "Nothing was done: another site has sent this form."
	otherForm = "Nothing was done: this form is too old, or was made for another user or another process."
	noForm    = "The page takes forms only, as browsers send them."
	nowhere   = "There is no such page."
	notSo     = "This address cannot be used in this way."
	notHere   = "This is not the address of the page."
	forbidden = "You may not do this."
	elsewhere = "This page is about another namespace."
)

func TestHostileRequestsForPages(t *testing.T) {
	h := newTarget(t)
	h.run("one", hostile)
	run := h.path("one")
	for name, a := range map[string]*attack{
		"nothing hostile": {path: run, status: 200},

		// Ids
		"markup": {
			path:   "/runs?group=" + url.QueryEscape(hostile),
			status: 200, says: "&lt;script&gt;",
		},
		"attribute":           {path: "/runs?group=%22+onfocus%3Dalert(1)+x%3D%22", status: 200},
		"template":            {path: "/runs?group=%7B%7B.Viewer%7D%7D", status: 200, says: "{{.Viewer}}"},
		"zero width":          {path: "/runs?group=club%E2%80%8Boslo", status: 200},
		"escape sequence":     {path: "/runs?group=%1B%5B2J", status: 200},
		"NUL":                 {path: "/runs?group=a%00b", status: 400, title: notText},
		"invalid UTF-8":       {path: "/runs?group=%ff", status: 400, title: notText},
		"NUL in a name":       {path: "/runs?gro%00up=a", status: 400, title: notText},
		"doubled":             {path: "/runs?group=a&group=b", status: 400, title: notText},
		"escape that is none": {path: "/runs?group=%zz", status: 400, title: notText},
		"semicolon":           {path: "/runs?group=a;app=b", status: 400, title: notText},
		"many parameters":     {path: "/runs?x=" + manyFields(), status: 400, title: notText},
		"long address": {
			path:   "/runs?group=" + strings.Repeat("a", 9<<10),
			status: 414, title: "The address is too long.",
		},
		"language that is none": {path: "/runs", headers: []string{"Accept-Language: \xff,;q=x"}, status: 200},
		"cookies of no sense": {
			path: "/runs", headers: []string{"Cookie: groupgate-zone=../../etc/passwd; groupgate-language=%00"},
			status: 200,
		},

		// Headers of the proxy
		"no user":    {path: run, headers: []string{"X-Forwarded-User:"}, status: 401, title: stranger},
		"empty user": {path: run, headers: []string{"X-Forwarded-User: "}, status: 401, title: stranger},
		"two users": {
			path: run, headers: []string{"X-Forwarded-User: again viktor"},
			status: 401, title: stranger,
		},
		"underscored user": {
			path: run, headers: []string{"X_Forwarded_User: admin"},
			status: 401, title: stranger,
		},
		"underscored user alone": {
			path: run, headers: []string{"X-Forwarded-User:", "X_Forwarded_User: maria"},
			status: 401, title: stranger,
		},
		"underscored groups": {
			path: run, headers: []string{"X_Forwarded-Groups: ops"},
			status: 401, title: stranger,
		},
		"long user": {
			path: run, headers: []string{"X-Forwarded-User: " + strings.Repeat("m", maxName+1)},
			status: 401, title: stranger,
		},
		"long headers": {
			path: run, headers: []string{"X-Padding: " + strings.Repeat("m", 2*maxHeaderBytes)},
			status: 431,
		},
		"user turned around": {
			path: run, headers: []string{"X-Forwarded-User: maria\u202eadmin"},
			status: 401, title: stranger,
		},
		"user of bytes": {
			path: run, headers: []string{"X-Forwarded-User: mar\xffia"},
			status: 401, title: stranger,
		},
		"user with a control": {path: run, headers: []string{"X-Forwarded-User: maria\x01"}, status: 400},
		"header with a blank": {path: run, headers: []string{"X-Forwarded-User : maria"}, status: 400},
		"system user": {
			path: run, headers: []string{"X-Forwarded-User: system:admin"},
			status: 403, title: ofKubernetes,
		},
		"service account": {
			path: run, headers: []string{"X-Forwarded-User: system:serviceaccount:chat:default"},
			status: 403, title: ofKubernetes,
		},
		"system group": {
			path: run, headers: []string{"X-Forwarded-Groups: ops, system:masters"},
			status: 403, title: ofKubernetes,
		},
		"two lists of groups": {
			path: run, headers: []string{"X-Forwarded-Groups: a", "X-Forwarded-Groups: again b"},
			status: 401, title: stranger,
		},
		"many groups": {
			path: run, headers: []string{"X-Forwarded-Groups: " + strings.Repeat("g,", maxGroups) + "g"},
			status: 401, title: stranger,
		},
		"user without rights": {
			path: run, headers: []string{"X-Forwarded-User: nobody"},
			status: 403, title: forbidden,
		},
		"list without rights": {
			path: "/runs", headers: []string{"X-Forwarded-User: nobody"},
			status: 403, title: forbidden, says: `&#34;nobody&#34; cannot list`,
		},
		"impersonation": {
			path: run, headers: []string{"X-Forwarded-User: nobody", "Impersonate-User: maria"},
			status: 403, title: forbidden,
		},
		"token": {
			path: run, headers: []string{"X-Forwarded-User: nobody", "Authorization: Bearer admin"},
			status: 403, title: forbidden,
		},
		"other headers of users": {
			path:    run,
			headers: []string{"X-Forwarded-User: nobody", "X-Remote-User: maria", "X-Forwarded-Email: maria"},
			status:  403, title: forbidden,
		},

		// Host
		"another host": {
			path: run, headers: []string{"Host: evil.example"},
			status: 421, title: notHere, says: "https://page.example",
		},
		"host of loopback":    {path: run, headers: []string{"Host: 127.0.0.1"}, status: 421, title: notHere},
		"host with markup":    {path: run, headers: []string{"Host: <script>"}, status: 400},
		"no host":             {path: run, headers: []string{"Host:"}, status: 400},
		"two hosts":           {path: run, headers: []string{"Host: again evil.example"}, status: 400},
		"host in the address": {path: "http://evil.example/runs", status: 421, title: notHere},
		"forwarded host":      {path: run, headers: []string{"X-Forwarded-Host: evil.example"}, status: 200},

		// Methods and paths
		"PUT":             {method: "PUT", path: run, status: 405, title: notSo},
		"DELETE":          {method: "DELETE", path: run, status: 405, title: notSo},
		"TRACE":           {method: "TRACE", path: run, status: 405, title: notSo},
		"OPTIONS":         {method: "OPTIONS", path: run, status: 405, title: notSo},
		"unknown method":  {method: "APPROVE", path: run, status: 405, title: notSo},
		"decision by GET": {path: run + "/approve?uid=1&resourceVersion=1", status: 303},
		"method in a header": {
			path: run + "/approve", headers: []string{"X-HTTP-Method-Override: POST"}, status: 303,
		},
		"namespace with a slash":  {path: "/runs/" + h.namespace + "%2Fsecrets/one", status: 404, title: nowhere},
		"steps up":                {path: "/runs/..%2f..%2fapi/one", status: 404, title: nowhere},
		"name with a question":    {path: "/runs/" + h.namespace + "/one%3Fwatch=1", status: 404, title: nowhere},
		"name of dots":            {path: "/runs/" + h.namespace + "/..%2f..", status: 404, title: nowhere},
		"namespace of others":     {path: "/runs/kube-system/one", status: 404, title: elsewhere},
		"another site as path":    {path: "//evil.example/%2e%2e", status: 307},
		"another site, backslash": {path: `/\evil.example/..`, status: 307},
		"file":                    {path: "/style.css%00.html", status: 404, title: nowhere},
		"embedded file":           {path: "/templates/layout.html", status: 404, title: nowhere},
	} {
		t.Run(name, func(t *testing.T) { h.expect(t, a) })
	}
}

// form is what maria's browser would send to approve a run, with changes: a value of "-" leaves a field out.
func (h *target) form(user, name string, changes ...string) string {
	h.t.Helper()
	_, _, page := h.attack(&attack{path: h.path(name), headers: []string{"X-Forwarded-User: " + user}})
	root, err := html.Parse(strings.NewReader(page))
	must(h.t, err)
	fields := (&answer{t: h.t, root: root}).form(h.path(name, "approve"))
	if fields == nil {
		h.t.Fatalf("no form for %s:\n%s", user, page)
	}
	for i := 0; i < len(changes); i += 2 {
		if fields.Set(changes[i], changes[i+1]); changes[i+1] == "-" {
			fields.Del(changes[i])
		}
	}
	return fields.Encode()
}

func TestHostileForms(t *testing.T) {
	h, other := newTarget(t), newTarget(t)
	one := h.run("one", "club-oslo")
	h.run("two", "club-rome")
	other.run("one", "club-oslo")
	approve, good := h.path("one", "approve"), h.form("maria", "one")
	fields, err := url.ParseQuery(good)
	must(t, err)
	post := func(a attack) *attack {
		if a.method = http.MethodPost; a.path == "" {
			a.path = approve
		}
		if a.body == "" {
			a.body = good
		}
		return &a
	}
	foreign, err := url.ParseQuery(other.form("maria", "one"))
	must(t, err)
	h.bind("vera", "groupgate-prune-approver")
	forged := []byte(fields.Get("csrf"))
	forged[3] ^= 1
	large := strings.Repeat("a", maxBody)
	for name, a := range map[string]*attack{
		// Other sites
		"origin of another site": post(attack{
			headers: []string{"Origin: https://evil.example"},
			status:  403, title: otherSite,
		}),
		"origin null": post(attack{headers: []string{"Origin: null"}, status: 403, title: otherSite}),
		"origin without TLS": post(attack{
			headers: []string{"Origin: http://page.example"},
			status:  403, title: otherSite,
		}),
		"two origins": post(attack{
			headers: []string{"Origin: again https://evil.example"},
			status:  403, title: otherSite,
		}),
		"cross-site": post(attack{
			headers: []string{"Sec-Fetch-Site: cross-site", "Origin:"},
			status:  403, title: otherSite,
		}),
		"same site, other origin": post(attack{
			headers: []string{"Sec-Fetch-Site: same-site"},
			status:  403, title: otherSite,
		}),
		"another host": post(attack{
			headers: []string{"Host: evil.example", "Origin: http://evil.example"},
			status:  421, title: notHere,
		}),
		"form of no known browser": post(attack{
			headers: []string{"Origin:"}, body: h.form("maria", "one", "csrf", "-"),
			status: 403, title: otherForm,
		}),

		// Tokens
		"token empty": post(attack{
			body:   h.form("maria", "one", "csrf", ""),
			status: 403, title: otherForm,
		}),
		"token forged": post(attack{
			body:   h.form("maria", "one", "csrf", string(forged)),
			status: 403, title: otherForm,
		}),
		"token of another user": post(attack{body: h.form("vera", "one"), status: 403, title: otherForm}),
		"token of another process": post(attack{
			body:   h.form("maria", "one", "csrf", foreign.Get("csrf")),
			status: 403, title: otherForm,
		}),
		"token twice": post(attack{
			body:   good + "&csrf=" + fields.Get("csrf"),
			status: 400, title: notText,
		}),
		"token in the address": post(attack{
			path: approve + "?csrf=" + fields.Get("csrf"), body: h.form("maria", "one", "csrf", "-"),
			status: 403, title: otherForm,
		}),

		// Bodies
		"plain text": post(attack{headers: []string{"Content-Type: text/plain"}, status: 415, title: noForm}),
		"JSON": post(attack{
			headers: []string{"Content-Type: application/json"}, body: `{"uid": "x"}`,
			status: 415, title: noForm,
		}),
		"multipart": post(attack{
			headers: []string{"Content-Type: multipart/form-data; boundary=x"},
			status:  415, title: noForm,
		}),
		"no type": post(attack{headers: []string{"Content-Type:"}, status: 415, title: noForm}),
		"two types": post(attack{
			headers: []string{"Content-Type: again text/plain"},
			status:  415, title: noForm,
		}),
		"another charset": post(attack{
			headers: []string{"Content-Type: application/x-www-form-urlencoded; charset=utf-16"},
			status:  415, title: noForm,
		}),
		"large": post(attack{
			body:   good + "&reason=" + large,
			status: 413, title: "The form is too large.",
		}),
		"large in chunks": post(attack{
			headers: []string{"Content-Length:", "Transfer-Encoding: chunked"},
			body:    fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(large)+9, "reason=aa"+large),
			status:  413, title: "The form is too large.",
		}),
		"two lengths":       post(attack{headers: []string{"Content-Length: again 1"}, status: 400}),
		"coding of no kind": post(attack{headers: []string{"Transfer-Encoding: gzip"}, status: 501}),
		"broken escape":     post(attack{body: good + "&reason=%zz", status: 400, title: notText}),
		"broken text":       post(attack{body: good[:len(good)-1] + "&x=%ff", status: 400, title: notText}),
		"NUL":               post(attack{body: good + "&x=%00", status: 400, title: notText}),
		"many fields":       post(attack{body: good + "&a1=&a2=" + manyFields(), status: 400, title: notText}),
		"empty":             post(attack{body: "x", status: 403, title: otherForm}),

		// What is decided
		"no UID": post(attack{
			body:   h.form("maria", "one", "uid", "-"),
			status: 400, title: "The form does not say which run it is about.",
		}),
		"two UIDs": post(attack{body: good + "&uid=x", status: 400, title: notText}),
		"no version": post(attack{
			body:   h.form("maria", "one", "resourceVersion", "-"),
			status: 400, title: "The form does not say which run it is about.",
		}),
		"UID of another run": post(attack{body: h.form("maria", "two"), status: 409}),
		"version of before":  post(attack{body: h.form("maria", "one", "resourceVersion", "1"), status: 409}),
		"version zero":       post(attack{body: h.form("maria", "one", "resourceVersion", "0"), status: 409}),
		"version that is none": post(attack{
			body:   h.form("maria", "one", "resourceVersion", "1\x1b"),
			status: 409,
		}),
		"reason turned around": post(attack{body: h.form("maria", "one", "reason", "a\u202eb"), status: 422}),
		"reason of two lines":  post(attack{body: h.form("maria", "one", "reason", "a\nb"), status: 422}),
		"long reason": post(attack{
			body:   h.form("maria", "one", "reason", strings.Repeat("a", 257)),
			status: 422,
		}),
		"verb of no kind":          post(attack{path: h.path("one", "delete"), status: 404, title: nowhere}),
		"verb in capitals":         post(attack{path: h.path("one", "Approve"), status: 404, title: nowhere}),
		"verb with a slash":        post(attack{path: h.path("one", "approve%2F"), status: 404, title: nowhere}),
		"form to a list":           post(attack{path: "/waiting", status: 405, title: notSo}),
		"run of another namespace": post(attack{path: other.path("one", "approve"), status: 404, title: elsewhere}),
		"run that is not there": post(attack{
			path:   h.path("none", "approve"),
			status: 404, title: "There is no such thing any more.",
		}),
		"undo of what was not done": post(attack{path: h.path("one", "undo"), status: 422}),
		"impersonation in a request": post(attack{
			headers: []string{"X-Forwarded-User: nobody", "Impersonate-User: maria"},
			status:  403, title: otherForm,
		}),
	} {
		t.Run(name, func(t *testing.T) { h.expect(t, a) })
	}
	if got := h.stored("one"); got.ResourceVersion != one.ResourceVersion {
		t.Errorf("the run was written: %+v", got.Spec)
	}

	ahead := h.ahead.Swap(int64(tokenLife + time.Hour))
	h.expect(t, post(attack{status: 403, title: otherForm}))
	h.ahead.Store(ahead)
	h.expect(t, post(attack{status: 303}))
	if got := h.stored("one"); got.Spec.Approval != v1alpha1.ApprovalApproved {
		t.Errorf("a form that is not hostile had no effect: %+v", got.Spec)
	}
	h.expect(t, post(attack{status: 409}))
}

func manyFields() string {
	var fields strings.Builder
	for i := range maxFields {
		fmt.Fprintf(&fields, "&b%d=", i)
	}
	return fields.String()
}
