# Two targets matter to a newcomer: `make demo` and `make test`. Both install
# what they need on a Debian machine and say what they do.

SHELL := /bin/sh
export CGO_ENABLED ?= 0
export GOFLAGS ?= -buildvcs=false

# The setup finds or fetches a fitting Go and writes its path to a file. It goes
# to the front of the PATH, since the lab's build calls go as well.
GO = PATH="$$(dirname "$$(cat $(CURDIR)/.go-command)"):$$PATH" go
LINT = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# The version of the tree is the tag of its images; the commit tells builds apart.
TAG = $(shell sed -n 's/.*newTag: \([^ ,}]*\).*/\1/p' manifests/base/kustomization.yaml | head -n 1)
COMMIT = $(shell git describe --always --abbrev=12 --exclude '*' --dirty=.dirty 2>/dev/null)
VERSION = $(TAG)$(addprefix +,$(COMMIT))
PURE = ./internal/cluster/... ./allocator ./internal/config/... ./internal/explain/... ./internal/router/... ./internal/share/... ./allocator/assign/... ./speaker/plan/... ./speaker

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup: ## find a C compiler and a fitting Go, or install them
	@e2e/setup.sh > .go-command

.PHONY: build
build: setup ## bin/herald-allocator, bin/herald-speaker, bin/heraldctl
	$(GO) build -trimpath -ldflags "-s -w -X github.com/heraldlb/herald/internal/daemon.version=$(VERSION)" -o bin/ ./cmd/...

.PHONY: version
version: ## what programs that are built now say of themselves
	@echo $(VERSION)

PLATFORMS ?= linux/amd64,linux/arm64

.PHONY: images
images: setup ## container images of the daemons as archives in bin/images; PUSH=registry/name pushes them
	$(GO) run ./internal/tools/images -platforms $(PLATFORMS) $(if $(IMAGE_TAG),-version $(IMAGE_TAG)) $(if $(PUSH),-push $(PUSH))

.PHONY: lab
lab: build ## everything that the lab needs; the first time it compiles Kubernetes
	cd e2e && $(GO) run ./cmd/lab build

.PHONY: demo
demo: lab ## the main job, shown: weighted routes and each pod's measured share
	e2e/bin/demo

.PHONY: bench
bench: lab ## creation to first answer, 500 Services at once, and medians of what the tests time once
	e2e/bin/bench
	cd e2e && HERALD_ROUNDS=10 $(GO) test -v -p 1 -timeout 40m -run 'TestTheOwnerLosesPower|TestASpeakerIsKilled|TestASpeakerStopsGracefully|TestASilentLink' ./layer2 ./sessions

.PHONY: lint
lint: setup ## golangci-lint, with go vet's analyzers, in both modules
	@echo "== lint"
	$(LINT) run --allow-parallel-runners ./...
	# Without the package that imports all of Kubernetes: its 2,700 packages would be
	# analyzed as well, for twenty minutes.
	cd e2e && $(LINT) run --allow-parallel-runners --config ../.golangci.yml $$($(GO) list -f '{{.Dir}}' ./... | grep -v /cmd/kube$$)

.PHONY: test-pure
test-pure: setup ## no root needed
	$(GO) test -shuffle=on $(PURE)

.PHONY: test-go
test-go: lab ## the product's module, with the race detector
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -p 1 -timeout 20m ./...

.PHONY: test-lab
test-lab: lab ## the whole, in the lab
	cd e2e && $(GO) test -shuffle=on -p 1 -timeout 40m $$($(GO) list ./... | grep -v /cmd/kube$$)

.PHONY: test
test: lint lab ## all tests, of both modules; the slowest are named at the end
	@echo "== tests"
	$(GO) run gotest.tools/gotestsum@v1.13.0 --format pkgname --format-hide-empty-pkg --ignore-non-json-output-lines --raw-command -- go run ./internal/tools/tests

.PHONY: clean
clean: ## remove what was built
	rm -rf bin e2e/bin .go-command
