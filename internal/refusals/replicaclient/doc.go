// Package replicaclient asks every replica what it remembers of refusals and joins.
//
// Replicas are found at URLs, of which each host is resolved to all of its addresses, as those of a headless Service;
// or by their Pods, through the API server (port-forward). They recognise bearer tokens only.
//
// Over a URL, the certificate is verified with a CA file. Without one, nothing is sent but a token that is good for
// nothing but reading from replicas. A tunnel to a Pod is what the API server vouches for; the certificate at its end,
// which the manager signs itself, is not verified.
package replicaclient
