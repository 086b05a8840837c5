// Package chart tests the Helm chart in the folder groupgate: what it renders from the value sets in testdata/values,
// and that it refuses those in testdata/wrong.
package chart
