// Package webhookserver answers the callbacks of the IM backend over HTTP.
//
// One fact shapes everything here: the vendor fails open. A callback that is
// not answered within 2 s, or answered with an HTTP status other than 200,
// lets the user in (page 34354). So:
//
//   - every refusal that is meant is an HTTP 200 with a code: a decision, and
//     also an authenticated callback about a join whose body cannot be read;
//   - an HTTP error is given only to somebody who has not shown to be the
//     vendor, or who asks for nothing that a gate decides;
//   - the path of a request does no I/O, takes no lock that two connections
//     share, and works on one snapshot, loaded once, from its first byte to its
//     last;
//   - going away is done slowly: see [Server.Drain].
//
// A callback is looked at in this order: path, method, size, SdkAppid, Sign,
// body, command. What each step refuses stands with the step, in handler.go.
//
// The package speaks HTTP and nothing else. What a join deserves is decided by
// package policy, how the vendor spells it is known to package im, and what
// becomes of a full group is up to whoever implements [FullGroups].
package webhookserver
