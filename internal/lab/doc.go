// Package lab runs Groupgate on one machine out of real parts. The product does not import it; the demo, the benchmark
// and the tests do.
//
// A ControlPlane is a kube-apiserver with its etcd, a Cluster what the tests of a package share of it. A World is a
// namespace with apps, policies and the rights of the manager. A Manager is a process that serves it, a Backend the IM
// backend that it calls (an Emulator is that as a process of its own), and a Wire a connection to the API server that
// can be cut. Manifests, credentials, flags and signed callbacks of tests are written here, once.
package lab
