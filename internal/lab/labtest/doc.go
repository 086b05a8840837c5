// Package labtest is what tests share that run a part of Groupgate in their own process, on a real API server and an
// emulated IM backend.
//
// The API server is one for all tests of a package; see Main. A World is a namespace of it, with one app, the emulated
// backend of that app, and a clock that the test moves. What the part reads and writes goes through the World's Client,
// which counts calls and lets a test act right before one of them.
package labtest
