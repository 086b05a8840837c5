// Package webhookserver answers the callbacks of the IM backend over HTTP.
//
// The vendor fails open: a callback that is not answered within 2 s, or answered with an HTTP status other than 200,
// lets the user in (page 34354). Therefore:
//
//   - every intended refusal is an HTTP 200 with a code: a decision, and also the answer to an authenticated callback
//     about a join whose body cannot be read, contradicts its query, or is too large;
//   - an HTTP error is only given to a client that has not proved to be the vendor, and for a callback that no gate
//     decides;
//   - the path of a join does no I/O and works on one snapshot, loaded once; on a verified connection it takes no lock
//     shared by two connections, except for the copy of a decision into the queue of the decision log;
//   - strangers can use up neither the connections, nor the memory, nor the processors: connections.go, handshakes.go
//     and the budgets of bodies in exchange.go bound what they get;
//   - the server leaves slowly: see [Server.Drain].
//
// A callback is checked in this order: path, method, size, snapshot, SdkAppid, Sign, body, command. handler.go shows
// what each step refuses.
//
// The package knows HTTP only. Package policy decides joins, package callback knows the vendor's spellings, and an
// implementation of [FullGroups] acts on full groups.
package webhookserver
