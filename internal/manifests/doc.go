// Package manifests reads the objects that decide joins and prunes, from files or from a cluster, for the tools that
// answer questions about them.
package manifests
