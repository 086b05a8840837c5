// Package notices tells people outside the cluster that a plan awaits approval: a webhook by a signed CloudEvent, and a
// group of the app by a message in plain words. A notice names the group and numbers, and never an account.
//
// A notice is made once, and may be lost: a receiver that gets it twice would not know whether there are two plans. So
// the caller records that a notice is under way before Send, and sends it again only if it certainly has not arrived:
// NotSent.
package notices
