// Package im speaks the wire protocol of Tencent Cloud Chat, and is the only place with that vendor's spellings.
//
// Its two halves mirror the two directions of the wire:
//
//   - What the vendor sends: a callback is a signed query (Query, VerifySign) and a JSON body (ParseCallback), answered
//     with an Answer. A callback is called "before" when its answer decides whether a user gets in.
//   - What the vendor serves: Client calls the REST API of one app. A UserSig signs the calls, a Region selects the host,
//     an Error carries the vendor's code and the Class that says what can be done about it.
//
// "Page N" in comments is the page of the vendor's documentation, https://www.tencentcloud.com/document/product/1047/N.
package im
