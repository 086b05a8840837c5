// Package replicaclient asks every replica what it remembers of refusals and joins.
package replicaclient

// Answer is what all replicas said: one T for each that answered, and a Problem for each that did not. Where both are
// needed to say that nothing happened, the absence of Problems counts: a replica that is not known may have refused.
type Answer[T any] struct {
	Replicas []T       `json:"replicas"`
	Problems []Problem `json:"problems,omitempty"`
}

// Problem says what is missing in an Answer.
type Problem struct {
	// Replica is the Pod or the address that did not answer; empty if no replica could be found.
	Replica string `json:"replica,omitempty"`
	// Message is a sentence that says why, and what to do.
	Message string `json:"message"`
}
