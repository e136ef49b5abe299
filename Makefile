# make test   everything a change must pass; installs what it needs (Debian)
# make build  the static binary, ./bin/muster
# make deb    the Debian package, ./dist
# make soak   the full lists behind README's claims, with a closing table
# make bench  muster beside PM2 and supervisor, in one run
# make docs   the generated references under docs/
# make fuzz   each fuzz target for FUZZTIME
# make fmt    gofumpt over the tree

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 20s

.PHONY: test lint unit deps build deb soak bench docs fuzz fmt clean

test: deps lint unit

deps:
	@scripts/test-deps.sh test
	@scripts/test-node.sh >/dev/null

lint:
	$(GO) vet ./...
	$(GO) vet -tags soak ./test/...
	@unformatted=$$($(TOOL) gofumpt -l .); if [ -n "$$unformatted" ]; then \
	  echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	$(TOOL) staticcheck -tags soak ./...

unit:
	$(GO) test -race -timeout 15m $$($(GO) list ./... | grep -v /test/)
	$(GO) test -race -timeout 15m -p 1 ./test/...  # alone: they measure times

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/muster ./cmd/muster

deb:
	@scripts/deb.sh

soak: deps
	$(GO) test -tags soak -count=1 -timeout 3h -v ./test/soak $(ARGS)

bench:
	@scripts/test-deps.sh test bench
	@$(GO) run ./bench $(ARGS)

docs:
	$(GO) run ./cmd/muster docs

fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

fmt:
	$(TOOL) gofumpt -w .

clean:
	rm -rf bin dist
