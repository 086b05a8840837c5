package policy

import (
	"slices"
)

// CompiledApp is an app that holds its SDKAppID, together with the policies that name it. It never changes.
type CompiledApp struct {
	object         Object
	sdkAppID       uint64
	adminAccount   string
	authentication Authentication
	// tokens is a function because package fmt walks into every unexported field, past all methods that hide a secret, but
	// cannot look into a function.
	tokens           func() []Token
	rejectUnmatched  bool
	pruningSuspended bool
	groups           *groupIndex
	// records are those of its groups; nil where there are none.
	records map[string]groupRecords
}

func newCompiledApp(a *App) *CompiledApp {
	tokens := a.usableTokens()
	return &CompiledApp{
		object:           a.Object.comparable(),
		sdkAppID:         a.SDKAppID,
		adminAccount:     a.AdminAccount,
		authentication:   a.Authentication,
		tokens:           func() []Token { return tokens },
		rejectUnmatched:  a.RejectUnmatched,
		pruningSuspended: a.PruningSuspended,
	}
}

// usableTokens leaves out empty tokens, which must never verify anything.
func (a *App) usableTokens() []Token {
	var usable []Token
	for _, t := range a.Tokens {
		if t.Value != "" {
			usable = append(usable, t)
		}
	}
	return slices.Clip(usable)
}

// Object is the IMApp.
func (a *CompiledApp) Object() Object { return a.object }

// SDKAppID is the vendor's number of the app.
func (a *CompiledApp) SDKAppID() uint64 { return a.sdkAppID }

// AdminAccount is the identifier that REST calls are signed for.
func (a *CompiledApp) AdminAccount() string { return a.adminAccount }

// Authentication says how callbacks prove that they are the vendor's.
func (a *CompiledApp) Authentication() Authentication { return a.authentication }

// Tokens returns the tokens that verify a callback; none of them is empty. The slice is shared: do not change it.
func (a *CompiledApp) Tokens() []Token { return a.tokens() }

// PruningSuspended is the kill switch: nobody is removed from any group of the app.
func (a *CompiledApp) PruningSuspended() bool { return a.pruningSuspended }

func (a *App) fingerprint() fingerprint {
	var t transcript
	t.object(a.Object)
	t.number(int64(a.SDKAppID))
	t.text(a.AdminAccount)
	t.number(int64(a.Authentication))
	tokens := a.usableTokens()
	t.number(int64(len(tokens)))
	for _, token := range tokens {
		t.text(string(token.Name))
		t.text(token.Value.Reveal())
	}
	t.flag(a.RejectUnmatched)
	t.flag(a.PruningSuspended)
	t.flag(a.SecretFound)
	t.flag(a.SecretKeyPresent)
	return t.sum()
}
