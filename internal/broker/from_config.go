package broker

import (
	"strconv"

	"slipstream/internal/config"
	"slipstream/internal/metadata"
	"slipstream/reactor"
	"slipstream/ring"
	"slipstream/storage"
)

// SettingsFrom turns a loaded configuration into what a broker runs with.
// dataDir, a list as log.dirs is, and listen, where not empty, win over log.dirs and listeners.
// descriptors is the limit of open files of the process.
func SettingsFrom(c *config.Config, dataDir, listen string, descriptors uint64) (Settings, error) {
	s := Settings{
		MetadataDir: c.Get("metadata.log.dir"), NodeID: int32(nodeID(c)),
		Backlog: int(c.Int("socket.listen.backlog.size")), Cores: c.Cores(),
		SpinNanos: c.Int("slipstream.wait.spin.micros") * 1000, Pin: c.Bool("slipstream.cpu.pin"),
		AutoCreateTopics: c.Bool("auto.create.topics.enable"),
		NumPartitions:    int32(c.Int("num.partitions")), ReplicationFactor: int16(c.Int("default.replication.factor")),
		FetchMaxBytes: int32(c.Int("fetch.max.bytes")), FetchSessionSlots: int(c.Int("max.incremental.fetch.session.cache.slots")),
		CheckpointMillis: c.Int("log.flush.offset.checkpoint.interval.ms"), DrainMillis: c.Int("slipstream.drain.ms"),
		RetentionCheckMillis: c.Int("log.retention.check.interval.ms"),
		RecoveryThreads:      int(c.Int("num.recovery.threads.per.data.dir")), MaxOpenFiles: int(c.Int("slipstream.open.files.max")),
		WritebackMillis: c.Int("slipstream.writeback.horizon.ms"),
		ZerosAhead:      c.Bool("slipstream.flush.zeros.ahead"),
		WarmBytes:       c.Int("slipstream.warm.bytes"), WarmMillis: c.Int("slipstream.warm.ms"),
		Topics: kafkaSettings{static: c},
		Metadata: MetadataSettings{
			SnapshotBytes:  c.Int("metadata.log.max.record.bytes.between.snapshots"),
			SnapshotMillis: c.Int("metadata.log.max.snapshot.interval.ms"),
			SegmentBytes:   int32(c.Int("metadata.log.segment.bytes")), SegmentMillis: c.Int("metadata.log.segment.ms"),
			Retention: metadata.Retention{Bytes: c.Int("metadata.max.retention.bytes"), Millis: c.Int("metadata.max.retention.ms")},
		},
	}
	s.DataDirs = config.SplitList(firstOf(dataDir, c.Get("log.dirs"), c.Get("log.dir")))
	if s.MaxOpenFiles == 0 {
		s.MaxOpenFiles = int(min(max(descriptors/4, 64), 1<<20))
	}
	var err error
	if s.Level, err = ring.ParseLevel(c.Get("slipstream.ring.level")); err != nil {
		return s, err
	}
	if s.Wait, err = reactor.ParseWait(c.Get("slipstream.wait.policy")); err != nil {
		return s, err
	}
	if s.Rung, err = reactor.ParseRung(c.Get("slipstream.fetch.rung")); err != nil {
		return s, err
	}
	switch c.Get("slipstream.writer") {
	case "ring":
		s.Writer = storage.WriterRing
	case "inline":
		s.Writer = storage.WriterInline
	}
	if s.Listen, err = listenAddress(c, listen); err != nil {
		return s, err
	}
	if err := s.advertise(c); err != nil {
		return s, err
	}
	memory := c.Int("slipstream.core.memory.bytes")
	s.Limits = reactor.Limits{
		// A request must fit into a core's memory, beside the answers of others: one
		// that never can is refused as one over the limit is, and does not wait.
		MaxFrameBytes: int(min(c.Int("socket.request.max.bytes"), memory/2)), ArenaBytes: int(memory),
		IdleNanos: c.Int("connections.max.idle.ms") * 1e6, ColdBytes: int(min(c.Int("slipstream.cold.bytes"), memory/2)),
	}
	return s, nil
}

func nodeID(c *config.Config) int64 {
	for _, name := range []string{"node.id", "broker.id"} {
		if v, ok := c.Static(name); ok {
			n, _ := strconv.ParseInt(v, 10, 32)
			return n
		}
	}
	return 1
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
