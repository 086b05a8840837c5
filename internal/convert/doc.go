// Package convert is the only translation between the API and the pure core: objects become the input of package
// policy, and its verdicts become conditions. It also packs the objects that informers cache, and reads the packed
// ones.
//
// It is pure. Objects may have been stored under an older schema, without a default or with a value that today's schema
// rules out. A missing value gets the default that the field's documentation names. A value that cannot be read makes
// the policy invalid, with a text that names the field and what to change, and is replaced by the least harmful one: a
// gate stays shut, and a rule removes no member. Bounds are not checked here, but in package policy.
package convert
