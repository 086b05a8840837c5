// Package browser tests the pages of `groupgate page` in Chromium, as people use them: processes of page and manager, a
// real API server, an emulated IM backend, and nothing faked but the clock of the pictures' history. Its module keeps
// the browser's protocol out of the product's dependencies.
package browser
