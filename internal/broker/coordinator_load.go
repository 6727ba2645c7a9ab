package broker

import (
	"errors"
	"fmt"

	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// Loading a coordinator: a helper reads a chunk of the log, the core replays it in
// pieces, then the next chunk is read. A chunk is read from a snapshot of the log
// of its own, so that compaction may go on meanwhile.

const (
	// loadChunkBytes is how much of the log, about, a helper reads at a time.
	loadChunkBytes = 512 << 10
	// loadBatchBytes is how far one compressed batch may expand: Kafka's own are never
	// larger than offsets.topic.segment.bytes' default, and mostly a few hundred bytes.
	loadBatchBytes = 64 << 20
	// replayStep is how many records are replayed between two looks at the clock.
	replayStep = 32
	// loadAttempts is how often a chunk is read again whose files were compacted away
	// before they were opened.
	loadAttempts = 10
)

// coordinatorLoad is a chunk of a coordinator's log, on a helper or on the core.
type coordinatorLoad struct {
	of       *coordinated
	scan     *storage.Scan
	reading  bool  // a helper has it
	next     int64 // the offset behind what was read
	done     bool
	err      error
	attempts int

	records  []loadedRecord
	at       int // of those, how many are replayed
	replayed int // records of all chunks
	begun    int64
}

// loadLater loads c when fewer than coordinatorLoads are being loaded.
func (g *coordinating) loadLater(c *coordinated) {
	if g.stopped || c.state == coordinatorResigned {
		return
	}
	if g.loads >= coordinatorLoads {
		g.waiting = append(g.waiting, c)
		return
	}
	g.loads++
	c.beginLoad()
}

// loadEnded lets the next one begin.
func (g *coordinating) loadEnded() {
	g.loads--
	for len(g.waiting) > 0 && g.loads < coordinatorLoads {
		c := g.waiting[0]
		g.waiting = g.waiting[1:]
		if c.state == coordinatorWaiting {
			g.loads++
			c.beginLoad()
		}
	}
}

func (c *coordinated) beginLoad() {
	c.state = coordinatorLoading
	if c.machine != nil { // of a load that failed
		c.machine.resign(c.shard.coordinating.millis())
	}
	c.machine = c.of.newMachine(c)
	c.markers = c.markers[:0]
	from := c.offsets().LogStart
	c.load = &coordinatorLoad{of: c, next: from, begun: c.shard.core.Now}
	if from == c.offsets().HighWatermark {
		c.load.done = true
		c.mark()
		return
	}
	c.load.read()
}

// read has a helper read the next chunk.
func (l *coordinatorLoad) read() {
	l.scan, l.reading = l.of.hosted.log.Scan(l.next), true
	l.records, l.at = nil, 0
	l.of.shard.core.Offload(l)
}

// Work implements reactor.Job.
func (l *coordinatorLoad) Work(k kernel) reactor.Message {
	scratch := scratches.Get().(*protocol.Scratch)
	defer scratches.Put(scratch)
	bytes := 0
	var bad error
	l.next, l.done, l.err = l.scan.Read(k, func(b protocol.Batch) bool {
		var n int
		if n, bad = l.take(b, scratch); bad != nil {
			bad = fmt.Errorf("the batch at offset %d: %w", b.BaseOffset(), bad)
			return false
		}
		bytes += n
		return bytes < loadChunkBytes
	})
	if bad != nil {
		l.err = bad
	}
	return l
}

var errBatchTooLarge = errors.New("expands to more than a coordinator's batch may")

// take adds a batch's records and returns how many bytes they hold.
func (l *coordinatorLoad) take(b protocol.Batch, scratch *protocol.Scratch) (bytes int, err error) {
	if b.IsControl() {
		if m, ok := protocol.ParseMarker(b); ok {
			l.records = append(l.records, loadedRecord{offset: b.BaseOffset(), producerID: m.ProducerID, marker: true, commit: m.Commit})
		}
		return len(b), nil
	}
	producer := int64(-1)
	if b.IsTransactional() {
		producer = b.ProducerID()
	}
	var it protocol.Records
	var r protocol.Record
	it.Open(b, scratch)
	defer it.Close()
	for it.Next(&r) {
		bytes += len(r.Key) + len(r.Value)
		if bytes > loadBatchBytes {
			return bytes, errBatchTooLarge
		}
		memory := append(append(make([]byte, 0, len(r.Key)+len(r.Value)), r.Key...), r.Value...)
		one := loadedRecord{offset: r.Offset, producerID: producer, key: memory[:len(r.Key):len(r.Key)]}
		if r.Value != nil {
			one.value = memory[len(r.Key):]
		}
		l.records = append(l.records, one)
	}
	return max(bytes, len(b)), it.Err()
}

// Deliver implements reactor.Message: a chunk has been read.
func (l *coordinatorLoad) Deliver(*reactor.Core) {
	c := l.of
	replaced := l.scan.Stale(c.hosted.log)
	l.scan, l.reading = nil, false
	if c.load != l || c.state != coordinatorLoading {
		c.shard.coordinating.loadEnded()
		return // it has resigned meanwhile
	}
	if replaced && l.err != nil && l.attempts < loadAttempts {
		if l.attempts++; len(l.records) == 0 {
			l.read()
			return
		}
		l.err = nil // what was read up to there is good; a new scan goes on from it
	}
	c.mark()
}

// replaySome replays a piece of what was read.
func (c *coordinated) replaySome() {
	l := c.load
	if l == nil || l.reading {
		return
	}
	begun := c.shard.core.ReadClock()
	for l.err == nil && l.at < len(l.records) {
		end := min(l.at+replayStep, len(l.records))
		for ; l.at < end && l.err == nil; l.at++ {
			l.err = c.machine.replay(&l.records[l.at])
			l.replayed++
		}
		if c.shard.core.ReadClock()-begun > turnBudgetNanos {
			break
		}
	}
	switch {
	case l.err != nil:
		c.loadFailed(l.err)
	case l.at < len(l.records):
		c.shard.coordinating.later(c)
	case l.done:
		c.loaded()
	default:
		l.attempts = 0
		l.read()
	}
}

// loaded ends a load that went well: the machine serves.
func (c *coordinated) loaded() {
	l, now := c.load, c.shard.coordinating.millis()
	for _, m := range c.markers {
		if m.offset < l.next {
			continue // the loader has seen it
		}
		if err := c.machine.replay(&loadedRecord{offset: m.offset, producerID: m.producerID, marker: true, commit: m.commit}); err != nil {
			c.loadFailed(err)
			return
		}
	}
	c.load, c.markers = nil, nil
	c.state = coordinatorServing
	c.machine.loaded(now)
	n, took := c.counts(), c.shard.core.Now-l.begun
	n.Loads++
	n.LoadedRecords += uint64(l.replayed)
	n.LoadNanos += took
	n.LongestLoadNanos = max(n.LongestLoadNanos, took)
	if l.replayed > 0 {
		c.shard.broker.log.Info("coordinator loaded", "topic", c.of.name, "partition", c.hosted.key.partition,
			"records", l.replayed, "ms", (c.shard.core.Now-l.begun)/1e6)
	}
	c.shard.coordinating.loadEnded()
	c.mark()
}

// loadFailed leaves the coordinator out of service, as Kafka does: what it would
// say without a part of its log is wrong.
func (c *coordinated) loadFailed(err error) {
	c.shard.broker.log.Error("a coordinator could not be loaded: requests for its keys are answered NOT_COORDINATOR",
		"topic", c.of.name, "partition", c.hosted.key.partition, "error", err)
	c.counts().FailedLoads++
	c.load, c.machine, c.markers = nil, nil, nil
	c.state = coordinatorFailed
	c.shard.coordinating.loadEnded()
}
