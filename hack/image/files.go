package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// file is a regular file of the image, which belongs to root.
type file struct {
	name    string // without the leading slash
	content []byte
	mode    int64
}

// baseFiles are those besides the binary and the licences.
func baseFiles() ([]file, error) {
	roots, err := rootCertificates()
	if err != nil {
		return nil, err
	}
	return []file{
		{"etc/passwd", []byte("root:x:0:0:root:/root:/sbin/nologin\n" +
			"nonroot:x:" + user + ":" + user + ":nonroot:/:/sbin/nologin\n"), 0o644},
		{"etc/group", []byte("root:x:0:\nnonroot:x:" + user + ":\n"), 0o644},
		{"etc/ssl/certs/ca-certificates.crt", roots, 0o644},
	}, nil
}

// rootCertificates are Mozilla's, as a file. They come from a module, so that the digest depends on no machine.
// Imported by the product, the same module would make the binary larger and slower to start, and could not be replaced:
// a mounted file, or SSL_CERT_FILE, can. A root that Mozilla trusts only up to a date is left out, since a file cannot
// say so.
func rootCertificates() ([]byte, error) {
	var file bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return file.Bytes(), nil
}

// layer is a layer with files and the folders above them.
func (r *recipe) layer(files []file) (v1.Layer, error) {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, folder := range folders(files) {
		header := tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, ModTime: r.created}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		header := tar.Header{
			Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, ModTime: r.created, Size: int64(len(f.content)),
		}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil }
	return tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// folders are those above files, each before what it holds.
func folders(files []file) []string {
	var all []string
	for _, f := range files {
		for folder := path.Dir(f.name); folder != "."; folder = path.Dir(folder) {
			all = append(all, folder)
		}
	}
	slices.SortFunc(all, strings.Compare)
	return slices.Compact(all)
}
