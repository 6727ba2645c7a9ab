package config

import "runtime"

// ours are slipstream's own settings.
var ours = []*Setting{
	own("slipstream.cores", Int, "0", between(0, 1024),
		"Cores: threads with a ring each. 0: one fewer than the machine has processors, at least 1."),
	own("slipstream.ring.level", String, "auto", oneOf("auto", "5.15", "6.1", "native"),
		"Kernel features to use: auto is all that the probe finds; a lower level is for tests and comparisons."),
	own("slipstream.ring.kernel", String, "linux", oneOf("linux", "giouring"),
		"Which binding enters the ring. giouring needs a build with that tag."),
	own("slipstream.wait.policy", String, "adaptive", oneOf("park", "spin", "adaptive"),
		"What an idle core does: park sleeps at once, spin never sleeps (a processor each), adaptive spins briefly after activity."),
	own("slipstream.wait.spin.micros", Int, "50", between(1, 1_000_000),
		"How long adaptive spins before it sleeps, in microseconds."),
	own("slipstream.cpu.pin", Boolean, "false", rule{},
		"Pin core i to processor i."),
	own("slipstream.writer", String, "auto", oneOf("auto", "ring", "inline"),
		"How appends reach the page cache: through the ring, inline on the core, or whichever a probe finds faster on the data directory's file system."),
	own("slipstream.writeback.horizon.ms", Long, "1000", between(0, 600_000),
		"How long appended bytes stay dirty in the page cache, about, before they are given to the disk, at a steady pace. 0: when the kernel sees fit (vm.dirty_*)."),
	own("slipstream.ebpf", String, "auto", oneOf("auto", "on", "off"),
		"Whether BPF programs say for which partition and client the page cache is used: auto tries and says what is missing, on refuses to start without, off does not try. Needs CAP_BPF and CAP_PERFMON."),
	own("slipstream.flush.zeros.ahead", Boolean, "true", rule{},
		"Fill logs whose appends wait for an fsync (flush.messages) ahead with zeros, on ext4 and XFS, where that makes the fsync two to four times shorter. Bytes are written twice for it."),
	own("slipstream.warm.bytes", Long, "1073741824", between(0, 1<<50),
		"The most that a start reads into the page cache for the tail readers of the last run, before clients can connect; also how near a log's end a reader is a tail reader. 0: nothing."),
	own("slipstream.warm.ms", Long, "5000", between(0, 3600_000),
		"How long such reading may keep a start from being ready."),
	own("slipstream.core.memory.bytes", Long, "536870912", between(16<<20, 1<<40),
		"The most memory a core uses for requests and responses in flight; past it, connections wait."),
	own("slipstream.fetch.rung", String, "auto", oneOf("auto", "relay", "hot", "bulk", "cold"),
		"How fetched bytes get to the socket: auto takes for each stretch the cheapest way that fits. Another one is for tests and comparisons: it is taken wherever it can be, and the next that can elsewhere (hot and bulk need bytes that are in the page cache, bulk a pipe, relay bytes that were just produced)."),
	own("slipstream.cold.bytes", Long, "33554432", between(1<<20, 1<<40),
		"The most memory a core uses to read what is not in the page cache, ahead of the consumers that lag."),
	own("slipstream.open.files.max", Int, "0", between(0, 1<<30),
		"Segment files kept open. 0: a quarter of the descriptor limit."),
	own("slipstream.helpers", Int, "4", between(1, 256),
		"Helper threads for slow work: opening partitions, checkpoint files, searches by time, checking compressed batches."),
	own("slipstream.metrics.listener", String, "", rule{},
		"HOST:PORT to serve Prometheus' /metrics on, without a password: an address that only those who may see it reach. Empty: it is not served."),
	own("slipstream.metrics.cache.series", Int, "1000", between(1, 1<<20),
		"How many pairs of a partition and a client /metrics names in its page-cache figures, and how many culprits of evictions; the others are added up."),
	own("slipstream.quota.burst.ms", Long, "250", between(-1, 3600_000),
		"How far ahead of its byte rate a client with a quota may be, in milliseconds' worth of it. -1: as in Kafka, as far as the windows let it, which is ten seconds' worth at once and then none for ten."),
	own("slipstream.drain.ms", Long, "5000", between(0, 3600_000),
		"How long a stopping broker lets its clients finish."),
}

func own(name string, kind Kind, value string, r rule, doc string) *Setting {
	return &Setting{Name: name, Kind: kind, Default: value, ReadOnly: true, Use: Served, rule: r, Doc: doc}
}

// Cores is slipstream.cores, resolved.
func (c *Config) Cores() int {
	if n := int(c.Int("slipstream.cores")); n > 0 {
		return n
	}
	return max(1, runtime.NumCPU()-1)
}
