#!/usr/bin/env bash
# Builds the kubectl plugin for each platform of config/krew/groupgate.yaml, as archives in DIST, and fills in that
# manifest: DIST/groupgate.yaml. The same source makes the same archives. usage: VERSION=v1.2.3 DIST=dist hack/plugin.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

template=config/krew/groupgate.yaml
[[ ${VERSION:?} =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || {
  echo "plugin: VERSION is $VERSION: krew takes versions such as v1.2.3" >&2
  exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "${DIST:?}"
manifest=$scratch/groupgate.yaml
sed "s|VERSION|$VERSION|" "$template" >"$manifest"

while IFS=_ read -r _ os arch; do
  folder=$scratch/${os}_$arch
  archive=$DIST/kubectl-groupgate_${os}_$arch.tar.gz
  binary=kubectl-groupgate
  [[ $os != windows ]] || binary+=.exe
  mkdir "$folder"
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=$VERSION" -o "$folder/$binary" .
  cp LICENSE "$folder"
  tar -C "$folder" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -c . | gzip -n >"$archive"
  sum=$(sha256sum "$archive")
  sed -i "s|SHA256_${os}_$arch\$|${sum%% *}|" "$manifest"
done < <(grep -o 'SHA256_[a-z0-9]*_[a-z0-9]*$' "$template")
mv "$manifest" "$DIST/groupgate.yaml"
