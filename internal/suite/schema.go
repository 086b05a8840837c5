package suite

import _ "embed" // the schema

// Schema is the JSON schema of a file of tests.
//
//go:embed test_v1alpha1.json
var Schema []byte
