package decisionlog

import (
	"strconv"

	"github.com/groupgate/groupgate/internal/jsontext"
)

// timeLayout is RFC 3339 with milliseconds; times are in UTC.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// appendLine appends the line of a decision, which docs/schemas/decision-v1.json describes.
func (d *Decision) appendLine(b []byte, accounts *Accounts) []byte {
	b = append(b, `{"log":"`...)
	b = append(b, d.log()...)
	b = append(b, `","version":`...)
	b = strconv.AppendInt(b, Version, 10)
	b = append(b, `,"time":"`...)
	b = d.Time.UTC().AppendFormat(b, timeLayout)
	b = append(b, '"')
	b = appendField(b, "app", d.App)
	b = appendField(b, "group", d.Group)
	b = appendField(b, "groupType", d.GroupType.String())
	b = accounts.appendField(b, "account", d.Account)
	if d.Operator != "" {
		b = accounts.appendField(b, "operator", d.Operator)
	}
	if accounts.KeyID() != "" {
		b = appendField(b, "accountKey", accounts.KeyID())
	}
	b = appendField(b, "trigger", d.Trigger.String())
	b = appendField(b, "verdict", verdictName(d.Admitted))
	b = appendField(b, "reason", d.Reason.String())
	b = appendField(b, "policy", d.Policy)
	b = append(b, `,"code":`...)
	b = strconv.AppendInt(b, int64(d.Code), 10)
	b = appendField(b, "audit", verdictName(d.Admitted != d.Audit.Exists()))
	if d.Audit.Exists() {
		b = appendField(b, "auditReason", d.Audit.Reason.String())
		b = appendField(b, "auditPolicy", d.Audit.Policy)
	}
	b = append(b, `,"snapshot":"`...)
	b = appendHex(b, d.Snapshot)
	return append(b, "\"}\n"...)
}

// log is the name by which readers tell decisions, leaks and other lines apart.
func (d *Decision) log() string {
	if d.Leak {
		return "leak"
	}
	return "decision"
}

// appendField appends a field after another one. The name needs no escapes.
func appendField(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return jsontext.AppendString(b, value)
}

func appendHex(b []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, jsontext.HexDigits[n>>shift&0xf])
	}
	return b
}
