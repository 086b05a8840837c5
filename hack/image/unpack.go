package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

// unpack writes the image of a platform into dir, which must be empty: its files below rootfs, and its configuration as
// config.json. The layers are laid over each other, so what a later one deletes is not there. Nothing is written
// outside of rootfs, whatever names and links the layers hold. Owners are not kept: all files belong to who unpacks.
func unpack(layoutDir string, platform v1.Platform, dir string) error {
	index, err := readLayout(layoutDir)
	if err != nil {
		return err
	}
	images, err := partial.FindImages(index, match.Platforms(platform))
	if err != nil {
		return fmt.Errorf("read %s: %w", layoutDir, err)
	}
	if len(images) != 1 {
		return fmt.Errorf("%s holds %d images for %s, want one", layoutDir, len(images), platform)
	}
	return unpackImage(images[0], dir)
}

func unpackImage(image v1.Image, dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name another folder", dir)
	}
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		return err
	}
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	layers := mutate.Extract(image)
	defer func() { _ = layers.Close() }()
	return untar(root, tar.NewReader(layers))
}

// untar writes what r holds below root. Entries come in any order: a file may come before its folder.
func untar(root *os.Root, r *tar.Reader) error {
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a layer: %w", err)
		}
		name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		if name == "" {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		mode := header.FileInfo().Mode() & fs.ModePerm
		switch header.Typeflag {
		case tar.TypeDir:
			if err = root.MkdirAll(name, mode); err == nil {
				err = root.Chmod(name, mode)
			}
		case tar.TypeReg:
			err = write(root, name, mode, r)
		case tar.TypeSymlink:
			err = root.Symlink(header.Linkname, name)
		case tar.TypeLink:
			err = root.Link(strings.TrimPrefix(path.Clean("/"+header.Linkname), "/"), name)
		default:
			err = fmt.Errorf("%s: entries of type %q are not supported", header.Name, header.Typeflag)
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
	}
}

func write(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
