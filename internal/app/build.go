package app

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// Build says what the process was built from. What is not known is empty.
type Build struct {
	// Version is a tag, such as v1.2.3, or what `git describe` says.
	Version string
	// Revision is a commit.
	Revision string
}

// collector is groupgate_build_info.
func (b Build) collector() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "groupgate_build_info",
		Help: "1, with the version, the Go version and the commit that this process was built from.",
		ConstLabels: prometheus.Labels{
			"version": b.Version, "goversion": runtime.Version(), "revision": b.Revision,
		},
	}, func() float64 { return 1 })
}
