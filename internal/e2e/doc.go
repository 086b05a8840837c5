// Package e2e holds the end-to-end tests: real manager processes, as a user bound to the shipped roles, against a real
// API server and an emulated IM backend. What can be shown with less is tested in the package that it concerns.
package e2e
