# `make` lists the targets. Anything longer than a few lines is a script in hack/.

SHELL := /usr/bin/env bash -o pipefail
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help

# The version of the binary and the image; "dev" in a source archive, which has no git.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The commit, for groupgate_build_info and the labels of the image; empty in a source archive.
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
# The image to build, push and deploy; the default is the one in config/manager.
IMG ?= groupgate:latest
# The image that releases name, by its digest.
RELEASE_IMAGE ?= ghcr.io/groupgate/groupgate
# The packages of `make test`, the slowest first, since two run side by side: make test PKG=./controllers/...
PKG ?= ./internal/pruning ./...
# Arguments of `make demo`: make demo DEMO_ARGS=--once
DEMO_ARGS ?=
# Arguments of `make drill`: make drill DRILL_ARGS="-drill.seed=42 -drill.scenarios=24" replays one episode.
DRILL_ARGS ?= -drill.scenarios=500
# Arguments of `make bench`: make bench BENCH_ARGS="-sections=path -rounds=9"; -docs updates docs/performance.md.
# What a replica withstands, 5 minutes, as root: make bench BENCH_ARGS=-sections=strangers
# The cost of pruning, about half an hour: make bench BENCH_ARGS=-sections=prune-latency,prune-memory,prune-week
BENCH_ARGS ?=
# Arguments of `make run`.
RUN_ARGS ?= --callback-insecure-http --metrics-secure=false --leader-election-namespace=default
# The kubectl of the deploy targets.
KUBECTL ?= $(or $(shell command -v kubectl),bin/k8s/kubectl)

CHART := config/chart/groupgate

# A module of its own that imports controllers/gatetest, as the tests of other projects do.
SUITE := controllers/gatetest/testdata/suite

# Tools are pinned in go.mod files of their own, so that they never change a dependency of the product.
CONTROL_PLANE := go -C hack/controlplane run .
# For tests that run Deployments: they build it, too, but a test should not wait minutes for a build.
CONTROLLERS := $(CONTROL_PLANE) -controllers -o ../../bin/controllers
ACTIONLINT := go tool -modfile=hack/tools/actionlint/go.mod actionlint
GOVULNCHECK := go tool -modfile=hack/tools/govulncheck/go.mod govulncheck
CONTROLLER_GEN := go tool -modfile=hack/tools/go.mod controller-gen
CRD_REF_DOCS := go tool -modfile=hack/tools/go.mod crd-ref-docs
GOLANGCI_LINT := go tool -modfile=hack/tools/golangci-lint/go.mod golangci-lint
HELM := go tool -modfile=hack/tools/helm/go.mod helm
# The tag leaves out service discovery, and with it the clients of two dozen clouds.
PROMTOOL := GOFLAGS=-tags=remove_all_sd go tool -modfile=hack/tools/promtool/go.mod promtool

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try

.PHONY: demo
demo: build ## Demonstrate all features on a local control plane, until Ctrl-C; DEMO_ARGS=--once exits at the end.
	go build -o bin/demo ./hack/demo
	@assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" exec bin/demo $(DEMO_ARGS)

.PHONY: run
run: build ## Run the manager locally against the cluster of the current kubeconfig; RUN_ARGS.
	exec bin/groupgate manager $(RUN_ARGS)

##@ Develop

.PHONY: build
build: ## Build bin/groupgate.
	CGO_ENABLED=0 go build $(PGO) -trimpath -buildvcs=false -o bin/groupgate \
	  -ldflags "-X main.version=$(VERSION) -X main.revision=$(REVISION)" .

.PHONY: test
test: ## Run all tests with the race detector against a real API server; PKG=./controllers/...
	go -C hack/controlplane test -race .
	go -C hack/bench test -race ./...
	$(CONTROLLERS) >/dev/null
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" go -C hack/image test -race -timeout=20m .
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" go -C $(SUITE) test -race .
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" go -C hack/gitops test -race .
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" GOFLAGS=-tags=remove_all_sd \
	  go -C hack/tools/promtool test ./dashboard
	hack/browser/install.sh || test "$$CI" != true
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" go -C hack/browser test -race -timeout=20m .
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" go test -race -timeout=20m $(PKG)

.PHONY: drill
drill: ## Run random scenarios of pruning with faults, kills and outages against a model; DRILL_ARGS.
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" \
	  go test -race -count=1 -timeout=2h -run=TestDrill -v ./internal/e2e/drill $(DRILL_ARGS)

# The profile of the image. Other targets leave it out, since it would recompile all packages.
bench: PGO = -pgo=$(CURDIR)/hack/callback.pgo
.PHONY: bench
bench: build ## Measure against peers and goals, and fail where a goal is missed; BENCH_ARGS=-sections=path.
	go -C hack/bench build -o ../../bin/bench/ . ./contender
	@assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" exec bin/bench/bench $(BENCH_ARGS)

.PHONY: callback-profile
callback-profile: ## Update hack/callback.pgo, the compiler profile of the image.
	$(MAKE) bench BENCH_ARGS="-sections=profile -round=4s -o bin/profile.json"
	cp bin/bench/callback.pgo hack/callback.pgo

.PHONY: microbench
microbench: ## Run the Go benchmarks of join decisions and callbacks.
	go test -run='^$$' -bench=. -benchmem ./internal/policy ./internal/im/callback ./webhookserver

.PHONY: fmt
fmt: ## Format the Go code.
	$(GOLANGCI_LINT) fmt

.PHONY: lint
lint: ## Run the linters, including the import rules.
	$(GOLANGCI_LINT) run
	cd hack/controlplane && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run --config=../../.golangci.yml .
	cd hack/gitops && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run --config=../../.golangci.yml ./...
	cd hack/bench && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run --config=../../.golangci.yml ./...
	cd hack/image && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run --config=../../.golangci.yml .
	cd hack/browser && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run --config=../../.golangci.yml .
	cd $(SUITE) && go tool -modfile=$(CURDIR)/hack/tools/golangci-lint/go.mod golangci-lint run \
	  --config=$(CURDIR)/.golangci.yml .

.PHONY: lint-workflows
lint-workflows: ## Check the workflows of GitHub Actions.
	$(ACTIONLINT) -shellcheck= -pyflakes= .github/workflows/*.yaml

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities that the binary can reach; says so where vuln.go.dev cannot be reached.
	@GOVULNCHECK="$(GOVULNCHECK)" hack/vulncheck.sh

.PHONY: page-pictures
page-pictures: ## Draw the pictures of docs/images/page anew, and all pages into bin/browser, in Chromium.
	hack/browser/install.sh
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" \
	  go -C hack/browser test -count=1 -timeout=20m -run=TestPictures . -update

.PHONY: dashboard-picture
dashboard-picture: ## Record two replicas for 12 minutes, and draw docs/images/dashboard.svg from it.
	@mkdir -p bin/scrapes && rm -f bin/scrapes/*.txt
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" \
	  go run ./hack/record --dir=bin/scrapes --for=12m --interval=5s
	GOFLAGS=-tags=remove_all_sd go -C hack/tools/promtool run ./dashboard --scrapes=../../../bin/scrapes \
	  --svg=../../../docs/images/dashboard.svg

.PHONY: test-alerts
test-alerts: ## Test the alerts of config/prometheus.
	@mkdir -p bin/alerts
	sed '1,/^spec:/d; s/^  //' config/prometheus/alerts.yaml >bin/alerts/alerts.rules.yaml
	cp config/prometheus/alerts_test.yaml bin/alerts/
	$(PROMTOOL) check rules bin/alerts/alerts.rules.yaml
	$(PROMTOOL) test rules bin/alerts/alerts_test.yaml

.PHONY: test-chart
test-chart: ## Lint and render the chart with many values, and compare it with config.
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" go test -race -timeout=20m ./config/chart

.PHONY: verify
verify: ## Check generated files, go.mod files, lint, alerts and kustomizations, as CI does.
	hack/verify.sh

.PHONY: control-plane
control-plane: ## Build kube-apiserver, etcd and kubectl if missing, and print their directory.
	@$(CONTROL_PLANE)

##@ Generate

.PHONY: generate
generate: manifests api-reference schemas chart-files ## Regenerate all generated files.
	$(CONTROLLER_GEN) object paths=./api/...

.PHONY: tidy
tidy: ## Update go.mod and go.sum of every module, after a dependency of any of them changed.
	find . -name go.mod -not -path './bin/*' -printf '%h\n' | while read -r dir; do go -C "$$dir" mod tidy; done

.PHONY: manifests
manifests: ## Regenerate the CustomResourceDefinitions.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases

.PHONY: schemas
schemas: manifests ## Regenerate docs/schemas.
	go run . schema --dir docs/schemas

# What the chart takes from config unchanged: a chart contains only what is in its folder.
.PHONY: chart-files
chart-files: manifests ## Copy objects of config into the chart.
	rm -rf $(CHART)/files
	mkdir -p $(addprefix $(CHART)/files/,crds rbac cluster-wide manager admission decisions page prometheus)
	cp config/crd/bases/*.yaml $(CHART)/files/crds
	cp config/rbac/service_account.yaml config/rbac/*_role.yaml $(CHART)/files/rbac
	cp config/cluster-wide/manager_binding.yaml $(CHART)/files/cluster-wide
	cp config/manager/pdb.yaml config/manager/quota.yaml $(CHART)/files/manager
	cp config/admission/guards.yaml config/admission/replicas.yaml config/admission/warnings.yaml $(CHART)/files/admission
	cp config/admission/decisions/policy.yaml config/admission/decisions/reader_role.yaml $(CHART)/files/decisions
	cp $(addprefix config/page/base/,service_account.yaml impersonator_role.yaml page_role.yaml services.yaml) $(CHART)/files/page
	cp config/prometheus/alerts.yaml $(wildcard config/prometheus/dashboard.json) $(CHART)/files/prometheus

.PHONY: api-reference
api-reference: ## Regenerate docs/reference/api.md.
	@mkdir -p docs/reference
	$(CRD_REF_DOCS) --log-level=ERROR --config=hack/api-reference.yaml --source-path=api --renderer=markdown \
	  --output-path=docs/reference/api.md

##@ Deploy

.PHONY: install
install: ## Install the CustomResourceDefinitions into the cluster of the current kubeconfig.
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: ## Delete the CustomResourceDefinitions, and with them all objects of these kinds.
	$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: ## Deploy the image IMG with config/default.
	IMG="$(IMG)" KUBECTL="$(KUBECTL)" hack/render.sh config/default | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Delete what deploy created, except policies (see uninstall) and the watched namespaces.
	$(KUBECTL) delete --ignore-not-found -k config/default -l app.kubernetes.io/name=groupgate

##@ Release

.PHONY: image
image: ## Build the image for amd64 and arm64 into dist/image, without a container engine, and print its digest.
	go -C hack/image run . build -version "$(VERSION)" -revision "$(REVISION)"

.PHONY: image-push
image-push: ## Push dist/image as IMG, with the credentials of docker login.
	go -C hack/image run . push "$(IMG)"

.PHONY: licences
licences: ## List the licences of all that is linked into the binary, and fail for one that asks for more than its text.
	go -C hack/image run . licences

.PHONY: chart-push
chart-push: ## Push the packages of the chart in dist to CHARTS, such as oci://ghcr.io/groupgate/charts, after docker login.
	for package in dist/groupgate-*.tgz; do $(HELM) push "$$package" "$(CHARTS)"; done

.PHONY: release
release: ## Build all files of the release VERSION into dist; RELEASE_IMAGE is the image's name without a tag.
	VERSION="$(VERSION)" IMAGE="$(RELEASE_IMAGE)" hack/release.sh

.PHONY: release-dry-run
release-dry-run: ## Build what the release workflow builds, under the version v0.0.0-dry-run.
	$(MAKE) --no-print-directory release VERSION=v0.0.0-dry-run

.PHONY: docker-build
docker-build: ## Build the image IMG for this machine.
	docker build --build-arg VERSION="$(VERSION)" --build-arg REVISION="$(REVISION)" --tag "$(IMG)" .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	docker push "$(IMG)"

.PHONY: docker-buildx
docker-buildx: ## Build and push IMG for amd64 and arm64, with SBOM and provenance.
	docker buildx build --platform=linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
	  --build-arg VERSION="$(VERSION)" --build-arg REVISION="$(REVISION)" --tag "$(IMG)" --push .

.PHONY: plugin
plugin: ## Build the kubectl plugin for all platforms, and its krew manifest, into dist.
	VERSION="$(VERSION)" DIST=dist hack/plugin.sh

.PHONY: install-yaml
install-yaml: ## Render config/default with the image IMG into dist/install.yaml.
	@mkdir -p dist
	assets="$$($(CONTROL_PLANE))" && \
	  IMG="$(IMG)" KUBECTL="$$assets/kubectl" hack/render.sh config/default > dist/install.yaml

# A version without a tag is no SemVer, which charts need: it becomes a prerelease of 0.0.0.
.PHONY: chart
chart: CHART_VERSION = $(if $(filter v%,$(VERSION)),$(VERSION:v%=%),0.0.0-g$(VERSION))
chart: ## Package the chart into dist, with VERSION as its version and that of the image.
	$(HELM) package $(CHART) --version="$(CHART_VERSION)" --app-version="$(VERSION)" --destination=dist
