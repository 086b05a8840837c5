// Package replicas tells the leader which replicas run, and what each of them enforces.
//
// Every replica of a Deployment keeps a Lease with its report: up to which resourceVersion its published snapshot
// contains the events of each watch, and what the callbacks of each app looked like. Reporter writes it, Members reads
// those of all replicas, and Enforcement compares them with the version of an object that must have arrived.
//
// A Lease says that a replica may be answering callbacks, not that it is alive: a replica that is cut off from the API
// server goes on answering from its last snapshot. So a Lease counts until it is deleted: by its replica when that has
// stopped answering, or by the garbage collector when its Pod is gone. See ADR 9.
package replicas
