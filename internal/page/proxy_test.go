package page

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// apiServer refuses or allows to impersonate, and counts the requests.
type apiServer struct {
	refusal  *apierrors.StatusError
	requests []*http.Request
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests = append(s.requests, r)
	w.Header().Set("Content-Type", "application/json")
	if s.refusal != nil && r.Header.Get("Impersonate-User") != "" {
		w.WriteHeader(http.StatusForbidden)
		status := s.refusal.Status()
		status.Kind, status.APIVersion = "Status", "v1"
		_ = json.NewEncoder(w).Encode(status)
		return
	}
	if strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList") {
		_, _ = io.WriteString(w, `{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": []}`)
		return
	}
	_, _ = io.WriteString(w, `{"kind": "PruneRunList", "apiVersion": "groupgate.io/v1alpha1", "items": []}`)
}

// proxied is an identity behind a proxy, on the API server, at a time that the test sets.
func proxied(t *testing.T, s *apiServer, now *time.Time) *Proxy {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	mapper := apimeta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("PruneRun"), apimeta.RESTScopeNamespace)
	clients, err := NewClients(&rest.Config{Host: server.URL, QPS: -1}, scheme, mapper)
	if err != nil {
		t.Fatal(err)
	}
	return &Proxy{
		Clients: clients, Namespace: "chat", UserHeader: "X-Forwarded-User", GroupsHeader: "X-Forwarded-Groups",
		Now: func() time.Time { return *now },
	}
}

// sends is a request with headers.
func sends(header http.Header) *http.Request { return &http.Request{Header: header} }

func TestCallsImpersonateTheUserOfTheProxy(t *testing.T) {
	s, now := &apiServer{}, time.Now()
	proxy := proxied(t, s, &now)
	proxy.UserPrefix, proxy.GroupsPrefix = "oidc:", "idp:"
	viewer, err := proxy.Viewer(sends(http.Header{
		"X-Forwarded-User": {"maria"}, "X-Forwarded-Groups": {"managers, ops"},
		"Impersonate-User": {"admin"}, "Authorization": {"Bearer mine"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if viewer.Name != "oidc:maria" || viewer.ReadOnly != "" {
		t.Errorf("%+v", viewer)
	}
	got := s.requests[0].Header
	if diff := cmp.Diff([]string{"oidc:maria"}, got["Impersonate-User"]); diff != "" {
		t.Errorf("user (-want,+got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"idp:managers", "idp:ops"}, got["Impersonate-Group"]); diff != "" {
		t.Errorf("groups (-want,+got)\n%s", diff)
	}
	if got.Get("Authorization") != "" {
		t.Error("a header of the client went to the API server")
	}
}

func TestOneRequestAMinuteFindsOutWhetherAViewerCanBeImpersonated(t *testing.T) {
	resource := schema.GroupResource{Resource: "users"}
	s, now := &apiServer{refusal: apierrors.NewForbidden(resource, "maria", nil)}, time.Now()
	proxy := proxied(t, s, &now)
	maria := sends(http.Header{"X-Forwarded-User": {"maria"}})
	for range 3 {
		viewer, err := proxy.Viewer(maria)
		if err != nil || viewer.ReadOnly == "" {
			t.Fatalf("viewer %+v, error %v", viewer, err)
		}
	}
	if len(s.requests) != 1 {
		t.Errorf("%d requests, want 1", len(s.requests))
	}
	s.refusal, now = nil, now.Add(viewerLife)
	if viewer, err := proxy.Viewer(maria); err != nil || viewer.ReadOnly != "" {
		t.Errorf("after the upgrade of the cluster: viewer %+v, error %v", viewer, err)
	}
}

func TestReadOnlyViewerCannotWrite(t *testing.T) {
	resource := schema.GroupResource{Resource: "users"}
	s, now := &apiServer{refusal: apierrors.NewForbidden(resource, "maria", nil)}, time.Now()
	viewer, err := proxied(t, s, &now).Viewer(sends(http.Header{"X-Forwarded-User": {"maria"}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := viewer.Client.Create(t.Context(), &v1alpha1.PruneRun{}); err == nil || len(s.requests) != 1 {
		t.Errorf("error %v, requests %v", err, s.requests)
	}
	if err := viewer.Client.List(t.Context(), &v1alpha1.PruneRunList{}); err != nil {
		t.Error(err)
	}
	if got := s.requests[len(s.requests)-1].Header.Get("Impersonate-User"); got != "" {
		t.Errorf("reads as %q", got)
	}
}

// A viewer whom the page may not impersonate must not read what the page itself may read.
func TestViewerWhomThePageMayNotImpersonateIsRefused(t *testing.T) {
	for name, resource := range map[string]schema.GroupResource{
		"the user":    {Group: "authentication.k8s.io", Resource: "users"},
		"a group":     {Group: "authentication.k8s.io", Resource: "groups"},
		"the request": {Group: "groupgate.io", Resource: "pruneruns"},
	} {
		refusal := apierrors.NewForbidden(resource, "", nil)
		refusal.ErrStatus.Message = `User "page" cannot impersonate-on:user-info:list resource "pruneruns"`
		s, now := &apiServer{refusal: refusal}, time.Now()
		viewer, err := proxied(t, s, &now).Viewer(sends(http.Header{"X-Forwarded-User": {"maria"}}))
		if p, _ := problemOf(err); viewer != nil || p.text != "The page may not act for you." {
			t.Errorf("%s: viewer %+v, error %v", name, viewer, err)
		}
	}
	resource := schema.GroupResource{Group: "groupgate.io", Resource: "pruneruns"}
	s, now := &apiServer{refusal: apierrors.NewForbidden(resource, "", nil)}, time.Now()
	if viewer, err := proxied(t, s, &now).Viewer(sends(http.Header{"X-Forwarded-User": {"maria"}})); err != nil ||
		viewer.ReadOnly != "" {
		t.Errorf("a viewer without rights: %+v, error %v", viewer, err)
	}
}

func TestFlagsOfHeadersAreChecked(t *testing.T) {
	for want, proxy := range map[string]*Proxy{
		`--user-header is "X_User"`:              {UserHeader: "X_User", GroupsHeader: "G"},
		`--groups-header is ""`:                  {UserHeader: "U"},
		"name the same header":                   {UserHeader: "x-user", GroupsHeader: "X-User"},
		`--user-prefix is "system:x"`:            {UserHeader: "U", GroupsHeader: "G", UserPrefix: "system:x"},
		`--groups-prefix is "system:": names th`: {UserHeader: "U", GroupsHeader: "G", GroupsPrefix: "system:"},
	} {
		if err := proxy.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestSocketIsForTheGroupAndIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.sock")
	listener, err := ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("info %v, error %v", info, err)
	}
	_, err = ListenUnix(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("error %v", err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, error %v", entries, err)
	}
}

func TestSocketOfAnEndedProcessIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.sock")
	dead, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	listener, err := ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(t.Context(), file); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("error %v", err)
	}
}

// authority signs certificates.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.certificate, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true})
	return a
}

func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotAfter = big.NewInt(1), time.Now().Add(time.Hour)
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign
	parent, by := template, key
	if a.certificate != nil {
		parent, by = a.certificate, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate, key
}

// client is the certificate of a client.
func (a *authority) client(name string) tls.Certificate {
	certificate, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

func (a *authority) write(path, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func TestOnlyTheProxysCertificateIsAccepted(t *testing.T) {
	trusted, other, dir, now := newAuthority(t), newAuthority(t), t.TempDir(), time.Now()
	certificate, key := trusted.sign(&x509.Certificate{DNSNames: []string{"page"}})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := &MutualTLS{
		CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
		ClientCAFile: filepath.Join(dir, "ca.crt"), ClientName: "proxy",
		Now: func() time.Time { return now }, Log: logr.Discard(),
	}
	trusted.write(files.CertFile, "CERTIFICATE", certificate.Raw)
	trusted.write(files.KeyFile, "PRIVATE KEY", der)
	trusted.write(files.ClientCAFile, "CERTIFICATE", trusted.certificate.Raw)
	config, err := files.Config()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = config
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(trusted.certificate)
	admits := func(presented ...tls.Certificate) bool {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			RootCAs: roots, ServerName: "page", Certificates: presented,
		}}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil
	}
	if !admits(trusted.client("proxy")) {
		t.Error("the proxy is refused")
	}
	if admits() || admits(trusted.client("other")) || admits(other.client("proxy")) {
		t.Error("another client is admitted")
	}
	server2, key2 := trusted.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "proxy"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if admits(tls.Certificate{Certificate: [][]byte{server2.Raw}, PrivateKey: key2}) {
		t.Error("the certificate of a server is admitted")
	}
	other.write(files.ClientCAFile, "CERTIFICATE", other.certificate.Raw)
	now = now.Add(filesLife)
	if admits(trusted.client("proxy")) || !admits(other.client("proxy")) {
		t.Error("the authority that was put into the file is not the one that counts")
	}
	if err := os.Remove(files.ClientCAFile); err != nil {
		t.Fatal(err)
	}
	now = now.Add(filesLife)
	if !admits(other.client("proxy")) {
		t.Error("without the file, the authority of before does not count")
	}
}

func TestBoundedForgetsWhatWasNotUsed(t *testing.T) {
	b := bounded[int]{n: 10}
	for i := range 1000 {
		b.put("busy", 1)
		b.put(string(rune('a'+i)), i)
		if _, ok := b.get("busy"); !ok || len(b.young)+len(b.old) > 21 {
			t.Fatalf("after %d: %d are known", i, len(b.young)+len(b.old))
		}
	}
	if _, ok := b.get("a"); ok {
		t.Error("the first is still known")
	}
}

func TestEveryHeaderOfAFaultyProxyIsRefused(t *testing.T) {
	const user, groups = "X-Forwarded-User", "X-Forwarded-Groups"
	many := strings.TrimSuffix(strings.Repeat("g,", maxGroups+1), ",")
	for name, header := range map[string]http.Header{
		"none":                 {},
		"empty":                {user: {""}},
		"doubled":              {user: {"maria", "viktor"}},
		"doubled and equal":    {user: {"maria", "maria"}},
		"underscored":          {user: {"maria"}, "X_forwarded_user": {"viktor"}},
		"underscored alone":    {"X_Forwarded_User": {"viktor"}},
		"half underscored":     {user: {"maria"}, "X-Forwarded_user": {"viktor"}},
		"groups underscored":   {user: {"maria"}, "X_forwarded_groups": {"ops"}},
		"too long":             {user: {strings.Repeat("m", maxName+1)}},
		"control character":    {user: {"maria\x1b[2J"}},
		"bidi":                 {user: {"maria\u202eadmin"}},
		"zero width":           {user: {"mar\u200bia"}},
		"space that is none":   {user: {"maria\u00a0"}},
		"invalid UTF-8":        {user: {"mar\xffia"}},
		"groups doubled":       {user: {"maria"}, groups: {"a", "b"}},
		"group empty":          {user: {"maria"}, groups: {"a,,b"}},
		"group of spaces":      {user: {"maria"}, groups: {" "}},
		"group too long":       {user: {"maria"}, groups: {strings.Repeat("g", maxName+1)}},
		"too many groups":      {user: {"maria"}, groups: {many}},
		"group invisible":      {user: {"maria"}, groups: {"op\u200bs"}},
		"user of Kubernetes":   {user: {"system:admin"}},
		"group of Kubernetes":  {user: {"maria"}, groups: {"a,system:masters"}},
		"group behind a space": {user: {"maria"}, groups: {"a, system:masters"}},
		"prefix makes system":  {user: {"tem:admin"}},
	} {
		proxy := &Proxy{UserHeader: user, GroupsHeader: groups}
		if name == "prefix makes system" {
			proxy.UserPrefix = "sys"
		}
		who, of, err := proxy.identify(header)
		p, known := problemOf(err)
		if err == nil || !known || !slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden}, p.status) {
			t.Errorf("%s: user %q of %q, error %v", name, who, of, err)
		}
	}
	for name, header := range map[string]http.Header{
		"no groups":    {user: {"maria"}},
		"empty groups": {user: {"maria"}, groups: {""}},
		"of the world": {user: {"张伟@example.com"}},
	} {
		if who, _, err := (&Proxy{UserHeader: user, GroupsHeader: groups}).identify(header); err != nil ||
			who != header.Get(user) {
			t.Errorf("%s: user %q, error %v", name, who, err)
		}
	}
}

// quiet drops what a server says about refused connections.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
