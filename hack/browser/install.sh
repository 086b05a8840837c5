#!/usr/bin/env bash
# Installs what the tests of this folder need and the machine lacks: Chromium and a Chinese font as Debian has them, with
# apt-get, and axe-core of npm's registry into bin/browser. Does nothing where all of it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

axe=4.14.1
axe_sha256=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745 # of its package

packages=()
command -v chromium google-chrome chromium-browser >/dev/null || packages+=(chromium)
[[ -n $(fc-list :lang=zh-cn 2>/dev/null) ]] || packages+=(fontconfig fonts-noto-cjk)
if ((${#packages[@]})); then
  install="apt-get install --yes --no-install-recommends ${packages[*]}"
  as=()
  if [[ $(id -u) != 0 ]]; then
    # Only CI may become root on its own.
    if [[ ${CI:-} != true ]]; then
      echo "hack/browser: the tests in a browser need ${packages[*]}: run 'sudo $install', or the like of your system" >&2
      exit 1
    fi
    as=(sudo)
  fi
  "${as[@]}" apt-get update
  DEBIAN_FRONTEND=noninteractive "${as[@]}" $install
fi

if ! [[ -e bin/browser/axe-$axe.js ]]; then
  mkdir -p bin/browser
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  registry=${npm_config_registry:-https://registry.npmjs.org}
  curl --fail --silent --show-error --location --retry 3 --output "$scratch/axe.tgz" \
    "${registry%/}/axe-core/-/axe-core-$axe.tgz"
  echo "$axe_sha256  $scratch/axe.tgz" | sha256sum --check --quiet
  tar -xzf "$scratch/axe.tgz" -C "$scratch" package/axe.min.js
  mv "$scratch/package/axe.min.js" "bin/browser/axe-$axe.js"
fi
