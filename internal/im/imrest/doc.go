// Package imrest calls the REST API of Tencent Cloud Chat.
//
// Client makes the calls of one app. A UserSig signs them, a Region selects the host, an Error carries the vendor's code and the Class
// that says what can be done about it. The package is not called rest, since an importer may need that of client-go, too.
package imrest
