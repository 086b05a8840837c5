// Package app assembles one process of `groupgate manager`: the cache, the controllers, the callback server, the probes
// and the metrics.
//
// The command line, in-process tests and the benches all start a replica with New and Run, so that there is one
// assembly. Reading flags, choosing a log format and handling signals is left to them.
package app
