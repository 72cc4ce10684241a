# moldau: everything is done through these targets. `make` alone lists them.
GO       ?= go
LINT      = golangci-lint
LINTVER   = v2.15.0
TOOLS    ?= $(HOME)/.cache/moldau/tools
FUZZTIME ?= 60s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS   = -s -w -X github.com/moldau-io/moldau.Version=$(VERSION) -X github.com/moldau-io/moldau.Commit=$(COMMIT)
export CGO_ENABLED ?= 0

.PHONY: help run demo build test race lint fuzz bench bench-peers compat story servers clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## compile bin/moldau
	@mkdir -p bin
	$(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/moldau ./cmd/moldau

run: build ## start the hub on its embedded defaults, data in ./data
	bin/moldau server --data-dir data

demo: build ## the main job on real servers: PostgreSQL and MySQL to S3 and OpenSearch (KEEP=1 leaves it running)
	@$(GO) run -buildvcs=false ./internal/demo -bin bin/moldau

servers: ## fetch and start each real server once, and say what it is
	@$(GO) run -buildvcs=false ./internal/servers/cmd/servers

test: build servers ## all tests, with the real servers (MOLDAU_TEST_EXCLUDE=kafka,... leaves some out)
	@$(GO) test -buildvcs=false -timeout 30m ./...

race: ## all tests under the race detector
	CGO_ENABLED=1 $(GO) test -buildvcs=false -race -timeout 60m ./...

lint: $(TOOLS)/$(LINT)-$(LINTVER) ## gofmt, vet and golangci-lint
	@test -z "$$(gofmt -l .)" || { echo "gofmt these:"; gofmt -l .; exit 1; }
	$(TOOLS)/$(LINT)-$(LINTVER) run ./...

$(TOOLS)/$(LINT)-$(LINTVER):
	@mkdir -p $(TOOLS)
	@echo "building golangci-lint $(LINTVER), once"
	@cd /tmp && GOBIN=$(TOOLS) GOFLAGS=-buildvcs=false $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTVER)
	@mv $(TOOLS)/$(LINT) $@

fuzz: ## each fuzz target for FUZZTIME (60s)
	@set -e; for pkg in $$($(GO) list ./...); do \
	  dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go 2>/dev/null | sed 's/func //' | sort -u); do \
	    echo "== $$pkg $$f"; $(GO) test -buildvcs=false -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

bench: build ## Go benchmarks of the hot paths (docs/benchmarks.md has the comparisons with the peers)
	$(GO) test -buildvcs=false -run '^$$' -bench . -benchmem ./core/... ./plugins/... ./connectors/...

bench-peers: build ## the hub beside Apache Kafka, Kafka Connect and Debezium: medians, as in docs/benchmarks.md
	@$(GO) run -buildvcs=false ./internal/bench -bin bin/moldau

compat: build ## the test suites of franz-go and librdkafka, on the hub and on Apache Kafka, into docs/compatibility.md (again: goes on)
	@$(GO) run -buildvcs=false ./internal/compat -bin bin/moldau -report docs/compatibility.md $(COMPAT)

clean: ## remove what was built
	rm -rf bin data
