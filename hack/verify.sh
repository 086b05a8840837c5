#!/usr/bin/env bash
# Checks that every go.mod is tidy, that generated files are up to date, that code and workflows pass the linters, that
# the binary can reach no known vulnerability, that the alerts fire when they should, and that every kustomization and
# the chart render. If all is in order, it changes nothing. It works without git, as in a source archive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

generated=(api/v1alpha1/zz_generated.deepcopy.go config/crd/bases docs/reference/api.md docs/schemas
  config/chart/groupgate/files)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

step() { printf '\n==> %s\n' "$*"; }
fail() { printf '\nverify: %s\n' "$*" >&2; exit 1; }
in_git() { git rev-parse --is-inside-work-tree >/dev/null 2>&1; }
status() { in_git && git status --porcelain || true; }
before=$(status)

step "go.mod files are tidy"
while read -r mod; do
  dir=$(dirname "$mod")
  go -C "$dir" mod tidy -diff || fail "$mod is not tidy: run 'make tidy' and commit the result"
done < <(find . -name go.mod -not -path './bin/*')

step "generated files are up to date"
for path in "${generated[@]}"; do
  [[ -e $path ]] || fail "$path is missing: run 'make generate' and commit the result"
  mkdir -p "$scratch/$(dirname "$path")"
  cp -R "$path" "$scratch/$path"
done
make --no-print-directory generate
for path in "${generated[@]}"; do
  diff -ru "$scratch/$path" "$path" || fail "$path was out of date; make generate has updated it: commit it"
done
if in_git && untracked=$(git ls-files --others --exclude-standard -- "${generated[@]}") && [[ -n $untracked ]]; then
  fail "generated but not committed: $untracked"
fi

step "the code passes the linters"
make --no-print-directory lint || fail "the linters report problems (see above); 'make fmt' fixes formatting"

step "the workflows of GitHub Actions are in order"
make --no-print-directory lint-workflows || fail "actionlint reports problems in .github/workflows (see above)"

step "no known vulnerability can be reached"
make --no-print-directory vulncheck || fail "the binary can reach a known vulnerability (see above): update the module"

step "the alerts fire when they should"
make --no-print-directory test-alerts || fail "an alert fires when it should not, or does not when it should"

step "every kustomization renders"
kubectl=$(make --no-print-directory control-plane)/kubectl
while read -r file; do
  dir=$(dirname "$file")
  if grep -q '^kind: Component' "$file"; then
    # A component cannot be rendered alone: include it in an overlay, as the docs do.
    mkdir -p "$scratch/overlay"
    printf 'resources: [%s]\ncomponents: [%s]\n' "$(realpath --relative-to="$scratch/overlay" config/default)" \
      "$(realpath --relative-to="$scratch/overlay" "$dir")" >"$scratch/overlay/kustomization.yaml"
    dir=$scratch/overlay
  fi
  "$kubectl" kustomize "$dir" >"$scratch/rendered.yaml" || fail "$dir does not render: see 'kubectl kustomize $dir'"
  printf '%s: %s objects\n' "${file%/*}" "$(grep -c '^kind:' "$scratch/rendered.yaml")"
done < <(find config -name kustomization.yaml | sort)

step "the chart renders what config does, for many values"
make --no-print-directory test-chart || fail "the chart is not in order (see above)"

step "the tree is unchanged"
after=$(status)
[[ $before == "$after" ]] || fail "verify itself changed the tree:"$'\n'"$(diff <(echo "$before") <(echo "$after"))"
echo "verified"
