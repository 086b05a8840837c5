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
	"There is no such page.":             "没有这个页面。",
	"Begin with one of the links above.": "请从上面的链接开始。",
	"You may not do this.":               "您没有这项权限。",
	"The API server refused it with your rights. Ask the people who run the cluster for a role.": "API Server 按您的权限" +
		"拒绝了此操作。请向集群管理员申请相应的角色。",
	"The API server does not know you.":                "API Server 无法识别您的身份。",
	"Sign in again.":                                   "请重新登录。",
	"There is no such thing any more.":                 "该对象已不存在。",
	"It may have been deleted; go back to the list.":   "它可能已被删除，请返回列表。",
	"The API server gave no answer that can be shown.": "API Server 没有给出可以显示的应答。",
	"Try again in a minute.":                           "请在一分钟后重试。",
	"The cluster cannot be reached.":                   "无法连接集群。",

	// Refused requests
	"This is not the address of the page.":                                   "这不是本页面的地址。",
	"Open %s instead.":                                                       "请改为打开 %s。",
	"This address cannot be used in this way.":                               "不能以这种方式使用此地址。",
	"The address is too long.":                                               "地址过长。",
	"The request is malformed: a part of it is missing, doubled or no text.": "请求格式有误：有内容缺失、重复或不是文本。",
	"The page takes forms only, as browsers send them.":                      "本页面只接受浏览器提交的表单。",
	"The form is too large.":                                                 "表单过大。",
	"Write a shorter reason.":                                                "请缩短原因说明。",
	"Nothing was done: another site has sent this form.":                     "未执行任何操作：此表单由其他网站提交。",
	"Nothing was done: this form is too old, or was made for another user or another process.": "未执行任何操作：此表单已过期，" +
		"或者属于其他用户或其他进程。",
	"Load the page again, look at it, and send its form.":                "请重新加载页面，核对内容后再提交表单。",
	"You have sent too many requests in a short time.":                   "您在短时间内发送了过多请求。",
	"Too many people look at the page at this moment.":                   "当前访问本页面的人过多。",
	"Wait some seconds, then try again.":                                 "请等待几秒后重试。",
	"The page has a defect, and cannot be shown.":                        "本页面存在缺陷，无法显示。",
	"Its log says more. The gate does not depend on the page.":           "详情见其日志。入群校验不依赖本页面。",
	"The page does not know this browser.":                               "本页面无法识别此浏览器。",
	"The key in this address is not, or no longer, that of the page.":    "此地址中的密钥不是本页面的密钥，或已失效。",
	"Open the address that groupgate page has printed in your terminal.": "请打开 groupgate page 在终端中打印的地址。",
}
