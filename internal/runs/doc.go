// Package runs is what people do with PruneRuns from a command line: it shows runs and their plans in the words of
// those who manage a community, finds the run that is meant by a group, and sends a decision about exactly what was
// shown.
package runs
