// Package imclients keeps one REST client of the IM backend per IMApp.
//
// All calls for an app share one client, and so one rate limiter and one pause, whichever part of the process makes
// them. A client lives as long as its IMApp; an edit of the app or of its Secret changes it in place. How the calls of
// an app fare is its reachability, which becomes the condition VendorReachable.
package imclients
