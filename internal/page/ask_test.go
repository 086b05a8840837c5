package page

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

func TestAskSaysWhyAnAccountMayJoin(t *testing.T) {
	for name, tc := range map[string]struct {
		query   []string
		english []string
		chinese []string
	}{
		"denied": {
			[]string{"group", "vip-berlin", "account", "mallory"},
			[]string{
				`<bdi class="id">mallory</bdi> may not join <bdi class="id">vip-berlin</bdi>.`,
				"Policy banned denies the account.", "join.deny.lists: AccountList banned",
			},
			[]string{`<bdi class="id">mallory</bdi> 不能加入 <bdi class="id">vip-berlin</bdi>。`, "策略 banned 拒绝该账号。"},
		},
		"allowed": {
			[]string{"group", "vip-berlin", "account", "jared"},
			[]string{
				`<bdi class="id">jared</bdi> may join`, "Policy vip allows the account.", "does not refuse it",
				"!admits every account", // banned has no allow, and denies others
			},
			[]string{"可以加入", "策略 vip 允许该账号。"},
		},
		"not listed": {
			[]string{"group", "vip-berlin", "account", "Trudy", "trigger", "Invite", "type", "Public"},
			[]string{
				"Policy vip admits only accounts that are allowed, and no policy allows this one.",
				"The client sees code 10016, without a message.",
				"its mode is Audit; join.allow does not name the account",
				"would say: does not allow", "differs by blanks",
			},
			[]string{"模式为 Audit；join.allow 中没有该账号", "客户端收到错误码 10016"},
		},
		"removed by a run": {
			[]string{"group", "vip-oslo", "account", "jared"},
			[]string{`Run <a href="/runs/chat/prod-0000000000000000-1">prod-0000000000000000-1</a> removed the account`},
			[]string{`清理记录 <a href="/runs/chat/prod-0000000000000000-1">`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := address("/ask", tc.query...)
			for language, want := range map[string][]string{"en": tc.english, "zh-CN": tc.chinese} {
				status, body := chat(t).visit(t, path, language)
				if status != http.StatusOK {
					t.Errorf("status %d", status)
				}
				expect(t, body, want...)
			}
		})
	}
}

func TestAskSaysWhatAnAnswerIsMadeOf(t *testing.T) {
	_, body := chat(t).visit(t, address("/ask", "group", "vip-oslo", "account", "jared"), "en")
	expect(t, body, "<dt>Policies read</dt><dd>3</dd>", "<dt>Account lists read</dt><dd>1 with 2 accounts</dd>",
		"<dt>Runs of the group read</dt><dd>1</dd>")
	_, body = chat(t).visit(t, address("/ask", "group", "vip-berlin", "account", "jared"), "en")
	expect(t, body, "<dt>Runs of the group read</dt><dd>0</dd>")
}

func TestAskSaysFirstThatAnAppRefusesCallbacks(t *testing.T) {
	w := chat(t)
	w.objects[0].(*v1alpha1.IMApp).Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionResolvedRefs, Status: metav1.ConditionFalse,
		Reason: v1alpha1.ReasonSecretNotFound, Message: "Secret prod-im was not found.",
	}}
	_, body := w.visit(t, address("/ask", "group", "vip-berlin", "account", "mallory"), "en")
	expect(t, body, "This gate is open", "Secret prod-im was not found.")
	if strings.Index(body, "This gate is open") > strings.Index(body, "may not join") {
		t.Errorf("the answer comes first:\n%s", body)
	}
}

func TestAskSaysThatAPolicyIsNotValid(t *testing.T) {
	w := chat(t)
	for _, o := range w.objects {
		if p, ok := o.(*v1alpha1.GroupPolicy); ok && p.Name == "vip" {
			p.Spec.Join.Allow.AccountPrefixes = []string{""}
		}
	}
	_, body := w.visit(t, address("/ask", "group", "vip-berlin", "account", "jared"), "en")
	expect(t, body, "Policy vip is not valid, so that it allows no account, and no other policy allows this one.")
}

func TestQuestionsThatCannotBeAnswered(t *testing.T) {
	for name, tc := range map[string]struct {
		path   string
		change func(*world)
		status int
		want   []string
	}{
		"nothing asked": {
			"/ask", nil,
			http.StatusOK, []string{`name="account"`, "!aria-invalid"},
		},
		"no account": {
			address("/ask", "group", "g"), nil,
			http.StatusUnprocessableEntity, []string{"Type the id of the account."},
		},
		"no group": {
			address("/ask", "account", "a"), nil,
			http.StatusUnprocessableEntity, []string{"Type the id of the group."},
		},
		"no such app": {
			address("/ask", "app", "chat/other", "group", "g", "account", "a"), nil,
			http.StatusNotFound, []string{"There is no such app here."},
		},
		"another namespace": {
			address("/ask", "app", "kube-system/prod", "group", "g", "account", "a"), nil,
			http.StatusNotFound, []string{"There is no such app here."},
		},
		"an app of markup": {
			address("/ask", "app", "<b>/x", "group", "g", "account", "a"), nil,
			http.StatusNotFound, []string{"!<b>"},
		},
		"no such trigger": {
			address("/ask", "group", "g", "account", "a", "trigger", "Magic"), nil,
			http.StatusBadRequest, []string{"There is no such way to join"},
		},
		"no such type": {
			address("/ask", "group", "g", "account", "a", "type", "Magic"), nil,
			http.StatusBadRequest, []string{"no such type"},
		},
		"no right to lists": {
			address("/ask", "group", "g", "account", "a"), func(w *world) { w.forbidden = []string{"accountlists"} },
			http.StatusForbidden, []string{"You may not do this.", "maria", "accountlists"},
		},
		"no right to list all apps": {
			"/ask", func(w *world) { w.forbidden, w.namespace = []string{"imapps"}, "" },
			http.StatusOK, []string{"Your rights do not suffice to list all apps.", `<input id="app"`},
		},
		"several apps": {
			address("/ask", "group", "g", "account", "a"), func(w *world) {
				w.namespace, w.objects = "", append(w.objects, app("other", "prod"))
			},
			http.StatusUnprocessableEntity,
			[]string{"Choose the app of the group.", `<select id="app"`, "<option>other/prod</option>"},
		},
		"an app that is not accepted": {
			address("/ask", "app", "chat/second", "group", "g", "account", "a"), func(w *world) {
				second := app("chat", "second")
				second.Spec.SDKAppID = w.objects[0].(*v1alpha1.IMApp).Spec.SDKAppID
				second.CreationTimestamp = metav1.NewTime(noon)
				w.objects = append(w.objects, second)
			},
			http.StatusNotFound, []string{"This app decides about no join"},
		},
		"an empty cluster": {"/ask", func(w *world) { w.objects = nil }, http.StatusOK, []string{`<input id="app"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := chat(t)
			if tc.change != nil {
				tc.change(w)
			}
			status, body := w.visit(t, tc.path, "en")
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			expect(t, body, tc.want...)
		})
	}
}

// hostileIDs are ids as an attacker would choose them.
var hostileIDs = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `javascript:alert(1)`,
	`{{.Data}}`, `%s%d%n`, `../../etc/passwd`, `a&group=b`, "\u202egpj.exe", "mal\u200blory", "a\r\nSet-Cookie: x=1",
	`</title><h1>`, `<!--`, `]]>`, "a,b=c\\", strings.Repeat("\U0001F468\u200d", 40),
}

var fieldValue = regexp.MustCompile(` value="[^"]*"`)

func TestHostileIdsAreEscapedOnEveryPage(t *testing.T) {
	for _, id := range hostileIDs {
		w := chat(t)
		w.refused.Replicas = append(w.refused.Replicas, replica("replica-0", 1))
		r := &w.refused.Replicas[0].Refusals[0]
		r.Group, r.Account, r.Operator, r.Message = id, id, id, id
		for _, path := range []string{
			address("/ask", "group", id, "account", id), address("/group", "app", "chat/prod", "group", id),
			address("/refused", "group", id, "account", id),
		} {
			status, body := w.visit(t, path, "en")
			if status != http.StatusOK {
				t.Errorf("%s: status %d", path, status)
			}
			body = fieldValue.ReplaceAllString(body, "") // what was typed stays as it is
			expect(t, body, "!<script>", "!<img", "!' onmouseover", "!</title><h1>", "!%!", "!\u202e", "!(MISSING)")
			if strings.Contains(strings.ReplaceAll(body, "<!DOCTYPE", ""), "<!") {
				t.Errorf("%s has a comment:\n%s", path, body)
			}
		}
	}
}
