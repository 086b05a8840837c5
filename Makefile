# `make` prints what there is. Anything longer than two lines lives in hack/.

SHELL := /usr/bin/env bash -o pipefail
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help

# What the binary and the image call themselves. A source archive has no git: then it is "dev".
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The image that is built, pushed and deployed; by default the one that config/manager names.
IMG ?= groupgate:latest
# What `make test` covers: make test PKG=./controllers/...
PKG ?= ./...
# Arguments of `make demo`: make demo DEMO_ARGS=--once
DEMO_ARGS ?=
# Arguments of `make drill`: make drill DRILL_ARGS="-drill.seed=42 -drill.scenarios=24" replays one episode.
DRILL_ARGS ?= -drill.scenarios=500
# Arguments of `make bench`: make bench BENCH_ARGS="-sections=path,latency -rounds=9"; -docs writes docs/performance.md.
# What pruning costs, about half an hour: BENCH_ARGS=-sections=prune-latency,prune-memory,prune-week
BENCH_ARGS ?=
# Arguments of `make run`.
RUN_ARGS ?= --callback-insecure-http --metrics-secure=false --leader-election-namespace=default
# The kubectl of `make install` and its like.
KUBECTL ?= $(or $(shell command -v kubectl),bin/k8s/kubectl)

# Tools are pinned in go.mod files of their own, so that they never move a dependency of the product.
CONTROL_PLANE := go -C hack/controlplane run .
CONTROLLER_GEN := go tool -modfile=hack/tools/go.mod controller-gen
CRD_REF_DOCS := go tool -modfile=hack/tools/go.mod crd-ref-docs
GOLANGCI_LINT := go tool -modfile=hack/tools/golangci-lint/go.mod golangci-lint

.PHONY: help
help: ## Print this.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try

.PHONY: demo
demo: build ## Show the whole story on a local control plane; until Ctrl-C, or DEMO_ARGS=--once.
	go build -o bin/demo ./hack/demo
	@assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" exec bin/demo $(DEMO_ARGS)

.PHONY: run
run: build ## Run the manager here against the cluster of the current kubeconfig; RUN_ARGS.
	exec bin/groupgate manager $(RUN_ARGS)

##@ Develop

.PHONY: build
build: ## Build bin/groupgate.
	CGO_ENABLED=0 go build $(PGO) -trimpath -buildvcs=false -ldflags "-X main.version=$(VERSION)" -o bin/groupgate .

.PHONY: test
test: ## Run all tests with the race detector against a real API server; PKG=./controllers/...
	go -C hack/controlplane test -race .
	go -C hack/bench test -race ./...
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" go test -race -timeout=20m $(PKG)

.PHONY: drill
drill: ## Prune at random, with faults, kills and outages, against a naive model; DRILL_ARGS.
	assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" go test -race -count=1 -timeout=2h -run=TestDrill -v ./internal/e2e/drill $(DRILL_ARGS)

# As in the image. Elsewhere it would compile everything a second time, for nothing that anybody waits for.
bench: PGO = -pgo=$(CURDIR)/hack/callback.pgo
.PHONY: bench
bench: build ## Measure side by side with peers, fail where a goal is missed; BENCH_ARGS=-sections=path.
	go -C hack/bench build -o ../../bin/bench/bench .
	@assets="$$($(CONTROL_PLANE))" && KUBEBUILDER_ASSETS="$$assets" exec bin/bench/bench $(BENCH_ARGS)

.PHONY: callback-profile
callback-profile: ## Renew hack/callback.pgo, the profile that the image is built with.
	$(MAKE) bench BENCH_ARGS="-sections=profile -round=4s -o bin/profile.json"
	cp bin/bench/callback.pgo hack/callback.pgo

.PHONY: microbench
microbench: ## Run the Go benchmarks of the decision and the callback path.
	go test -run='^$$' -bench=. -benchmem ./internal/policy ./internal/im/callback ./webhookserver

.PHONY: fmt
fmt: ## Format the Go code.
	$(GOLANGCI_LINT) fmt

.PHONY: lint
lint: ## Run the linters, the import rules among them.
	$(GOLANGCI_LINT) run
	cd hack/controlplane && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run --config=../../.golangci.yml .
	cd hack/bench && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run --config=../../.golangci.yml ./...

.PHONY: verify
verify: ## Check generated files, go.mod files, lint and kustomizations, as CI does.
	hack/verify.sh

.PHONY: control-plane
control-plane: ## Build kube-apiserver, etcd and kubectl if need be, and print their directory.
	@$(CONTROL_PLANE)

##@ Generate

.PHONY: generate
generate: manifests api-reference ## Regenerate everything that is generated.
	$(CONTROLLER_GEN) object paths=./api/...

.PHONY: manifests
manifests: ## Regenerate the CustomResourceDefinitions.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases

.PHONY: api-reference
api-reference: ## Regenerate docs/reference/api.md.
	@mkdir -p docs/reference
	$(CRD_REF_DOCS) --log-level=ERROR --config=hack/api-reference.yaml --source-path=api --renderer=markdown --output-path=docs/reference/api.md

##@ Deploy

.PHONY: install
install: ## Install the CustomResourceDefinitions into the cluster of the current kubeconfig.
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CustomResourceDefinitions, and with them every policy.
	$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: ## Deploy the image IMG with config/default.
	IMG="$(IMG)" KUBECTL="$(KUBECTL)" hack/render.sh config/default | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove what deploy made, but neither policies (see uninstall) nor the watched namespaces.
	$(KUBECTL) delete --ignore-not-found -k config/default -l app.kubernetes.io/name=groupgate

##@ Release

.PHONY: docker-build
docker-build: ## Build the image IMG for this machine.
	docker build --build-arg VERSION="$(VERSION)" --tag "$(IMG)" .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	docker push "$(IMG)"

.PHONY: docker-buildx
docker-buildx: ## Build and push IMG for amd64 and arm64, with SBOM and provenance.
	docker buildx build --platform=linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
	  --build-arg VERSION="$(VERSION)" --tag "$(IMG)" --push .

.PHONY: install-yaml
install-yaml: ## Render config/default with the image IMG into dist/install.yaml.
	@mkdir -p dist
	assets="$$($(CONTROL_PLANE))" && IMG="$(IMG)" KUBECTL="$$assets/kubectl" hack/render.sh config/default > dist/install.yaml
