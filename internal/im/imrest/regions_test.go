package imrest

import (
	"strings"
	"testing"
)

func TestEndpoint(t *testing.T) {
	for region, want := range map[string]string{
		"China": "https://console.tim.qq.com", "Singapore": "https://adminapisgp.im.qcloud.com",
		"Seoul": "https://adminapikr.im.qcloud.com",
		"Tokyo": "https://adminapijpn.im.qcloud.com", "Frankfurt": "https://adminapiger.im.qcloud.com",
		"SiliconValley": "https://adminapiusa.im.qcloud.com",
		"Jakarta":       "https://adminapiidn.im.qcloud.com", "Riyadh": "https://adminapiksa.im.qcloud.com",
	} {
		got, err := Endpoint(region)
		if err != nil || got != want {
			t.Errorf("Endpoint(%q) = %q, %v; want %q", region, got, err, want)
		}
		if again, err := ParseEndpoint(got); err != nil || again != got {
			t.Errorf("ParseEndpoint(%q) = %q, %v", got, again, err)
		}
	}
	for _, region := range []string{"", "china", "Mumbai", "evil.example.com", "https://evil.example.com"} {
		if got, err := Endpoint(region); err == nil {
			t.Errorf("Endpoint(%q) = %q", region, got)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for raw, want := range map[string]string{
		"https://im.example.com":       "https://im.example.com",
		"https://im.example.com:8443/": "https://im.example.com:8443",
		"http://127.0.0.1:8090":        "http://127.0.0.1:8090",
		"http://127.8.9.10":            "http://127.8.9.10",
		"http://[::1]:8090/":           "http://[::1]:8090",
		"http://localhost:8090":        "http://localhost:8090",
		"HTTPS://im.example.com":       "https://im.example.com",
	} {
		if got, err := ParseEndpoint(raw); err != nil || got != want {
			t.Errorf("ParseEndpoint(%q) = %q, %v; want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{
		"", "im.example.com", "//im.example.com", "https://", "https:///x", "ftp://im.example.com",
		"https:im.example.com",
		"http://im.example.com", "http://10.0.0.1", "http://localhost.evil.example.com",
		"http://127.0.0.1.evil.example.com", "http://0.0.0.0:8090",
		"https://im.example.com/v4", "https://im.example.com?x=1", "https://im.example.com?",
		"https://im.example.com#x",
		"https://user@im.example.com", "https://user:hunter2@im.example.com", "https://user:hunter2@im.example.com:bad",
		"https://im.example.com:", "https://im.example.com:99999", "https://im.example.com:x",
	} {
		got, err := ParseEndpoint(raw)
		if err == nil {
			t.Errorf("ParseEndpoint(%q) = %q", raw, got)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseEndpoint repeats a password: %v", err)
		}
	}
}
