package emulator_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// The ways by which accounts become members that no callback has asked about.

func TestMembersNamedAtCreationAreReportedAfterwards(t *testing.T) {
	w := newWorld(t)
	w.backend.willSay(func(rw http.ResponseWriter, r *http.Request) {
		answer := `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`
		if r.URL.Query().Get("CallbackCommand") == string(callback.CommandBeforeInviteJoin) {
			answer = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`
		}
		says(answer)(rw, r)
	})
	_, err := w.Call(t.Context(), "create_group", map[string]any{
		"GroupId": "team", "Type": "Public", "Name": "the team", "Owner_Account": "alice",
		"MemberList": []map[string]string{
			{"Member_Account": "bob", "Role": "Admin"}, {"Member_Account": "mallory"},
		},
		"AppDefinedData": []map[string]string{{"Key": "Colour", "Value": "red"}},
	})
	w.must(err)
	w.must(w.Settle(t.Context(), time.Minute))
	sent := w.backend.all()
	want := `{"CallbackCommand":"Group.CallbackAfterCreateGroup","GroupId":"team","Type":"Public",` +
		`"Operator_Account":"admin","Owner_Account":"alice","Name":"the team",` +
		`"MemberList":[{"Member_Account":"alice"},{"Member_Account":"bob"},{"Member_Account":"mallory"}],` +
		`"UserDefinedDataList":[{"Key":"Colour","Value":"red"}],"EventTime":1793880000000}`
	if len(sent) != 2 || sent[1].Body != want {
		t.Errorf("callbacks %+v\nwant in the end %s", sent, want)
	}
	members, err := w.Members(t.Context(), "team")
	w.must(err)
	if len(members) != 3 || members[1].Role != "Admin" || members[2].Role != "Member" {
		t.Errorf("members %+v", members)
	}
	if _, err := w.Call(t.Context(), "create_group", map[string]any{
		"Type": "Public", "Name": "n", "MemberList": []map[string]string{{"Member_Account": "bob", "Role": "King"}},
	}); err == nil {
		t.Error("an unknown role was accepted")
	}
}

func TestNewMembersAreReportedWithTheWayTheyJoined(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Public", Owner: "alice", ApplyJoinOption: "FreeAccess"})
	_, err := w.Apply(t.Context(), "g", "jared")
	w.must(err)
	_, err = w.Call(t.Context(), "add_group_member", map[string]any{"GroupId": "g", "Silence": 1,
		"MemberList": []map[string]string{{"Member_Account": "mallory"}, {"Member_Account": "eve"}}})
	w.must(err)
	w.must(w.Settle(t.Context(), time.Minute))
	var got []string
	for _, r := range w.backend.all() {
		if r.Command == string(callback.CommandAfterJoin) {
			got = append(got, r.Query.Get("OptPlatform")+" "+r.Body)
		}
	}
	const head = `{"CallbackCommand":"Group.CallbackAfterNewMemberJoin","GroupId":"g","Type":"Public",`
	same(t, "callbacks", []string{
		`iOS ` + head + `"JoinType":"Apply","Operator_Account":"jared",` +
			`"NewMemberList":[{"Member_Account":"jared"}],"EventTime":1793880000000}`,
		`RESTAPI ` + head + `"JoinType":"Invited","Operator_Account":"admin",` +
			`"NewMemberList":[{"Member_Account":"mallory"},{"Member_Account":"eve"}],"EventTime":1793880000000}`,
	}, got)
}

func TestAFaultOfCallbacksAboutOneAccount(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting"})
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`))
	for _, command := range []callback.Command{callback.CommandBeforeApplyJoin, callback.CommandAfterJoin} {
		w.must(errOf(w.AddFault(t.Context(), fault{
			Callback: string(command), Kind: emulator.FaultDrop, Accounts: []string{"mallory"},
		})))
	}
	for account, want := range map[string]string{
		"eve": emulator.ResultRefused, "mallory": emulator.ResultJoined, "jared": emulator.ResultRefused,
	} {
		if got, err := w.Apply(t.Context(), "g", account); err != nil || got.Result != want {
			t.Errorf("%s: %+v, %v, want %s", account, got, err, want)
		}
	}
	same(t, "callbacks that arrived", []string{"BeforeApplyJoinGroup", "BeforeApplyJoinGroup"}, w.commands())
}

// A backend with as many callbacks awaiting an answer as it can hold admits everybody else, and loses what it has to
// report.
func TestBackendFailsOpenUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.group(groupSpec{ID: "g", Type: "Meeting"})
	_, err := w.Configure(t.Context(), func(s *emulator.Settings) { s.CallbackCapacity = 1 })
	w.must(err)
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	w.backend.willSay(func(rw http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
		says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`)(rw, r)
	})
	var first emulator.Outcome
	var wait sync.WaitGroup
	wait.Go(func() { first, _ = w.Apply(context.WithoutCancel(t.Context()), "g", "eve") })
	<-asked
	second, err := w.Apply(t.Context(), "g", "mallory")
	w.must(err)
	for deadline := time.Now().Add(10 * time.Second); ; { // the capacity is taken until eve is answered
		records, err := w.Callbacks(t.Context(), filter{Outcome: emulator.OutcomeFailed})
		w.must(err)
		if len(records) == 1 && records[0].Command == string(callback.CommandAfterJoin) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the report of the join was not lost: %+v", records)
		}
	}
	close(answer)
	wait.Wait()
	if first.Result != emulator.ResultRefused || second.Result != emulator.ResultJoined {
		t.Errorf("the account asked about: %+v, the one beyond the capacity: %+v", first, second)
	}
	w.backend.willSay(says(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}`))
	if third, err := w.Apply(t.Context(), "g", "oscar"); err != nil || third.Result != emulator.ResultRefused {
		t.Errorf("after the load: %+v, %v", third, err)
	}
}
