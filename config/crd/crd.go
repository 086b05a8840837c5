// Package crd embeds the CustomResourceDefinitions, so that tools and tests need no copy of the repository.
package crd

import "embed"

// FS holds the CustomResourceDefinitions as `make manifests` writes them: one YAML document per file in bases.
//
//go:embed bases/*.yaml
var FS embed.FS
