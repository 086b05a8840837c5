// Package docs holds the test that runs the commands of the pages of documentation, page by page, against a real API
// server, a manager process and the emulator, as a reader would. CONTRIBUTING.md says how pages are written for it.
package docs
