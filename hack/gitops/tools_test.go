package gitops

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/internal/lab"
)

// shipped reads a file of config/gitops.
func shipped(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{lab.Root(), "config", "gitops"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// argo runs health.lua as Argo CD does (v2.14, util/lua): the object is the global obj, the result is the returned
// table. Of the standard libraries only base, package, table, and parts of os are there, which the script does without.
// Objects that are being deleted do not reach the script (gitops-engine, pkg/health).
func argo(script string, object map[string]any) (status, message string, err error) {
	if metadata, ok := object["metadata"].(map[string]any); ok && metadata["deletionTimestamp"] != nil {
		return "Progressing", "Pending deletion", nil
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", "", err
		}
	}
	state.SetGlobal("obj", luaValue(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the script returned %s, not a table", state.Get(-1).Type())
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String(), nil
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		table := state.NewTable()
		for _, item := range v {
			table.Append(luaValue(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range v {
			table.RawSetString(key, luaValue(state, item))
		}
		return table
	}
	return lua.LNil
}

// expressions are an entry of healthCheckExprs.
type expressions struct{ APIVersion, Kind, InProgress, Failed, Current string }

// fluxChecks are those of config/gitops/flux by kind.
func fluxChecks(t *testing.T) map[string]expressions {
	t.Helper()
	var kustomization struct {
		Spec struct {
			Wait             bool
			HealthCheckExprs []expressions
		}
	}
	if err := yaml.Unmarshal([]byte(shipped(t, "flux", "chat.yaml")), &kustomization); err != nil {
		t.Fatal(err)
	}
	if !kustomization.Spec.Wait {
		t.Error("wait is not true: Flux evaluates no expression")
	}
	checks := map[string]expressions{}
	for _, e := range kustomization.Spec.HealthCheckExprs {
		if e.APIVersion != "groupgate.io/v1alpha1" {
			t.Errorf("expressions for %s", e.APIVersion)
		}
		checks[e.Kind] = e
	}
	return checks
}

// flux evaluates the expressions as Flux does (v2.5, runtime/cel of fluxcd/pkg): each is parsed but not checked. The
// first true one of inProgress, failed and current is the status, and InProgress if none is. After an error Flux goes
// on waiting.
func flux(e expressions, object map[string]any) (string, error) {
	env, err := cel.NewEnv(cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true), cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(),
		ext.Strings(), ext.Sets(), ext.Encoders())
	if err != nil {
		return "", err
	}
	for _, check := range []struct{ expression, status string }{
		{e.InProgress, "InProgress"}, {e.Failed, "Failed"}, {e.Current, "Current"},
	} {
		parsed, issues := env.Parse(check.expression)
		if issues.Err() != nil {
			return "", issues.Err()
		}
		program, err := env.Program(parsed)
		if err != nil {
			return "", err
		}
		result, _, err := program.Eval(object)
		if err != nil {
			return "", err
		}
		if result.Value() == true {
			return check.status, nil
		}
	}
	return "InProgress", nil
}
