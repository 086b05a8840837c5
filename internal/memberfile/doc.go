// Package memberfile reads the members of a group from files: as tests list them, or as the vendor does.
package memberfile
