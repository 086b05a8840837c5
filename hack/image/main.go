// Command image builds, pushes and unpacks the container image of Groupgate without a container engine: a static
// binary, root certificates, an unprivileged user and the licences, for amd64 and arm64, as an OCI layout. The same
// sources and the same Go make the same digest on every machine.
//
//	image build   [-o dist/image] [-version v1.2.3] [-revision COMMIT] [-platforms linux/amd64,linux/arm64]
//	image push    [-layout dist/image] registry.example.com/groupgate:v1.2.3
//	image unpack  [-layout dist/image] DIR
//	image licences
//
// It is a module of its own, so that a library for registries never becomes a dependency of the product.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const usage = "usage: image build|push|unpack|licences [flags]; -h after a command lists its flags"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet("image "+args[0], flag.ContinueOnError)
	source := flags.String("source", filepath.Join("..", ".."), "top folder of Groupgate's sources")
	switch command, rest := args[0], args[1:]; command {
	case "build":
		return buildCommand(ctx, out, flags, source, rest)
	case "push":
		return pushCommand(ctx, out, flags, rest)
	case "unpack":
		return unpackCommand(flags, rest)
	case "licences":
		if err := parse(flags, rest, 0, ""); err != nil {
			return err
		}
		return listLicences(ctx, out, *source)
	default:
		return fmt.Errorf("unknown command %q; %s", command, usage)
	}
}

func buildCommand(ctx context.Context, out io.Writer, flags *flag.FlagSet, source *string, args []string) error {
	layoutDir := layoutFlag(flags, "o")
	version := flags.String("version", "dev", "version of the binary, and of the image's labels")
	revision := flags.String("revision", "", "commit of the image's labels; none if it is not known")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "platforms, with commas")
	if err := parse(flags, args, 0, ""); err != nil {
		return err
	}
	created, err := sourceDate()
	if err != nil {
		return err
	}
	r := recipe{source: *source, version: *version, revision: *revision, created: created}
	for platform := range strings.SplitSeq(*platforms, ",") {
		p, err := v1.ParsePlatform(platform)
		if err != nil || p.OS != "linux" || p.Architecture == "" {
			return fmt.Errorf("platform %q: want linux/ARCHITECTURE, for example linux/amd64", platform)
		}
		r.platforms = append(r.platforms, *p)
	}
	index, err := r.build(ctx)
	if err != nil {
		return err
	}
	if err := writeLayout(*layoutDir, index); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("compute the digest: %w", err)
	}
	_, err = fmt.Fprintf(out, `%s

An OCI layout of Groupgate %s for %s is in %s. Push it with one of
  make image-push IMG=registry.example.com/groupgate:%[2]s
  crane push %[4]s registry.example.com/groupgate:%[2]s
  skopeo copy --all oci:%[4]s docker://registry.example.com/groupgate:%[2]s
and install it by its digest, registry.example.com/groupgate@%[1]s
`, digest, *version, strings.ReplaceAll(*platforms, ",", " and "), shown(*layoutDir))
	return err
}

func pushCommand(ctx context.Context, out io.Writer, flags *flag.FlagSet, args []string) error {
	layoutDir := layoutFlag(flags, "layout")
	if err := parse(flags, args, 1, "the name of an image, such as registry.example.com/groupgate:v1"); err != nil {
		return err
	}
	pushed, err := push(ctx, *layoutDir, flags.Arg(0))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, pushed)
	return err
}

func unpackCommand(flags *flag.FlagSet, args []string) error {
	layoutDir := layoutFlag(flags, "layout")
	platform := flags.String("platform", "linux/"+runtime.GOARCH, "platform")
	if err := parse(flags, args, 1, "the folder to unpack into"); err != nil {
		return err
	}
	p, err := v1.ParsePlatform(*platform)
	if err != nil {
		return fmt.Errorf("platform %q: %w", *platform, err)
	}
	return unpack(*layoutDir, *p, flags.Arg(0))
}

func layoutFlag(flags *flag.FlagSet, name string) *string {
	return flags.String(name, filepath.Join("..", "..", "dist", "image"), "folder of the OCI layout")
}

// parse wants that many arguments besides flags.
func parse(flags *flag.FlagSet, args []string, want int, what string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() < want:
		return fmt.Errorf("%s wants %s", flags.Name(), what)
	case flags.NArg() > want:
		return fmt.Errorf("%s: unknown argument %q; flags come before arguments", flags.Name(), flags.Arg(want))
	}
	return nil
}

// sourceDate is the time of all files in the image, and of its creation: SOURCE_DATE_EPOCH, or 1970. The time of the
// build would make every digest another one.
func sourceDate() (time.Time, error) {
	value := os.Getenv("SOURCE_DATE_EPOCH")
	if value == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q: want seconds since 1970", value)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// shown is dir as a person in the top folder would write it.
func shown(dir string) string {
	if rest, ok := strings.CutPrefix(filepath.ToSlash(dir), "../../"); ok {
		return rest
	}
	return dir
}
