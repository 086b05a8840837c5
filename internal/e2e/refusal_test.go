package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// conditions are those of a resource by type, as "status/reason", and their messages.
func (w *world) conditions(resource string) (values, messages map[string]string) {
	w.t.Helper()
	var object struct {
		Status struct {
			Conditions []struct{ Type, Status, Reason, Message string } `json:"conditions"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(w.kubectl("get", resource, "-o", "json")), &object); err != nil {
		w.t.Fatal(err)
	}
	values, messages = map[string]string{}, map[string]string{}
	for _, c := range object.Status.Conditions {
		values[c.Type], messages[c.Type] = c.Status+"/"+c.Reason, c.Message
	}
	return values, messages
}

// prune creates a run of the group club by hand.
func (w *world) prune(name string) {
	w.t.Helper()
	w.apply(fmt.Sprintf(`
apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: %s}
spec: {appRef: {name: prod}, groupID: club, trigger: Manual}
`, name))
}

// runs are the names of the PruneRuns.
func (w *world) runs() []string {
	w.t.Helper()
	return strings.Fields(w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].metadata.name}"))
}

// A permanent refusal of the vendor ends the run at the first try, with a message that names the cause, and callbacks
// create no other run during the cooldown. Once the cause is repaired, the next run prunes.
func TestWhatTheVendorRefusesEndsTheRunInOneTry(t *testing.T) {
	t.Parallel()
	key := func(value string) func(w *world) {
		return func(w *world) {
			patch := fmt.Sprintf(`{"stringData":{"secretKey":%q}}`, value)
			w.kubectl("patch", "secret", "prod-im", "--type=merge", "-p", patch)
		}
	}
	admins := func(names ...string) func(w *world) {
		return func(w *world) {
			_, err := w.im.Configure(w.t.Context(), func(s *emulator.Settings) { s.AdminAccounts = names })
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	tests := map[string]struct {
		spoil, repair func(w *world)
		failed        string // the reason
		says          []string
		reachable     string
	}{
		"wrong key": {
			spoil: key("another-key"), repair: key(lab.SecretKey),
			failed: "VendorRefused", reachable: "False/Unauthorized",
			says: []string{"get_group_info: code 70", "UserSig"},
		},
		"revoked admin": {
			spoil: admins("another-admin"), repair: admins("administrator"),
			failed: "VendorRefused", reachable: "False/Unauthorized",
			says: []string{"get_group_info: code 60010", `"administrator" is not an admin of the app`},
		},
		"disbanded": {
			spoil: func(w *world) {
				if err := w.im.DestroyGroup(w.t.Context(), "club"); err != nil {
					w.t.Fatal(err)
				}
			},
			repair: func(w *world) { fillClub(w.t, w, 20, 10) },
			failed: "GroupNotFound", says: []string{"get_group_info: code 10010", "group"}, reachable: "True/Reachable",
		},
		"AVChatRoom": {
			spoil: func(w *world) {
				if err := w.im.DestroyGroup(w.t.Context(), "club"); err != nil {
					w.t.Fatal(err)
				}
				room := emulator.GroupSpec{ID: "club", Type: "AVChatRoom", Owner: "olivia"}
				if _, err := w.im.CreateGroup(w.t.Context(), room); err != nil {
					w.t.Fatal(err)
				}
			},
			failed: "UnsupportedGroupType", reachable: "True/Reachable",
			says: []string{`"AVChatRoom"`, "cannot be listed or removed"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.app()
			w.policy("prunes", `
groups: [{value: club}]
whenFull: {prune: {mode: Enforce, inactiveFor: 30d, freeSeats: 5, notification: Silent}}
`)
			w.policy("gates", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}")
			fillClub(t, w, 20, 10)
			tc.spoil(w)
			r := w.startReady(nil)
			eventually(t, "the manager to lead", r.leads)
			w.ready("imapp/prod", "grouppolicy/prunes", "grouppolicy/gates")

			r.reportFull("club")
			w.kubectl("wait", "--for=condition=Failed", "--timeout="+patience.String(), "prunerun", "--all")
			runs := w.runs()
			if len(runs) != 1 {
				t.Fatalf("runs %v, want one", runs)
			}
			values, messages := w.conditions("prunerun/" + runs[0])
			want := map[string]string{
				"Planned": "False/" + tc.failed, "Complete": "False/" + tc.failed, "Failed": "True/" + tc.failed,
			}
			if diff := cmp.Diff(want, values); diff != "" {
				t.Errorf("conditions (-want,+got)\n%s", diff)
			}
			for _, words := range tc.says {
				if !strings.Contains(messages["Failed"], words) {
					t.Errorf("message %q does not say %q", messages["Failed"], words)
				}
			}
			if strings.Contains(messages["Failed"], "another-key") {
				t.Errorf("message %q holds the key", messages["Failed"])
			}

			// The vendor sends a callback for every application to the full group.
			callbacks := 0
			throughout(t, 5*time.Second, func() error {
				callbacks++
				r.reportFull("club")
				return nil
			})
			eventually(t, "the callbacks to be processed",
				func() bool { return r.metric("groupgate_prune_intake_pending") == 0 })
			calls, err := w.im.Calls(t.Context(), emulator.RecordFilter{})
			if err != nil {
				t.Fatal(err)
			}
			if got := w.runs(); len(calls) != 1 || len(got) != 1 {
				t.Errorf("%d callbacks: runs %v, calls of the vendor %+v, want one of each", callbacks, got, calls)
			}

			eventually(t, "VendorReachable to be "+tc.reachable, func() bool {
				values, _ := w.conditions("imapp/prod")
				return values["VendorReachable"] == tc.reachable
			})
			_, messages = w.conditions("imapp/prod")
			message, want0 := messages["VendorReachable"], tc.says[0]
			if strings.HasPrefix(tc.reachable, "False") && !strings.Contains(message, want0) {
				t.Errorf("VendorReachable says %q, want %q in it", message, want0)
			}
			for _, resource := range []string{"imapp/prod", "grouppolicy/prunes", "grouppolicy/gates"} {
				if values, messages := w.conditions(resource); !strings.HasPrefix(values["Ready"], "True/") {
					t.Errorf("%s is Ready=%s: %s", resource, values["Ready"], messages["Ready"])
				}
			}
			for account, code := range map[string]int{"jared": 0, "mallory": 1} {
				if got := r.apply("club", account); got.ErrorCode != code {
					t.Errorf("%s: %+v, want code %d", account, got, code)
				}
			}

			if tc.repair == nil {
				return
			}
			tc.repair(w)
			w.prune("once-more")
			w.kubectl("wait", "--for=condition=Complete", "--timeout="+patience.String(), "prunerun/once-more")
			if got := groupSize(t, w, "club"); got != 15 {
				t.Errorf("%d members after the run that was created by hand, want 15", got)
			}
			eventually(t, "the vendor to be reachable again", func() bool {
				values, _ := w.conditions("imapp/prod")
				return values["VendorReachable"] == "True/Reachable"
			})
		})
	}
}
