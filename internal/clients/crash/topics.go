package crash

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// cleanup says what leaves a topic's log by itself.
type cleanup uint8

const (
	keeps    cleanup = iota // nothing
	compacts                // records that a later one of their key follows
	retains                 // all but the last retainedBytes
	trims                   // what DeleteRecords asked for
)

// retainedBytes is retention.bytes of the topic that has one.
const retainedBytes = 200_000

// topic is one of the load's topics.
type topic struct {
	name       string
	partitions int32
	cleanup    cleanup
	flushes    bool // every batch is synced before it is acknowledged
	writers    string
	settings   []string
}

// topics are made by Setup. In writers each letter is a producer to every partition: i idempotent, p without
// idempotence, a an idempotent one that sends again, after a crash, what was not answered before it.
func topics() []*topic {
	const never = "9223372036854775807"
	list := []*topic{
		{name: "flushed", partitions: 2, flushes: true, writers: "iipa"},
		{name: "cached", partitions: 2, writers: "ipa", settings: []string{"segment.ms", "700"}},
		{name: "timed", partitions: 1, writers: "i", settings: []string{"flush.ms", "50"}},
		{name: "compacted", partitions: 2, cleanup: compacts, flushes: true, writers: "ii"},
		{name: "compacted-cached", partitions: 1, cleanup: compacts, writers: "i"},
		{name: "retained", partitions: 1, cleanup: retains, writers: "i", settings: []string{"retention.bytes", fmt.Sprint(retainedBytes)}},
		{name: "trimmed", partitions: 1, cleanup: trims, flushes: true, writers: "i"},
		{name: txnTopic, partitions: txnPartitions, flushes: true},
	}
	for _, t := range list {
		if t.flushes {
			t.settings = append(t.settings, "flush.messages", "1")
		} else {
			t.settings = append(t.settings, "flush.messages", never)
		}
		if t.cleanup == compacts {
			t.settings = append(t.settings, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.05", "delete.retention.ms", "200")
		}
	}
	return list
}

// BrokerSettings make everything happen often: name=value.
func BrokerSettings() []string {
	return []string{
		"log.flush.interval.messages=1", // of the internal topics too
		"log.flush.offset.checkpoint.interval.ms=300",
		"log.cleaner.backoff.ms=50", "log.retention.check.interval.ms=100", "log.segment.delete.delay.ms=300",
		"group.initial.rebalance.delay.ms=0",
		"log.index.interval.bytes=1024", "log.index.size.max.bytes=192", // segments of some tens of kilobytes, which segment.bytes cannot say
		"offsets.topic.num.partitions=2", "transaction.state.log.num.partitions=2",
		"metadata.log.max.record.bytes.between.snapshots=20000", "metadata.log.max.snapshot.interval.ms=2000",
	}
}

// keysPerWriter of a compacted topic are overwritten in turn.
const keysPerWriter = 37

// key of a writer's record in a compacted topic.
func (w *writer) key(number int) []byte {
	return fmt.Appendf(nil, "%d-%d", w.id, number%keysPerWriter)
}

// headers say whose record it is, where a tombstone cannot.
func (w *writer) headers(number int) []kgo.RecordHeader {
	return []kgo.RecordHeader{{Key: whose, Value: fmt.Appendf(nil, "%d %d", w.id, number)}}
}

const whose = "whose"

// tombstone says whether a writer's record in a compacted topic deletes its key.
func tombstone(number int) bool { return number/keysPerWriter%5 == 4 }

var pad = strings.Repeat("all work and no play makes jack a dull boy. ", 20)

// value is what a writer's record says: nobody else's record, and none of its own, says the same.
func (w *writer) value(number int) []byte {
	if w.of.cleanup == compacts && tombstone(number) {
		return nil
	}
	return fmt.Appendf(nil, "%d %d %s", w.id, number, pad[:(number*131+w.id*17)%400])
}
