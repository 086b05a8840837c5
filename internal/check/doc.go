// Package check looks at an installation as a person would who is asked whether it works: its definitions, rights,
// leader, replicas, apps and policies, the callback URL from outside, and the vendor's opinion of the credentials.
//
// A check that lacks a right says "not checked", and is a warning: it never counts as well.
package check
