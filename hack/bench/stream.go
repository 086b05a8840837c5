package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

const (
	// refusal is in the answer to a stranger, admission in that to a listed account.
	refusal   = "Members only"
	admission = `"ErrorCode":0`
)

// population are groups, each of which admits the accounts of its own list.
type population struct {
	sdkAppID         uint64
	groups, accounts int // accounts of each group
}

func groupID(group int) string   { return fmt.Sprintf("@TGS#%08d", group) }
func account(number int) string  { return fmt.Sprintf("account-%08d", number) } // 16 bytes
func stranger(number int) string { return fmt.Sprintf("strange-%08d", number) } // 16 bytes

func (p population) member(group, member int) string { return account(group*p.accounts + member) }

func (p population) members(group int) []string {
	accounts := make([]string, p.accounts)
	for i := range accounts {
		accounts[i] = p.member(group, i)
	}
	return accounts
}

// callback is one application to join.
type callback struct {
	group   int
	account string
	listed  bool
}

// callbacks draws n of them, half of listed accounts, the same ones every time.
func (p population) callbacks(n int) []callback {
	random := rand.New(rand.NewPCG(1, 2))
	drawn := make([]callback, n)
	for i := range drawn {
		group := random.IntN(p.groups)
		drawn[i] = callback{group: group, account: stranger(random.IntN(p.groups * p.accounts))}
		if i%2 == 0 {
			drawn[i].account, drawn[i].listed = p.member(group, random.IntN(p.accounts)), true
		}
	}
	return drawn
}

// want is what the answer holds.
func (c *callback) want() string {
	if c.listed {
		return admission
	}
	return refusal
}

func (c *callback) body() map[string]string {
	return map[string]string{
		"CallbackCommand": lab.CommandApply, "GroupId": groupID(c.group), "Type": "Public",
		"Requestor_Account": c.account, "EventTime": "1670574414123",
	}
}

// asVendor writes a callback as the IM backend sends it.
func (p population) asVendor(c *callback, token string, at time.Time) []byte {
	return post("/callback?"+lab.Sign(lab.Query(p.sdkAppID, lab.CommandApply), token, at), c.body())
}

// asOPA writes a callback for the REST API of Open Policy Agent, with the fields of query and body as its input.
func (p population) asOPA(c *callback, token string, at time.Time) []byte {
	input := c.body()
	input["SdkAppid"] = strconv.FormatUint(p.sdkAppID, 10)
	input["RequestTime"], input["Sign"] = lab.Signature(token, at)
	return post("/v1/data/groupgate/answer", map[string]any{"input": input})
}

func post(target string, body any) []byte {
	text, _ := json.Marshal(body) // maps of strings cannot fail
	const head = "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
	return fmt.Appendf(nil, head, target, len(text), text)
}
