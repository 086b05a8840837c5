// Package suite runs the tests of manifests: it checks them, and asks what the files groupgate-test.yaml beside them
// expect of joins, prunes and evictions. The answers come from the code that decides in the cluster.
package suite
