// Package lint says what is wrong with manifests before they reach a cluster: why the API server would refuse them, why
// the operator would not accept them, and what they do otherwise than they seem to say.
package lint
