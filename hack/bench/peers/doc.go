// Package peers holds what Groupgate is measured against: the HTTP server alone, and what a team would write instead.
// All of them answer the same callbacks from the same data, over an HTTP server with Groupgate's timeouts.
package peers
