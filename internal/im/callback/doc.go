// Package callback reads the callbacks that Tencent Cloud Chat sends, and writes their answers.
//
// A callback is a signed query (Query, VerifySign) and a JSON body (Parse), answered with an Answer. Its Command says
// what happened. "Before" commands ask: the answer decides whether a user may join, and without one the user may.
package callback
