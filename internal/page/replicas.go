package page

// Replicas answer for what they remember: refusals, and how many joins were admitted and refused.
type Replicas interface{}
