// Package page tests what the page may do in a cluster, and what several users see of it, against a real API server and
// its audit log.
package page
