package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	token = "b3nch-t0ken"

	// refusal is what a stranger is told, admission what shows that an account was let in.
	refusal   = "Members only"
	admission = `"ErrorCode":0`
)

// population says who may join what: each group admits the accounts of its own list.
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
		"CallbackCommand": applyCommand, "GroupId": groupID(c.group), "Type": "Public", "Requestor_Account": c.account, "EventTime": "1670574414123",
	}
}

const applyCommand = "Group.CallbackBeforeApplyJoinGroup"

// signature is RequestTime and Sign at a time. It holds for a minute.
func signature(token string, at time.Time) (requestTime, sign string) {
	requestTime = strconv.FormatInt(at.Unix(), 10)
	digest := sha256.Sum256([]byte(token + requestTime))
	return requestTime, hex.EncodeToString(digest[:])
}

// asVendor writes a callback as the IM backend sends it.
func (p population) asVendor(c *callback, token string, at time.Time) []byte {
	requestTime, sign := signature(token, at)
	target := fmt.Sprintf("/callback?SdkAppid=%d&CallbackCommand=%s&contenttype=json&ClientIP=127.0.0.1&OptPlatform=iOS&Sign=%s&RequestTime=%s",
		p.sdkAppID, applyCommand, sign, requestTime)
	return post(target, c.body())
}

// asOPA writes a callback for the REST API of Open Policy Agent, which has what the query and the body say under "input".
func (p population) asOPA(c *callback, token string, at time.Time) []byte {
	input := c.body()
	input["SdkAppid"] = strconv.FormatUint(p.sdkAppID, 10)
	input["RequestTime"], input["Sign"] = signature(token, at)
	return post("/v1/data/groupgate/answer", map[string]any{"input": input})
}

func post(target string, body any) []byte {
	text, _ := json.Marshal(body) // maps of strings cannot fail
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", target, len(text))
	return append([]byte(head), text...)
}
