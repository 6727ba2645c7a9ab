# make run    build and serve ./data on 127.0.0.1:9092
# make test   everything that must hold, in about ten minutes
# Longer: make demo, test-clients, test-kernels, fuzz, sim, bench, bench-peer.

SHELL   := /bin/bash
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo development)
PACKAGES = ./...
GIOURING = -tags giouring -ldflags=-checklinkname=0
LEVELS   = 5.15 6.1
FUZZTIME ?= 20s
SEEDS    ?= 1000

.PHONY: build run test lint unit invariants giouring levels race clients demo test-clients test-kernels fuzz sim bench bench-peer capacity tools clean

build:
	CGO_ENABLED=0 go build -ldflags "-X main.version=$(VERSION)" -o bin/slipstream ./cmd/slipstream

run: build
	./bin/slipstream serve --data-dir ./data --listen 127.0.0.1:9092

test: tools lint unit invariants giouring levels race

# What the tests need beside Go; each missing tool is named with how to get it.
tools:
	@missing=0; for t in "gcc gcc" "kcat kcat" "java default-jre-headless" "mvn maven"; do set -- $$t; \
	  command -v $$1 >/dev/null || { echo "missing: $$1 (apt-get install $$2)"; missing=1; }; done; exit $$missing

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "not gofmt'd"; exit 1; }
	go vet $(PACKAGES)
	go vet -tags invariants ./reactor ./storage ./internal/...
	go tool staticcheck $(PACKAGES)

# Unit tests, the simulator's seeds, fuzz corpora, real clients against the real binary.
unit:
	go test -timeout 15m $(PACKAGES)

# O(n) checks inside the core's structures.
invariants:
	go test -tags invariants ./reactor ./storage ./internal/broker ./internal/simtest

# The second kernel: the same ring tests, its Prepare methods as the oracle of ours, and the broker on it.
giouring:
	SLIPSTREAM_RING_KERNEL=giouring go test $(GIOURING) ./ring ./reactor ./internal/broker
	SLIPSTREAM_RING_KERNEL=giouring SLIPSTREAM_BUILD_FLAGS="$(GIOURING)" go test -count=1 -run 'TestPipelining|TestAcksZero' ./internal/clients

# Every lower level of the ring; the highest ran above.
levels:
	for level in $(LEVELS); do \
	  SLIPSTREAM_RING_LEVEL=$$level go test -count=1 ./ring ./reactor ./internal/broker || exit 1; \
	  SLIPSTREAM_RING_LEVEL=$$level go test -count=1 -run 'TestPipelining|TestAcksZero|TestJavaProducerPerformance' ./internal/clients || exit 1; \
	done

# Cores share nothing but mailboxes, helpers and counters: there the detector means something.
race:
	CGO_ENABLED=1 go test -race -short ./reactor ./storage ./internal/broker

demo: build
	go run ./internal/clients/demo

test-clients: build
	go test -count=1 -v -timeout 60m -run 'TestKgoSuite' ./internal/clients

test-kernels:
	internal/kernels/run.sh

fuzz:
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do \
	  echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

sim:
	SEEDS=$(SEEDS) go test -count=1 -timeout 120m -v -run 'Seeds' ./internal/simtest

bench: build
	go run ./bench

bench-peer: build
	go run ./bench -peer

clean:
	rm -rf bin build
