package gatetest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }

// crew admits those accounts into the group crew.
func crew(namespace string, accounts ...string) *v1alpha1.GroupPolicy {
	return &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "crew"},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: "prod"},
			Groups: []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherExact, Value: "crew"}},
			Join: &v1alpha1.JoinSection{
				Allow:  &v1alpha1.AccountSelector{Accounts: accounts},
				Reject: &v1alpha1.Rejection{Code: new(int32(10110)), Message: "Crew only"},
			},
		},
	}
}

func admits(t *testing.T, gate *Gate, account string) bool {
	t.Helper()
	outcome, err := gate.Emulator.Apply(t.Context(), "crew", account)
	labtest.Must(t, err)
	switch outcome.Result {
	case Joined:
		return true
	case Refused:
		if outcome.Code != 10110 || outcome.Info != "Crew only" {
			t.Errorf("refused with %d %q", outcome.Code, outcome.Info)
		}
		return false
	default:
		t.Fatalf("%+v", outcome)
		return false
	}
}

// Two Gates run side by side, each with the app of the same id and with policies of its own.
func TestGatesDoNotShareAnything(t *testing.T) {
	var gates [2]*Gate
	for i, account := range []string{"ann", "bob"} {
		namespace := labtest.NewNamespace(t)
		gates[i] = Start(t, labtest.APIServer, InNamespaces(namespace))
		for _, object := range append(App{}.Objects(namespace, "prod"), crew(namespace, account)) {
			labtest.Must(t, gates[i].Client.Create(t.Context(), object))
		}
		gates[i].AwaitProgrammed(t, crew(namespace))
		labtest.Must(t, gates[i].Emulator.CreateGroup(t.Context(), Group{ID: "crew"}))
	}
	for i, want := range []map[string]bool{{"ann": true, "bob": false}, {"ann": false, "bob": true}} {
		for account, want := range want {
			if got := admits(t, gates[i], account); got != want {
				t.Errorf("gate %d admits %s: %t, want %t", i, account, got, want)
			}
		}
	}
}

// A Gate that is stopped leaves nothing behind that the next one meets: neither ports, nor names, nor goroutines that
// still write.
func TestGateStartsAgainAfterItsStop(t *testing.T) {
	namespace, accounts := labtest.NewNamespace(t), []string{"ann", "bob", "eve"}
	for round, account := range accounts {
		t.Run(account, func(t *testing.T) {
			gate := Start(t, labtest.APIServer, InNamespaces(namespace))
			policy := crew(namespace)
			if round == 0 {
				for _, object := range append(App{}.Objects(namespace, "prod"), crew(namespace, account)) {
					labtest.Must(t, gate.Client.Create(t.Context(), object))
				}
			} else {
				gate.AwaitProgrammed(t, policy)
				policy.Spec.Join.Allow.Accounts = []string{account}
				labtest.Must(t, gate.Client.Update(t.Context(), policy))
			}
			gate.AwaitProgrammed(t, policy)
			labtest.Must(t, gate.Emulator.CreateGroup(t.Context(), Group{ID: "crew"}))
			for _, other := range accounts {
				if got := admits(t, gate, other); got != (other == account) {
					t.Errorf("admits %s: %t", other, got)
				}
			}
			t.Cleanup(func() { // runs before the stop
				resp, err := http.Post(gate.CallbackURL, "application/json", http.NoBody)
				labtest.Must(t, err)
				labtest.Must(t, resp.Body.Close())
			})
		})
	}
}

// The whole of Groupgate runs: a group that is full is pruned.
func TestFullGroupIsPruned(t *testing.T) {
	namespace := labtest.NewNamespace(t)
	app := App{SDKAppID: 1400000123, SecretKey: "key", CallbackToken: "token"}
	gate := Start(t, labtest.APIServer, InNamespaces(namespace), WithApps(app))
	policy := crew(namespace, "new")
	policy.Spec.WhenFull = &v1alpha1.WhenFullSection{Prune: &v1alpha1.PruneRule{
		Mode: v1alpha1.PruneModeEnforce, InactiveFor: "30d", FreeSeats: labtest.Seats(1),
	}}
	for _, object := range append(app.Objects(namespace, "prod"), policy) {
		labtest.Must(t, gate.Client.Create(t.Context(), object))
	}
	gate.AwaitProgrammed(t, policy)
	ctx := t.Context()
	labtest.Must(t, gate.Emulator.CreateGroup(ctx, Group{
		ID: "crew", Owner: "boss", MaxMembers: 3,
		Members: []Members{
			{Accounts: []string{"idle"}, InactiveFor: 400 * 24 * time.Hour},
			{Accounts: []string{"busy"}, InactiveFor: 24 * time.Hour},
		},
	}))
	outcome, err := gate.Emulator.Apply(ctx, "crew", "new")
	if labtest.Must(t, err); outcome.Result != Full {
		t.Fatalf("%+v, want %s", outcome, Full)
	}
	labtest.Eventually(t, func() error {
		members, err := gate.Emulator.Members(ctx, "crew")
		if diff := cmp.Diff([]string{"boss", "busy"}, members); diff != "" {
			return fmt.Errorf("members (-want,+got)\n%s%w", diff, err)
		}
		return err
	})
	outcome, err = gate.Emulator.Apply(ctx, "crew", "new")
	if labtest.Must(t, err); outcome.Result != Joined {
		t.Errorf("%+v, want %s", outcome, Joined)
	}
}

func TestMissingCRDsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		served string
		want   string
	}{
		"all":  {"", "no imapps, accountlists, grouppolicies, pruneruns of groupgate.io/v1alpha1"},
		"some": {`{"name":"imapps"},{"name":"accountlists"}`, "no grouppolicies, pruneruns of groupgate.io/v1alpha1"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tc.served == "" || r.URL.Path != "/apis/groupgate.io/v1alpha1" {
					http.NotFound(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"kind":"APIResourceList","apiVersion":"v1","resources":[%s]}`, tc.served)
			}))
			t.Cleanup(server.Close)
			_, _, err := start(t.Context(), &rest.Config{Host: server.URL}, options{log: logr.Discard()})
			for _, want := range []string{tc.want, "gatetest.CRDs()"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
		})
	}
}

func TestCRDsAreThoseOfTheKinds(t *testing.T) {
	crds, err := readCRDs()
	labtest.Must(t, err)
	var got []string
	for _, definition := range crds {
		got = append(got, definition.Spec.Names.Plural)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"accountlists", "grouppolicies", "imapps", "pruneruns"}, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

// Other modules cannot name what is in internal packages: neither signatures nor exported fields may mention it, also
// not through an identifier of this package that is not exported.
func TestNothingInternalIsExported(t *testing.T) {
	names, err := fs.Glob(os.DirFS("."), "*.go")
	labtest.Must(t, err)
	checked := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		labtest.Must(t, err)
		internal := map[string]bool{}
		for _, spec := range file.Imports {
			if imported := strings.Trim(spec.Path.Value, `"`); strings.Contains(imported, "/internal/") {
				internal[path.Base(imported)] = true
			}
		}
		for _, declared := range file.Decls {
			for what, signature := range exported(declared) {
				checked++
				ast.Inspect(signature, func(n ast.Node) bool {
					if selector, ok := n.(*ast.SelectorExpr); ok {
						if of, ok := selector.X.(*ast.Ident); ok && internal[of.Name] {
							t.Errorf("%s: %s mentions %s.%s", name, what, of.Name, selector.Sel.Name)
						}
					}
					return true
				})
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d identifiers checked: the package is not read", checked)
	}
}

// exported are the types that the exported identifiers of a declaration show.
func exported(declared ast.Decl) map[string]ast.Node {
	shown := map[string]ast.Node{}
	switch declared := declared.(type) {
	case *ast.FuncDecl:
		if declared.Name.IsExported() {
			shown[declared.Name.Name] = declared.Type
		}
	case *ast.GenDecl:
		for _, spec := range declared.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				fields, isStruct := spec.Type.(*ast.StructType)
				switch {
				case !spec.Name.IsExported():
				case !isStruct:
					shown[spec.Name.Name] = spec.Type
				default:
					for _, field := range fields.Fields.List {
						if len(field.Names) == 0 {
							shown[spec.Name.Name] = field.Type
						}
						for _, name := range field.Names {
							if name.IsExported() {
								shown[spec.Name.Name+"."+name.Name] = field.Type
							}
						}
					}
				}
			case *ast.ValueSpec:
				if spec.Type != nil && spec.Names[0].IsExported() {
					shown[spec.Names[0].Name] = spec.Type
				}
			}
		}
	}
	return shown
}
