package notices_test

import (
	"strings"
	"testing"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/notices"
)

func TestText(t *testing.T) {
	evict := waiting()
	evict.Spec.Purpose = v1alpha1.PrunePurposeEvict
	evict.Status.Plan.Breaker = "would remove 3 of 60 members: is the list complete?"
	one := waiting()
	one.Status.Plan.Size, one.Status.Group = new(int32(1)), nil
	cases := map[string]struct {
		run      *v1alpha1.PruneRun
		page     string
		language v1alpha1.NoticeLanguage
		want     string
	}{
		"English": {waiting(), page, v1alpha1.NoticeLanguageEnglish, `A plan needs your decision: group “club-oslo” (60 of 60 seats taken).
3 members would be removed, because they were inactive.
Nobody is removed before the plan is approved. It is void after 23 November 2026, 09:30 UTC.
Look and decide: https://page.example.com/runs/chat/prod-club-x7`},
		"eviction that is no routine": {evict, page, "", `A plan needs your decision: group “club-oslo” (60 of 60 seats taken).
3 members would be removed, because the rules of the group refuse them.
This is more than usual. Check whether the lists are right.
Nobody is removed before the plan is approved. It is void after 23 November 2026, 09:30 UTC.
Look and decide: https://page.example.com/runs/chat/prod-club-x7`},
		"one, without a page": {one, "", "", `A plan needs your decision: group “club-oslo”.
1 member would be removed, because this one was inactive.
Nobody is removed before the plan is approved. It is void after 23 November 2026, 09:30 UTC.
Look: kubectl groupgate runs -n chat --waiting`},
		"Chinese": {evict, page, v1alpha1.NoticeLanguageChinese, `有一个清理计划等待您决定：群组“club-oslo”（成员 60 / 上限 60）。
将移除 3 名成员，原因：不符合入群规则。
人数比平时多，请先核对名单是否正确。
批准之前不会移除任何人。计划在 2026-11-23 09:30（UTC）之后失效。
查看并决定：https://page.example.com/runs/chat/prod-club-x7`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := notices.Text(tc.run, tc.page, tc.language, now); got != tc.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}

// Users of the app choose the ids of groups: one must not look like another message, or become a link.
func TestTextMakesIDsOfGroupsHarmless(t *testing.T) {
	for id, want := range map[string]string{
		"https://evil.example/login": "“https[:]//evil[.]example/login”",
		"club\nApproved by admin":    `“club\nApproved by admin”`,
		"club\u202eolso\u200b":       `“club\u202eolso\u200b”`,
		"@TGS#2J4SZEAEL":             "“@TGS#2J4SZEAEL”",
		strings.Repeat("x", 255):     "“" + strings.Repeat("x", 64) + "…”",
		"\xff":                       "“\ufffd”",
	} {
		for _, language := range []v1alpha1.NoticeLanguage{"English", "Chinese"} {
			run := waiting()
			run.Spec.GroupID = id
			got := notices.Text(run, page, language, now)
			if !strings.Contains(got, want) || strings.Count(got, "\n") != 3 || strings.Count(got, "://") != 1 {
				t.Errorf("%q in %s: got\n%s\nwant %s in it", id, language, got, want)
			}
		}
	}
}
