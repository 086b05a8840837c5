// Package explain says in words who may join a group, and why; and who governs a group.
package explain
