// Package decisionlog writes what the callback server decides, one line of JSON for each account, and reads such lines.
//
// A [Decision] is what one line says. A [Log] takes decisions from any number of callbacks into a bounded queue, which
// one goroutine encodes and writes; a callback never waits for the output: where the queue is full, the decision is
// dropped and counted. The same goroutine passes refusals to those who keep them in memory, also where nothing is
// written. An [Accounts] says how accounts are written: as they are, or as a keyed hash.
package decisionlog
