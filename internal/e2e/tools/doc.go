// Package tools holds the end-to-end tests of the tools that people and pipelines run against a cluster: the built
// binary, by itself and as a plugin of kubectl, against a real API server.
package tools
