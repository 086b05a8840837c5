// Package page is the page for people who look rather than read: server-rendered HTML about gates, runs and refusals,
// and forms to decide about a run.
//
// A visit is one request of a viewer. Everything that it shows is read for it, and with the viewer's own rights: the
// page has none, and keeps nothing between two visits. See ADR 15.
package page
