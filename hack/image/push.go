package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push copies the layout to a registry, with the credentials of `docker login`, and returns the name with the digest.
func push(ctx context.Context, layoutDir, image string) (string, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", image, err)
	}
	// Without a registry in the name, the image would go to Docker Hub.
	host, _, ok := strings.Cut(image, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return "", fmt.Errorf("image %q names no registry: say for example registry.example.com/%[1]s", image)
	}
	index, err := readLayout(layoutDir)
	if err != nil {
		return "", err
	}
	digest, err := index.Digest()
	if err != nil {
		return "", fmt.Errorf("compute the digest: %w", err)
	}
	keychain := remote.WithAuthFromKeychain(authn.DefaultKeychain)
	if err := remote.WriteIndex(ref, index, keychain, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("push to %s: %w", ref, err)
	}
	return ref.Context().Digest(digest.String()).String(), nil
}
