// Package gitops tests config/gitops: what Argo CD and Flux make of the states of real objects. Its module keeps the
// Lua interpreter out of the product's dependencies.
package gitops
