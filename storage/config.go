package storage

import "slipstream/protocol"

// Config is what a partition's topic says of its log, resolved: a setting that the
// topic does not have is already the broker's. Names are those of Kafka's topic
// settings.
type Config struct {
	SegmentBytes        int32 // segment.bytes: a segment rolls before it would grow past this
	SegmentMillis       int64 // segment.ms
	SegmentJitterMillis int64 // segment.jitter.ms: at most this much is taken off SegmentMillis
	IndexIntervalBytes  int32 // index.interval.bytes: log bytes between index entries
	IndexBytes          int32 // segment.index.bytes: the size at which an index is full
	MaxMessageBytes     int32 // max.message.bytes: of a whole batch

	// FlushMessages makes every append that leaves so many messages unflushed wait
	// for an fsync; 1: every append. FlushMillis flushes what is older, without
	// anyone waiting. math.MaxInt64: never.
	FlushMessages int64
	FlushMillis   int64

	TimestampType     protocol.TimestampType // message.timestamp.type
	Preallocate       bool                   // preallocate; slipstream preallocates ahead in any case
	Deletable         bool                   // cleanup.policy has delete: retention and DeleteRecords apply
	RetentionMillis   int64                  // retention.ms: how old the newest record of a segment may be; -1: any age
	RetentionBytes    int64                  // retention.bytes: how large the log may be without its oldest segment; -1: any size
	Compacted         bool                   // cleanup.policy has compact: offsets may be missing from the log
	DeleteDelayMillis int64                  // file.delete.delay.ms

	MinCompactionLagMillis int64   // min.compaction.lag.ms: compaction leaves what is younger
	MaxCompactionLagMillis int64   // max.compaction.lag.ms: compaction does not leave what is older
	MinDirtyRatio          float64 // min.cleanable.dirty.ratio: what part of the log must be new for compaction to begin
	DeleteRetentionMillis  int64   // delete.retention.ms: how long compaction keeps tombstones and markers once it has seen them

	ProducerIDMillis int64 // producer.id.expiration.ms: how long a silent producer is remembered
}

// neverFlush is FlushMessages of a log whose appends never wait for an fsync.
const neverFlush = 1<<63 - 1

// DefaultConfig is that of a topic without settings of its own on a broker without
// settings of its own.
func DefaultConfig() Config {
	return Config{
		SegmentBytes: 1 << 30, SegmentMillis: 7 * 24 * 3600_000,
		IndexIntervalBytes: 4096, IndexBytes: 10 << 20,
		MaxMessageBytes: 1<<20 + protocol.LogOverhead,
		FlushMessages:   neverFlush, FlushMillis: neverFlush,
		Deletable: true, RetentionMillis: 7 * 24 * 3600_000, RetentionBytes: never,
		MaxCompactionLagMillis: noLag, MinDirtyRatio: 0.5, DeleteRetentionMillis: 24 * 3600_000,
		DeleteDelayMillis: 60_000, ProducerIDMillis: 24 * 3600_000,
	}
}
