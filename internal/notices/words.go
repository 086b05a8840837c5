package notices

import (
	"fmt"
	"strings"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/terminal"
)

// maxID is how many characters of an id a message shows.
const maxID = 64

// Text is the message into a group about a run whose plan awaits approval, for people who manage a community. page is
// the URL of the page, or empty.
func Text(run *v1alpha1.PruneRun, page string, language v1alpha1.NoticeLanguage, now time.Time) string {
	plan := planOf(run, page, now)
	if language == v1alpha1.NoticeLanguageChinese {
		return plan.chinese()
	}
	return plan.english()
}

func (p *Plan) english() string {
	var text strings.Builder
	fmt.Fprintf(&text, "A plan needs your decision: group %s", harmless(p.Group))
	if p.MaxMembers > 0 {
		fmt.Fprintf(&text, " (%d of %d seats taken)", p.Members, p.MaxMembers)
	}
	members, they := "members", "they were"
	if p.ToGo == 1 {
		members, they = "member", "this one was"
	}
	switch p.Purpose {
	case v1alpha1.PrunePurposeEvict:
		fmt.Fprintf(&text, ".\n%d %s would be removed, because the rules of the group refuse them.\n", p.ToGo, members)
	default:
		fmt.Fprintf(&text, ".\n%d %s would be removed, because %s inactive.\n", p.ToGo, members, they)
	}
	if p.Breaker != "" {
		text.WriteString("This is more than usual. Check whether the lists are right.\n")
	}
	fmt.Fprintf(&text, "Nobody is removed before the plan is approved. It is void after %s.\n",
		p.VoidAt.Format("2 January 2006, 15:04 UTC"))
	if p.URL != "" {
		text.WriteString("Look and decide: " + p.URL)
	} else {
		fmt.Fprintf(&text, "Look: kubectl groupgate runs -n %s --waiting", p.Namespace)
	}
	return text.String()
}

func (p *Plan) chinese() string {
	var text strings.Builder
	fmt.Fprintf(&text, "有一个清理计划等待您决定：群组%s", harmless(p.Group))
	if p.MaxMembers > 0 {
		fmt.Fprintf(&text, "（成员 %d / 上限 %d）", p.Members, p.MaxMembers)
	}
	reason := "不活跃"
	if p.Purpose == v1alpha1.PrunePurposeEvict {
		reason = "不符合入群规则"
	}
	fmt.Fprintf(&text, "。\n将移除 %d 名成员，原因：%s。\n", p.ToGo, reason)
	if p.Breaker != "" {
		text.WriteString("人数比平时多，请先核对名单是否正确。\n")
	}
	fmt.Fprintf(&text, "批准之前不会移除任何人。计划在 %s（UTC）之后失效。\n", p.VoidAt.Format("2006-01-02 15:04"))
	if p.URL != "" {
		text.WriteString("查看并决定：" + p.URL)
	} else {
		fmt.Fprintf(&text, "查看：kubectl groupgate runs -n %s --waiting", p.Namespace)
	}
	return text.String()
}

// unlink breaks what a chat client would turn into a link.
var unlink = strings.NewReplacer(".", "[.]", ":", "[:]")

// harmless is an id in quotes, in one line and of bounded length, without what is invisible, reverses the text around
// it, or becomes a link: users of the app choose the ids of groups.
func harmless(id string) string {
	shown := []rune(terminal.Visible(id))
	if len(shown) > maxID {
		shown = append(shown[:maxID], '…')
	}
	return "“" + unlink.Replace(string(shown)) + "”"
}
