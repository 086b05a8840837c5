#!/usr/bin/env bash
# Renders a kustomization with the image IMG instead of groupgate:latest, the image in config/manager. usage:
# IMG=registry.example.com/groupgate:v1 KUBECTL=kubectl hack/render.sh config/default
set -euo pipefail

"${KUBECTL:?}" kustomize "${1:?}" | sed "s|image: groupgate:latest$|image: ${IMG:?}|"
