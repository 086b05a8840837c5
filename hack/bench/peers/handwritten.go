package peers

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Decider reports whether a group admits an account.
type Decider func(ctx context.Context, group, account string) (bool, error)

// FromMaps decides as a team would by hand: from maps.
func FromMaps(data *Data) Decider {
	return func(_ context.Context, group, account string) (bool, error) { return data.Members[group][account], nil }
}

// Handwritten is the handler that a team would write by hand around a decider: net/http and encoding/json. It checks
// SdkAppid and Sign and answers refusals as Groupgate does. It counts nothing, logs nothing, and knows one command.
func Handwritten(data *Data, admits Decider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			reply(w, http.StatusMethodNotAllowed, answer{"FAIL", "use POST", 1})
			return
		}
		query := r.URL.Query()
		if query.Get("SdkAppid") != data.SDKAppID {
			reply(w, http.StatusForbidden, answer{"FAIL", "unknown SdkAppid", 1})
			return
		}
		if !signed(data.Token, query.Get("Sign"), query.Get("RequestTime")) {
			reply(w, http.StatusUnauthorized, answer{"FAIL", "not authenticated", 1})
			return
		}
		var callback struct {
			CallbackCommand string
			GroupID         string `json:"GroupId"`
			Type            string
			Account         string `json:"Requestor_Account"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&callback); err != nil {
			reply(w, http.StatusOK, answer{"OK", "unreadable request", 1})
			return
		}
		if callback.CallbackCommand != "Group.CallbackBeforeApplyJoinGroup" {
			reply(w, http.StatusOK, answer{"OK", "", 0})
			return
		}
		admitted, err := admits(r.Context(), callback.GroupID, callback.Account)
		switch {
		case err != nil:
			reply(w, http.StatusOK, answer{"OK", "rejected", 1})
		case admitted:
			reply(w, http.StatusOK, answer{"OK", "", 0})
		default:
			reply(w, http.StatusOK, answer{"OK", "Members only", 10110})
		}
	})
}

type answer struct {
	ActionStatus string
	ErrorInfo    string
	ErrorCode    int
}

func reply(w http.ResponseWriter, status int, a answer) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the client may be gone
}

func signed(token, sign, requestTime string) bool {
	seconds, err := strconv.ParseInt(requestTime, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
		return false
	}
	got, err := hex.DecodeString(sign)
	want := sha256.Sum256([]byte(token + requestTime))
	return err == nil && subtle.ConstantTimeCompare(got, want[:]) == 1
}
