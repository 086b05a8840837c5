package page

// chineseWords are the texts of the page in Simplified Chinese, by their English texts. The terms are those of
// README.zh-CN.md and docs/zh-CN.
var chineseWords = map[string]string{
	// What stands on every page
	"Now":                 "现况",
	"Waiting":             "待审批",
	"Runs":                "清理记录",
	"Ask":                 "查询",
	"Refused":             "被拒绝",
	"Settings":            "设置",
	"Skip to the content": "跳到正文",

	// Times and ids
	"Jan 2, 2006, 15:04": "2006年1月2日 15:04",
	"just now":           "刚刚",
	"%d minutes ago":     "%d 分钟前",
	"%d hours ago":       "%d 小时前",
	"%d days ago":        "%d 天前",
	"in %d minutes":      "%d 分钟后",
	"in %d hours":        "%d 小时后",
	"in %d days":         "%d 天后",
	"not known":          "未知",
	"(empty)":            "（空）",

	// Problems
	"There is no such page.":         "没有这个页面。",
	"Begin with one of those above.": "请从上面的页面开始。",
	"You may not do this.":           "您没有这项权限。",
	"The API server refused it with your rights. Ask the people who run the cluster for a role.": "API Server 按您的权限" +
		"拒绝了此操作。请向集群管理员申请相应的角色。",
	"The API server does not know you.":                "API Server 无法识别您的身份。",
	"Sign in again.":                                   "请重新登录。",
	"There is no such thing any more.":                 "该对象已不存在。",
	"It may have been deleted; go back to the list.":   "它可能已被删除，请返回列表。",
	"The API server gave no answer that can be shown.": "API Server 没有给出可以显示的应答。",
	"Try again in a minute.":                           "请在一分钟后重试。",
	"The cluster cannot be reached.":                   "无法连接集群。",
}
