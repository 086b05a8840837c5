// Package overview answers whether the gate of each app is closed, for people who look.
//
// A gate is Closed only if everything that is asked says so: the conditions of the IMApp and its policies, for the
// generation that there is, and the activity of every replica. Whatever is not known makes it Unknown, and says why.
package overview
