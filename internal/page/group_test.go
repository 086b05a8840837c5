package page

import (
	"net/http"
	"testing"

	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

func TestGroupSaysWhichPoliciesGovernIt(t *testing.T) {
	w := chat(t)
	w.refused.Replicas = append(w.refused.Replicas, replica("replica-0", 30))
	status, body := w.visit(t, address("/group", "app", "chat/prod", "group", "vip-berlin"), "en")
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	expect(t, body, `<h1>Group <bdi class="id">vip-berlin</bdi></h1>`, "3 policies govern this group.",
		"When it is full, as Public, Meeting: the rule of policy vip holds, which shows who would go, and removes "+
			"nobody.",
		"When it is full, as Work, Community: no member is removed.", "AccountList banned",
		"account-00000", "account-00009", "!account-00010", "There is no run of this group.",
		"/ask?app=chat%2fprod&amp;group=vip-berlin&amp;account=account-00000&amp;trigger=Apply&amp;type=Public")
	if w.filter.Group != "vip-berlin" {
		t.Errorf("replicas are asked for %+v", w.filter)
	}
	_, body = w.visit(t, address("/group", "app", "chat/prod", "group", "vip-oslo"), "zh-CN")
	expect(t, body, `<a href="/runs/chat/prod-0000000000000000-1">`, "管控该群组的策略")
}

func TestGroupSaysWhatReplicasDoNotSay(t *testing.T) {
	w := chat(t)
	w.refused.Problems = []replicaclient.Problem{{Replica: "replica-1", Message: "It did not answer within 3s."}}
	_, body := w.visit(t, address("/group", "app", "chat/prod", "group", "lobby"), "en")
	expect(t, body, "replica-1", "It did not answer within 3s.", "Whether an account was refused is not known.",
		"!No replica remembers")
}

func TestGroupIsNamed(t *testing.T) {
	for _, path := range []string{"/group", "/group?app=chat/prod", "/group?group="} {
		if status, body := chat(t).visit(t, path, "en"); status != http.StatusBadRequest {
			t.Errorf("%s: status %d:\n%s", path, status, body)
		}
	}
}
