//go:build !race

package webhookserver

const lossyPools = false
