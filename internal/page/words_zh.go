package page

// chineseWords are the texts of the page in Simplified Chinese, by their English texts.
var chineseWords = map[string]string{
	"Now":                            "现况",
	"Waiting":                        "待审批",
	"Runs":                           "清理记录",
	"Ask":                            "查询",
	"Refused":                        "被拒绝",
	"Settings":                       "设置",
	"Skip to the content":            "跳到正文",
	"Jan 2, 2006, 15:04 MST":         "2006年1月2日 15:04 MST",
	"just now":                       "刚刚",
	"%d minutes ago":                 "%d 分钟前",
	"%d hours ago":                   "%d 小时前",
	"%d days ago":                    "%d 天前",
	"in %d minutes":                  "%d 分钟后",
	"in %d hours":                    "%d 小时后",
	"in %d days":                     "%d 天后",
	"There is no such page.":         "没有这个页面。",
	"Begin with one of those above.": "请从上面的页面开始。",
}
