# make run    build and serve ./data on 127.0.0.1:9092
# make test   everything that must hold, in a little over a quarter of an hour
# Longer: make demo, test-clients, test-clients-long, soak, kill, powercut, test-kernels, fuzz, sim, sim-mutants, sim-shrink, capacity, bench, bench-peer, bench-report.

SHELL   := /bin/bash
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
GIOURING = -tags giouring -ldflags=-checklinkname=0
LEVELS   = 5.15 6.1
FUZZTIME ?= 20s
SEEDS    ?= 1000
FIRST    ?= 0
# Slow tests of what no ring level changes: once, in unit, is enough.
SLOW     = 'TestTransactionOfManyPartitions|TestManyAborted|TestQuotasHold|TestRequestQuota|TestWarmStart|TestRebalanceOfAThousandMembers'
SOAK_MINUTES ?= 10

.PHONY: build run test tools lint unit invariants giouring levels race generate \
        demo test-clients test-clients-long soak apache-and-back kill powercut test-kernels fuzz sim sim-mutants sim-shrink capacity bench bench-peer bench-report clean

build:
	CGO_ENABLED=0 go build -ldflags "-X main.version=$(VERSION)" -o bin/slipstream ./cmd/slipstream

run: build
	./bin/slipstream serve --data-dir ./data --listen 127.0.0.1:9092

test: tools lint unit invariants giouring levels race

# What the tests need beside Go; each missing tool is named with how to get it.
tools:
	@missing=0; for t in "gcc gcc" "kcat kcat" "javac default-jdk-headless" "mvn maven" "mkfs.ext4 e2fsprogs" "mkfs.xfs xfsprogs"; do set -- $$t; \
	  PATH=$$PATH:/usr/sbin:/sbin command -v $$1 >/dev/null || { echo "missing: $$1 (apt-get install $$2)"; missing=1; }; done; exit $$missing

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "not gofmt'd"; exit 1; }
	go vet ./...
	go vet -tags invariants ./reactor ./storage ./internal/...
	go vet -tags giouring ./ring
	go tool staticcheck ./...
	go tool staticcheck -tags giouring ./ring

# Unit tests, the simulator's seeds, fuzz corpora, Kafka on our files, real clients against the real binary.
unit:
	KAFKA_LIBS=$$(go run ./internal/clients/java) go test -timeout 40m ./...

# O(n) checks inside the core's structures. They allocate (each block of the arena is a new one), so tests that nothing does are left out.
invariants:
	go test -tags invariants -skip 'Allocate|Allocation' ./reactor ./storage ./internal/broker ./internal/simtest

# The second kernel: the same ring tests, its Prepare methods as the oracle of ours, and the broker on it.
giouring:
	SLIPSTREAM_RING_KERNEL=giouring go test $(GIOURING) -skip $(SLOW) ./ring ./internal/broker
	SLIPSTREAM_RING_KERNEL=giouring SLIPSTREAM_BUILD_FLAGS="$(GIOURING)" go test -count=1 -run 'TestPipelining|TestAcksZero' ./internal/clients

# The broker at every lower level of the ring; the highest ran above, and the tests of ring and reactor go through all levels themselves.
levels:
	for level in $(LEVELS); do \
	  SLIPSTREAM_RING_LEVEL=$$level go test -count=1 -skip $(SLOW) ./internal/broker || exit 1; \
	  SLIPSTREAM_RING_LEVEL=$$level go test -count=1 -run 'TestPipelining|TestAcksZero|TestJavaProducerPerformance' ./internal/clients || exit 1; \
	done

# Cores share nothing but mailboxes, helpers and counters: there the detector means something. It needs cgo, so gcc.
race:
	CGO_ENABLED=1 go test -race -short ./reactor ./storage ./internal/broker ./internal/metrics
	CGO_ENABLED=1 go test -race -run 'TestSnapshotBesideCores' ./ebpf
	CGO_ENABLED=1 SLIPSTREAM_BUILD_FLAGS=-race go test -count=1 -run 'TestPipelining|TestBadInputDisturbsNobody' ./internal/clients

# What is generated: docs/settings.md, from the registry of settings, docs/metrics.md, from the table of metrics, docs/compatibility.md, from the table of APIs, and the BPF objects (needs clang-14 and llvm-14).
# make test fails when they are stale.
generate:
	go generate ./ebpf
	go test -count=1 -run 'TestSettingsDocument' ./internal/config -update
	go test -count=1 -run 'TestMetricsDocument' ./internal/metrics -update
	go test -count=1 -run 'TestCompatibilityDocument' ./internal/broker -update

# The main job on real input, shown.
demo: build
	SLIPSTREAM_BIN=$(CURDIR)/bin/slipstream go run ./internal/clients/demo

# franz-go's own suite with 50,000 records (make test has 15,000), Kafka's own programs, Streams and Connect, and kcat; DumpLogSegments and
# log verify on 100 directories that the simulator has left (make test has 12); every bad file in every way (make test has some).
test-clients: build
	SLIPSTREAM_BIN=$(CURDIR)/bin/slipstream SLIPSTREAM_CLIENTS=1 KGO_TEST_RECORDS=50000 \
	  go test -count=1 -v -timeout 60m -run 'TestKgoSuite|TestJava|TestStreams|TestConnect|TestKcat' ./internal/clients
	SLIPSTREAM_DIRECTORIES=100 go test -count=1 -v -timeout 30m -run 'TestVerifyAgreesWithKafkaSeeds' ./internal/simtest
	SLIPSTREAM_CLIENTS=1 go test -count=1 -timeout 60m -run 'TestBadFiles' ./cmd/slipstream

# The suite's ETL and share tests with 500,000 records five times over, and once more with connections that die all the time.
test-clients-long: build
	SLIPSTREAM_BIN=$(CURDIR)/bin/slipstream SLIPSTREAM_LONG=1 go test -count=1 -v -timeout 180m -run 'TestLongSuite' ./internal/clients

# Members of consumer groups come, go, crash and stand still for SOAK_MINUTES; SOAK_CHAOS=1 kills the broker now and then.
soak: build
	SLIPSTREAM_BIN=$(CURDIR)/bin/slipstream SOAK_MINUTES=$(SOAK_MINUTES) go test -count=1 -v -timeout 120m -run 'TestSoak' ./internal/clients

# kill -9 under a load of everything that writes to logs, ROUNDS times (200) on one directory, each verified: about ten minutes.
kill: build
	SLIPSTREAM_BIN=$(CURDIR)/bin/slipstream SLIPSTREAM_KILL_ROUNDS=$(or $(ROUNDS),200) go test -count=1 -v -timeout 120m -run 'TestKillMixed' ./internal/clients

# The power of a virtual machine cut under load, ROUNDS times (50) on ext4 and on XFS, the disk losing what was not flushed: half an hour each.
powercut:
	ROUNDS=$(or $(ROUNDS),50) internal/kernels/run.sh powercut

# Real 6.1 and 6.12 kernels in QEMU.
test-kernels:
	internal/kernels/run.sh

# Every fuzz target for FUZZTIME each.
fuzz:
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do \
	  echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

# Seeds FIRST to FIRST+SEEDS of the whole broker on the simulated kernel, on all processors, by turns: logs alone, groups and transactions, logs under a plan of faults.
# It goes on after a violation, which says how to replay it (TELL=1 tells what its clients do), and on ^C says where to go on.
sim:
	SIM=1 FIRST=$(FIRST) SEEDS=$(SEEDS) go test -tags invariants -count=1 -timeout 0 -v -run 'TestSim' ./internal/simtest

# The story of SEED (of the test STORY, or TestFaultSeeds) cut down to what it takes to fail in the same way, and the command that replays it.
sim-shrink:
	SHRINK=1 SEED=$(SEED) STORY=$(STORY) go test -tags invariants -count=1 -timeout 10m -v -run 'TestShrink' ./internal/simtest

# Bugs planted in the broker (internal/simtest/testdata/mutants), each to be found by some seed within a minute of processor time; MUTANT=name (or a pattern) for some.
sim-mutants:
	MUTANTS=1 go test -count=1 -timeout 120m -v -run 'TestMutants' ./internal/simtest

# A data directory goes from Apache Kafka to slipstream and back, with brokers that are stopped, and that are killed.
apache-and-back: build
	SLIPSTREAM_BIN=$(CURDIR)/bin/slipstream go test -count=1 -v -timeout 20m -run TestApacheAndBack ./internal/clients
	SLIPSTREAM_BIN=$(CURDIR)/bin/slipstream SLIPSTREAM_APACHE_KILLED=1 go test -count=1 -v -timeout 20m -run TestApacheAndBack ./internal/clients

# Ten thousand idle connections, ten thousand partitions, a start with a thousand segments.
capacity: build
	SLIPSTREAM_BIN=$(CURDIR)/bin/slipstream SLIPSTREAM_CONNECTIONS=10000 SLIPSTREAM_PARTITIONS=10000 \
	  go test -count=1 -v -timeout 30m -run 'TestIdleConnections|TestManyPartitions|TestStartup' ./internal/clients

# Every scenario against raw limits, and beside Apache Kafka, in one run: build/bench has a page with plots, and everything as JSON.
# BENCH passes flags (BENCH='-only lag -scale 1', 'go run ./bench -h' lists them); the scenario lag needs root, for a memory cgroup.
bench: build
	go build -o build/bench/bench ./bench
	build/bench/bench -html build/bench/bench.html -json build/bench/bench.json $(BENCH)

bench-peer: build
	go build -o build/bench/bench ./bench
	build/bench/bench -peer -html build/bench/bench-peer.html -json build/bench/bench-peer.json $(BENCH)

# The run that docs/bench and the README's table show: larger and longer, beside Apache Kafka, about an hour, on a machine that does nothing else.
bench-report: build
	go build -o build/bench/bench ./bench
	build/bench/bench -peer -rounds 15 -seconds 4 -scale 1 -html docs/bench/report.html -json docs/bench/report.json -readme README.md $(BENCH)

clean:
	rm -rf bin build
