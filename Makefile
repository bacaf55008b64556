# Starback. "make help" lists what there is.

GO      ?= go
TOOLS   := $(CURDIR)/.tools
LINT_VERSION := v2.15.0
LINT    := $(TOOLS)/golangci-lint-$(LINT_VERSION)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.buildVersion=$(VERSION)
FUZZTIME ?= 20s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## the demo's scene, then a sandbox to type into
	@bin/starback demo
	@bin/starback serve --sandbox

.PHONY: test
test: ## everything, with the race detector, in random order
	@scripts/test

.PHONY: check
check: lint ## format, lint and unit tests, without engines
	$(GO) test -short -vet=off ./... # lint has vetted

.PHONY: lint
lint: $(LINT) ## format and lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); echo "run: make fmt"; exit 1; }
	$(LINT) run ./...

.PHONY: fmt
fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

.PHONY: fuzz
fuzz: ## fuzz every parser for FUZZTIME each
	@scripts/fuzz $(FUZZTIME)

.PHONY: cover
cover: ## test coverage, by package and in coverage.html
	$(GO) test -short -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out | tail -n 1
	$(GO) tool cover -html=coverage.out -o coverage.html

.PHONY: bench
bench: ## benchmarks, then the figures of docs/performance.md
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) test ./bench -run '^TestFigures$$' -count=1 -v -figures
	$(GO) test ./cmd/lambda -run '^TestColdStart$$' -count=1 -v -figures

.PHONY: mutants
mutants: ## break each invariant on purpose; a test must notice
	@scripts/mutants

.PHONY: package
package: ## dist/*.zip and the CloudFormation template, for AWS Lambda
	@scripts/package

.PHONY: build
build: ## bin/starback
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/starback ./cmd/starback

.PHONY: dist
dist: ## release archives for Linux and macOS, with checksums
	@scripts/dist '$(VERSION)' '$(LDFLAGS)'

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist coverage.out coverage.html

$(LINT):
	@echo "installing golangci-lint $(LINT_VERSION) into .tools"
	@mkdir -p $(TOOLS)/bin
	GOBIN=$(TOOLS)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv $(TOOLS)/bin/golangci-lint $@
