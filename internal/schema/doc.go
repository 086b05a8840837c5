// Package schema validates objects as the API server would, without one: by the CustomResourceDefinitions that the
// binary embeds and the code of the API server.
package schema
