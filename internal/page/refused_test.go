package page

import (
	"html"
	"net/http"
	"regexp"
	"testing"

	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

func TestRefusedSaysWhoWasRefusedAndWhy(t *testing.T) {
	w := chat(t)
	w.refused.Replicas = []refusals.Refusals{replica("replica-0", 2), replica("replica-1", 0)}
	rows := w.refused.Replicas[0].Refusals
	rows[1].Reason, rows[1].Policy, rows[1].Code, rows[1].Message = "Pruned", "", 1, ""
	rows[1].Operator = "anna"
	status, body := w.visit(t, "/refused", "en")
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	expect(t, body, `<bdi class="id">account-00000</bdi>`, "Policy banned denies it.",
		"10120 “You cannot join groups at the moment”",
		"It was removed from the group, and is refused for a time.", ">10016<",
		`invited or added by <bdi class="id">anna</bdi>`, "replica-1", "5 hours ago", "10,000", "!Older")
	_, body = w.visit(t, "/refused", "zh-CN")
	expect(t, body, "策略 banned 拒绝它。", "操作者：", "5 小时前")
	rows[0].Leak = true
	_, body = w.visit(t, "/refused", "en")
	expect(t, body, "It is a member, although policy banned refuses it.",
		"Nothing: the account is in the group already.")
}

func TestRefusedSaysWhichReplicasDidNotAnswer(t *testing.T) {
	problem := replicaclient.Problem{Replica: "replica-1", Message: "It did not answer within 3s."}
	for name, tc := range map[string]struct {
		answer replicaclient.Answer[refusals.Refusals]
		want   []string
	}{
		"one of two": {
			replicaclient.Answer[refusals.Refusals]{
				Replicas: []refusals.Refusals{replica("replica-0", 0)}, Problems: []replicaclient.Problem{problem},
			},
			[]string{"Not every replica answered", "replica-1", "No replica that answered remembers such a refusal."},
		},
		"both": {
			replicaclient.Answer[refusals.Refusals]{Problems: []replicaclient.Problem{problem}},
			[]string{"Whether an account was refused is not known.", "!No replica that answered"},
		},
		"none known": {
			replicaclient.Answer[refusals.Refusals]{}, []string{"Whether an account was refused is not known."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := chat(t)
			w.refused = tc.answer
			_, body := w.visit(t, "/refused", "en")
			expect(t, body, tc.want...)
		})
	}
}

var older = regexp.MustCompile(`href="([^"]*)" rel="next"`)

// TestRefusalsArePaged walks through the 10,000 refusals that a replica remembers.
func TestRefusalsArePaged(t *testing.T) {
	w := chat(t)
	w.refused.Replicas = []refusals.Refusals{replica("replica-0", 10_000)}
	seen, pages := map[string]bool{}, 0
	for path := "/refused"; path != ""; pages++ {
		status, body := w.visit(t, path, "en") // anew, since a viewer has a limit
		if status != http.StatusOK || len(body) > 150_000 {
			t.Fatalf("%s: status %d, %d bytes", path, status, len(body))
		}
		for _, match := range regexp.MustCompile(`<bdi class="id">(account-\d+)<`).FindAllStringSubmatch(body, -1) {
			seen[match[1]] = true
		}
		path = ""
		if next := older.FindStringSubmatch(body); next != nil {
			path = html.UnescapeString(next[1])
		}
	}
	if len(seen) != 10_000 {
		t.Errorf("%d refusals on %d pages", len(seen), pages)
	}
}

func TestRefusedRefusesATimeThatIsNone(t *testing.T) {
	if status, _ := chat(t).visit(t, "/refused?before=yesterday", "en"); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
}
