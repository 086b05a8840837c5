// Command probe prints, as JSON, what a container may do.
package main

import (
	"encoding/json"
	"os"
	"strings"
)

func main() {
	hostname, _ := os.Hostname()
	report := map[string]string{"hostname": hostname, "MESSAGE": os.Getenv("MESSAGE")}
	for _, path := range []string{"/file", "/mounted/file", "/scratch/file"} {
		report["write "+path] = "allowed"
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			report["write "+path] = err.(*os.PathError).Err.Error()
		}
	}
	secret, _ := os.ReadFile("/mounted/secret")
	report["secret"] = string(secret)
	_, err := os.Stat("/usr")
	report["sees the machine's files"] = map[bool]string{true: "yes", false: "no"}[err == nil]
	if os.Getpid() == 1 {
		report["pid"] = "1"
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "CapEff", "CapBnd", "NoNewPrivs", "Uid", "Gid", "Groups":
			report[name] = strings.Join(strings.Fields(value), " ")
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(report)
}
