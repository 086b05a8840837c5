// Package imrest calls the REST API of Tencent Cloud Chat.
//
// A Client makes the calls of one app, each in as many attempts as it takes, and a limiter spaces the attempts. A UserSig
// signs them. An Error carries the vendor's code, and the Class that says what can be done about it.
//
// The package is not named rest, because many files of an operator import client-go's package of that name.
package imrest
