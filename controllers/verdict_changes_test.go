package controllers

import (
	"net/http"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// changesOnly compares, looks at changed groups, and examines them.
func (l *leader) changesOnly() {
	l.t.Helper()
	l.changes.compare()
	for l.changes.lookInTerm(l.t.Context(), l.compiled()) == time.Nanosecond {
		continue
	}
	l.examineAll(l.strangers)
}

func TestMemberWhoIsTakenOffAListIsFoundByName(t *testing.T) {
	w := newWorld(t)
	w.room("a", "alice", "bob", "carol")
	w.room("b", "alice", "carol")
	w.Put("b", emulator.MemberSpec{Accounts: []string{"bob"}})
	w.room("c", "alice")
	for _, id := range []string{"a", "b", "c"} {
		w.evicting(id, exactly(id), "alice", "bob", "carol", "dave", "boss")
	}
	l := w.leader()
	l.changesOnly()
	w.list("alice", "carol", "boss")
	l.vendor.instead(nil)
	w.Forget()
	l.changesOnly()
	w.hasEvictions("a VerdictChange bob")
	w.Clock.Forward(testGrace)
	l.changesOnly()
	w.hasEvictions("a VerdictChange bob", "b VerdictChange bob")
	if w.Happened(labtest.NamedMembers) != 3 || w.Happened(labtest.ListMembers) != 0 ||
		w.Happened(labtest.GetGroup) != 1 {
		t.Errorf("calls: %v", w.Calls())
	}
}

func TestChangesThatNeedNoRun(t *testing.T) {
	tests := map[string]func(w *world, l *leader){
		"who was taken off is put back at once": func(w *world, l *leader) {
			w.list("alice")
			l.changes.compare()
			w.list("alice", "bob")
		},
		"only an admin is refused": func(w *world, _ *leader) { w.list("alice", "bob", "new") },
		"this replica is not the leader": func(w *world, l *leader) {
			w.endTerm(l.process)
			w.list("alice")
		},
		"a list is gone": func(w *world, _ *leader) {
			w.Remove(newList(w.Namespace, "members", nil), "members")
			w.Publish()
		},
	}
	for name, happens := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.room("lounge", "alice", "bob")
			w.evicting("lounge", exactly("lounge"), "alice", "bob", "boss")
			l := w.leader()
			l.changesOnly()
			happens(w, l)
			l.changesOnly()
			w.hasEvictions()
		})
	}
}

func TestSeveralEditsBeforeTheLookAreOne(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "alice", "bob", "carol")
	w.evicting("lounge", exactly("lounge"), "alice", "bob", "carol")
	l := w.leader()
	l.changesOnly()
	w.list("alice", "carol")
	l.changes.compare()
	w.list("alice")
	w.Forget()
	l.changesOnly()
	w.hasEvictions("lounge VerdictChange bob,carol")
	if w.Happened(labtest.NamedMembers) != 1 {
		t.Errorf("calls: %v", w.Calls())
	}
}

func TestListOfMembersIsReadWhereAccountsCannotBeNamed(t *testing.T) {
	w := newWorld(t)
	w.room("clean", "alice")
	w.room("odd", "alice", "mallory")
	l := w.leader()
	l.changesOnly()
	w.evicting("clean", exactly("clean"), "alice")
	w.evicting("odd", exactly("odd"), "alice")
	l.changesOnly()
	w.hasEvictions("odd VerdictChange")
}

func TestChangedGroupsAreLookedAtOnceTheVendorAnswers(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "alice", "bob")
	w.evicting("lounge", exactly("lounge"), "alice", "bob")
	l := w.leader()
	l.changesOnly()
	l.vendor.instead(func(call sweepCall, _ *http.Request) string {
		if call.API == labtest.NamedMembers {
			return refusal(10002)
		}
		return ""
	})
	w.list("alice")
	l.changesOnly()
	w.hasEvictions()
	if state, ok := l.changes.state(w.compiled(), l.process.Term.Number()); !ok || state.rules != "" {
		t.Errorf("the change passes for looked at: %+v", state)
	}
	l.vendor.instead(nil)
	w.Clock.Forward(time.Hour)
	l.changesOnly()
	w.hasEvictions("lounge VerdictChange bob")
}
