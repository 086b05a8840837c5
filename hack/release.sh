#!/usr/bin/env bash
# Builds all files of a release into DIST, without a network once the modules are there: the image as an OCI layout, the
# chart, install.yaml with the digest of the image, the kubectl plugin for all platforms with its krew manifest, the
# JSON schemas, and checksums. usage: VERSION=v1.2.3 IMAGE=ghcr.io/groupgate/groupgate hack/release.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ ${VERSION:?} =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || {
  echo "release: VERSION is $VERSION: want a version such as v1.2.3" >&2
  exit 1
}
[[ ${IMAGE:?} == */* ]] || {
  echo "release: IMAGE is $IMAGE: want a name with a registry, without a tag, such as ghcr.io/groupgate/groupgate" >&2
  exit 1
}
rm -rf dist
mkdir -p dist
make --no-print-directory image VERSION="$VERSION" | tee dist/image.txt
digest=$(sed -n '/^sha256:[0-9a-f]\{64\}$/{p;q}' dist/image.txt)
echo "${digest:?}" >dist/digest
rm dist/image.txt
make --no-print-directory install-yaml IMG="$IMAGE:$VERSION@$digest"
make --no-print-directory plugin chart VERSION="$VERSION"
tar -C docs --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -c schemas | gzip -n >dist/schemas.tar.gz
cd dist
sha256sum install.yaml groupgate.yaml ./*.tgz ./*.tar.gz >checksums.txt
echo
echo "dist holds the release $VERSION:"
ls
