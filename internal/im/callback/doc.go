// Package callback reads the callbacks that Tencent Cloud Chat sends, and writes their answers.
//
// A callback is a signed query (Query, VerifySign) and a JSON body (Parse), answered with an Answer. A callback is called
// "before" when its answer decides whether a user gets in.
package callback
