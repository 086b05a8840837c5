// Package lab puts Groupgate together on one machine, out of real parts: a kube-apiserver and an etcd, the manager and the
// emulator as processes, and a wire between the two that can be cut. The demo tells its story in it, and the end-to-end tests
// break things in it. The product itself does not import it.
package lab
