// Package convert is the only translation between the API and the pure core: objects become the policy package's input, and its
// verdicts become conditions.
//
// It is pure. Objects are taken as they are stored: one that was written under an older schema may lack a default or hold a value that
// today's schema rules out. A missing value gets the default that the field's documentation names. A value that cannot be read makes
// the policy invalid, with a text that names the field and what to change, and is replaced by what does the least harm:
// a gate stays shut, and a rule removes nobody.
package convert
