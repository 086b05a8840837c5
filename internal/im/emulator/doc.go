// Package emulator is an IM backend that one can run: Tencent Cloud Chat as an app server sees it, in memory, on loopback.
// It is for developers who want to watch Groupgate at work on a laptop, and for tests that need a vendor they can torment.
//
// It has two faces, both served by one http.Handler:
//
//   - /v4/group_open_http_svc/..., the REST API of the vendor: a UserSig is verified, limits and batch sizes are enforced, and errors are
//     codes inside HTTP 200. The wire format is written down here a second time on purpose and shares no type with package im: a
//     mistake in one of the two must not be cancelled out by the same mistake in the other.
//   - /emulator/..., the control API, which the vendor does not have: make groups, act as a client, move the clock, inject faults, and
//     read back what was called and what was answered. Client is the same in Go.
//
// In between it does what makes the vendor hard to live with: it sends callbacks, waits 2 seconds for an answer, and lets the
// user in when none comes.
//
// The words used here:
//
//   - An app is what the vendor knows as an SDKAppID: admins, a secret key, a callback URL with its token, and groups.
//   - A roster is the member list of one group in the order of joining.
//   - An origin is who causes something, from which platform and address; callbacks carry it.
//   - A before-callback asks, and its verdict decides; an after-callback tells, and waits in the outbox so that nobody waits for it.
//   - A fault is a rule that spoils calls or callbacks.
//
// Where the vendor's documentation is silent, the emulator takes the reading that is hardest on the app backend, and the comment at that
// place says so.
package emulator
