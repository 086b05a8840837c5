#!/usr/bin/env bash
# Prints a kustomization with the image IMG in place of groupgate:latest, which config/manager names.
# usage: IMG=registry.example.com/groupgate:v1 KUBECTL=kubectl hack/render.sh config/default
set -euo pipefail

"${KUBECTL:?}" kustomize "${1:?}" | sed "s|image: groupgate:latest$|image: ${IMG:?}|"
