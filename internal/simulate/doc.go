// Package simulate replays decisions against policies. A [Simulation] takes the decisions of logs and tables one by
// one, decides each of them again, and counts those that have another verdict; its [Report] says whom that concerns,
// and because of which policy. Its memory does not grow with the number of decisions.
package simulate
