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
	"The page does not know who you are.":                                "本页面无法识别您的身份。",
	"Sign in again. If that does not help, the headers of the proxy are not as the page expects them.": "请重新登录。" +
		"如果仍然无效，则代理发送的请求头不符合本页面的要求。",
	"Names of users and groups that begin with system: belong to Kubernetes: the page does not take them.": "以 system: 开头的" +
		"用户名和组名属于 Kubernetes，本页面不接受。",
	"Sign in as another user, or have the group renamed.":              "请以其他用户登录，或请管理员重命名该组。",
	"The page may not act for you.":                                    "本页面无权代表您操作。",
	"Ask the people who run the cluster for the roles of config/page.": "请联系集群管理员配置 config/page 中的角色。",
	"This cluster does not offer constrained impersonation (Kubernetes 1.36 or newer), so that the page cannot act for " +
		"you. You see what the page itself may read. Decide with kubectl groupgate.": "此集群不支持受限的身份模拟" +
		"（Kubernetes 1.36 或更高版本），因此本页面无法代表您操作。您看到的是本页面自身可以读取的内容。请使用 kubectl groupgate 进行审批。",
	"Nothing can be decided on this page.": "无法在本页面进行审批。",
}
