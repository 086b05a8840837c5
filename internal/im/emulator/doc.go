// Package emulator is an IM backend that runs on a laptop: Tencent Cloud Chat as an app server sees it, in memory, on
// loopback. It serves developers who want to see Groupgate work, and tests that need a vendor whose failures they
// control.
//
// One http.Handler serves two APIs:
//
//   - /v4/group_open_http_svc/... is the vendor's REST API. It verifies UserSigs, enforces limits and batch sizes, and
//     reports errors as codes inside HTTP 200. The wire format is written down here a second time on purpose, and
//     shares no type with the REST client or the callback parser: a mistake in one of the two must not be cancelled out
//     by the same mistake in the other.
//   - /emulator/... is the control API, which the vendor does not have: it creates groups, acts as a client, moves the
//     clock, injects faults, and lists the recorded calls and callbacks. Client is the same API in Go.
//
// As the vendor does, the emulator sends callbacks, waits 2 seconds for the answer, and lets the user in when none
// comes.
//
// Vocabulary:
//
//   - An app is what the vendor identifies by an SDKAppID: admins, a secret key, a callback URL with its token, and
//     groups.
//   - A roster is the member list of one group in the order of joining.
//   - An origin is the account that causes something, with its platform and address; callbacks carry it.
//   - A before-callback is sent before an action, and its verdict allows or refuses the action. An after-callback
//     reports an action; the outbox sends it in the background, so that the action does not wait for it.
//   - A fault is a rule that makes calls or callbacks fail.
//
// Where the vendor's documentation is silent, the emulator takes the interpretation that is hardest on the app backend,
// and the comment at that place says so.
package emulator
