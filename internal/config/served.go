package config

import (
	"slices"
	"strings"
)

// served are the settings of Kafka's that do something here, and what, in our
// words. A topic setting serves its broker synonyms with it.
var served = []struct{ name, doc string }{
	{"node.id", "The id of this broker, as meta.properties in the data directory has it."},
	{"broker.id", "The older name of node.id."},
	{"listeners", "Where to listen: PLAINTEXT://host:port. CONTROLLER listeners of a combined node are not opened."},
	{"advertised.listeners", "What clients are told to connect to, if not the address of the listener."},
	{"controller.listener.names", "Names of listeners that are for controllers, and so not for clients: they are not opened."},
	{"listener.security.protocol.map", "The security protocol of each listener's name; PLAINTEXT is served."},
	{"log.dirs", "The data directories. A new partition goes to the one where its share of the free space is largest."},
	{"log.dir", "The data directory, where log.dirs is not set. It has to be named: nothing is kept in Kafka's default."},
	{"metadata.log.max.record.bytes.between.snapshots", "How long the metadata log grows behind its newest snapshot before the next is written."},
	{"metadata.log.max.snapshot.interval.ms", "How long records of the metadata log wait for a snapshot at most; 0: for as long as it takes."},
	{"metadata.log.segment.bytes", "When the metadata log begins a new segment; it also does with each snapshot."},
	{"metadata.log.segment.ms", "The same, by time."},
	{"metadata.max.retention.bytes", "How large the metadata log and its snapshots together may be; the newest snapshot and what follows it always stay."},
	{"metadata.max.retention.ms", "How old metadata snapshots may be, and the log before them; the newest always stays."},
	{"metadata.log.dir", "The directory of the metadata log; otherwise the first of log.dirs."},
	{"auto.create.topics.enable", "Whether a Metadata request for an unknown topic creates it."},
	{"num.partitions", "Partitions of a topic that is created without a number of its own."},
	{"default.replication.factor", "Replication factor of a topic that is created without one of its own; one node can serve 1."},
	{"socket.request.max.bytes", "The largest request; a connection that sends a larger one is closed."},
	{"socket.listen.backlog.size", "The listen backlog."},
	{"connections.max.idle.ms", "Idle connections are closed after this long."},
	{"max.connections", "The most connections of the broker; the next wait until one ends."},
	{"max.connections.per.ip", "The most connections from an address; the next are closed."},
	{"max.connections.per.ip.overrides", "That, for some addresses: ADDRESS:NUMBER,... Names of hosts are not looked up."},
	{"max.connection.creation.rate", "How many connections are let in a second; the next wait."},
	{"quota.window.num", "How many windows the rates of client quotas are measured over, and those of connections."},
	{"quota.window.size.seconds", "How long each of them is."},
	{"controller.quota.window.num", "How many windows' worth of controller_mutation_rate may be used at once."},
	{"controller.quota.window.size.seconds", "How long each of them is."},
	{"fetch.max.bytes", "The most bytes that a fetch returns."},
	{"max.incremental.fetch.session.cache.slots", "The most fetch sessions that are kept."},
	{"log.flush.offset.checkpoint.interval.ms", "How often recovery points are written."},
	{"log.retention.check.interval.ms", "How often logs are looked at for segments that need not be kept."},
	{"log.cleaner.enable", "Whether compacted topics are compacted."},
	{"log.cleaner.threads", "How many logs are compacted at a time."},
	{"log.cleaner.dedupe.buffer.size", "Memory for the keys of the logs that are compacted: 24 bytes for each, of all of them together."},
	{"log.cleaner.io.max.bytes.per.second", "What compaction reads and writes at most."},
	{"log.cleaner.backoff.ms", "How long compaction rests when no log is worth it."},
	{"num.recovery.threads.per.data.dir", "Threads that open and recover partitions at start."},
	{"transaction.max.timeout.ms", "The longest transaction timeout that a producer may ask for."},
	{"transactional.id.expiration.ms", "How long a transactional id is remembered that is not used."},
	{"transaction.partition.verification.enable", "Whether a producer's first batch of a transaction in a partition is checked with its coordinator."},
	{"group.share.session.timeout.ms", "The default of groups' share.session.timeout.ms."},
	{"group.share.heartbeat.interval.ms", "The default of groups' share.heartbeat.interval.ms."},
	{"group.share.max.size", "The most members of a share group."},
	{"group.share.assignment.interval.ms", "The default of groups' share.assignment.interval.ms."},
	{"group.share.initialize.retry.interval.ms", "How long until the states of a share group's partitions are initialized once more."},
	{"group.share.partition.max.record.locks", "The default of groups' share.partition.max.record.locks."},
	{"group.share.delivery.count.limit", "The default of groups' share.delivery.count.limit."},
	{"group.share.record.lock.duration.ms", "The default of groups' share.record.lock.duration.ms."},
	{"group.share.max.share.sessions", "The most share sessions that are kept."},
	{"share.coordinator.snapshot.update.records.per.snapshot", "How many updates of a share-partition's state there are between two snapshots of it."},
	{"share.coordinator.state.topic.prune.interval.ms", "How often the front of __share_group_state that no state needs any more is deleted."},
	{"share.coordinator.cold.partition.snapshot.interval.ms", "How often the states of share-partitions that do not change are written anew, so that the log can be shortened."},
	{"producer.id.expiration.ms", "How long a silent idempotent producer is remembered."},

	{"group.coordinator.rebalance.protocols", "The protocols that groups may speak; without consumer, KIP-848's is refused. classic always is served."},
	{"offsets.topic.num.partitions", "Partitions of __consumer_offsets, when it is made."},
	{"offsets.topic.segment.bytes", "segment.bytes of __consumer_offsets, when it is made."},
	{"offsets.retention.minutes", "How long the offsets of a group without members are kept, in minutes."},
	{"offsets.retention.check.interval.ms", "How often it is looked for offsets that have expired."},
	{"offset.metadata.max.bytes", "The most metadata that a committed offset may carry."},
	{"group.min.session.timeout.ms", "The shortest session timeout that a member of a classic group may ask for."},
	{"group.max.session.timeout.ms", "The longest."},
	{"group.initial.rebalance.delay.ms", "How long the first rebalance of a classic group waits for more members."},
	{"group.max.size", "The most members of a classic group."},
	{"group.consumer.session.timeout.ms", "The session timeout of members of consumer groups (KIP-848)."},
	{"group.consumer.heartbeat.interval.ms", "How often they are told to heartbeat."},
	{"group.consumer.max.size", "The most members of a consumer group."},
	{"group.consumer.assignors", "The server-side assignors, the default first: uniform, range."},
	{"group.consumer.migration.policy", "Whether a group that has members may change between the classic and the consumer protocol."},
	{"group.consumer.assignment.interval.ms", "The least time between two assignments of a consumer group."},
	{"group.consumer.regex.refresh.interval.ms", "How often regular expressions of consumer groups are resolved again."},
	{"transaction.state.log.num.partitions", "Partitions of __transaction_state, when it is made."},
	{"transaction.state.log.segment.bytes", "segment.bytes of __transaction_state, when it is made."},
	{"share.coordinator.state.topic.num.partitions", "Partitions of __share_group_state, when it is made."},
	{"share.coordinator.state.topic.segment.bytes", "segment.bytes of __share_group_state, when it is made."},

	{"segment.bytes", "A segment rolls before it would grow past this."},
	{"segment.ms", "A segment rolls when its first record is this old."},
	{"segment.jitter.ms", "At most this much is taken off segment.ms, by chance, so that not all roll at once."},
	{"segment.index.bytes", "The size at which an index is full and the segment rolls."},
	{"index.interval.bytes", "Log bytes between two entries of the offset index."},
	{"max.message.bytes", "The largest record batch."},
	{"flush.messages", "An append that leaves this many messages unflushed waits for an fsync; 1: every append."},
	{"flush.ms", "Unflushed messages are flushed after this long."},
	{"file.delete.delay.ms", "How long the files of a deleted partition or segment stay."},
	{"message.timestamp.type", "Whether records keep the producer's time or get the broker's."},
	{"message.timestamp.before.max.ms", "How far a record's time may lie behind the broker's."},
	{"message.timestamp.after.max.ms", "How far a record's time may lie ahead of the broker's."},
	{"min.insync.replicas", "In-sync replicas that acks=all needs; one node has 1."},
	{"retention.ms", "How old the newest record of a segment may grow before the segment is deleted; -1: any age."},
	{"retention.bytes", "How large a partition may grow beyond its oldest segment before that is deleted; -1: any size."},
	{"delete.retention.ms", "How long compaction keeps a tombstone after it has cleaned up to it."},
	{"min.compaction.lag.ms", "How long a record stays before compaction may drop it."},
	{"max.compaction.lag.ms", "How long a record may stay before compaction has to look at it."},
	{"min.cleanable.dirty.ratio", "The part of a log that must be new before compaction is worth it, from 0 to 1."},
	{"cleanup.policy", "delete, compact or both. With compact every record needs a key."},
	{"compression.type", "producer: batches stay in the producer's compression; else those in another are brought into this one, off the core."},
	{"compression.gzip.level", "The level of gzip where compression.type is gzip: 1 to 9, or -1 for the codec's own."},
	{"compression.lz4.level", "The level of lz4 where compression.type is lz4: 9 is the fast compressor, as in Kafka, others are the slow one's; from 10 on it does its utmost."},
	{"compression.zstd.level", "The level of zstd where compression.type is zstd, in four steps: up to 2, to 5, to 9, above."},
	{"preallocate", "Accepted: segments are preallocated ahead in any case."},
}

// kept are topic settings that are checked, stored and described, and that
// nothing here acts on yet.
var kept = []struct{ name, doc string }{
	{"local.retention.ms", "With tiered storage, how long a segment stays on the local disk; -2: as retention.ms."},
	{"local.retention.bytes", "With tiered storage, how much of a partition stays on the local disk; -2: as retention.bytes."},
	{"unclean.leader.election.enable", "Whether a replica that is not in sync may become the leader."},
	{"leader.replication.throttled.replicas", "Replicas whose replication is throttled on the leader's side: partition:broker,... or *."},
	{"follower.replication.throttled.replicas", "Replicas whose replication is throttled on the follower's side: partition:broker,... or *."},
	{"remote.storage.enable", "Whether segments go to tiered storage. It is not served, and true is refused."},
	{"remote.log.copy.disable", "Whether a tiered topic stops copying segments out."},
	{"remote.log.delete.on.disable", "Whether turning tiered storage off deletes what it holds."},
	{"internal.segment.bytes", "segment.bytes without its lower bound, for Kafka's own tests."},
}

// refusals are settings that would do something that is not served, where to go
// on without it could do harm.
var refusals = []struct {
	name, doc string
	refused   func(value string) bool
}{
	{"authorizer.class.name", "Authorization is not served yet, and a broker without it lets everybody in.", notEmpty},
	{"remote.log.storage.system.enable", "Tiered storage is not served.", isTrue},
	{"create.topic.policy.class.name", "Policies are Java classes, which cannot run here.", notEmpty},
	{"alter.config.policy.class.name", "Policies are Java classes, which cannot run here.", notEmpty},
	{"client.quota.callback.class", "Quota callbacks are Java classes, which cannot run here.", notEmpty},
	{"config.providers", "Values that stand elsewhere are not fetched; write them out.", notEmpty},
	{"cordoned.log.dirs", "Directories are not cordoned: new partitions go where there is room.", notEmpty},
	{"delete.topic.enable", "Topics can always be deleted.", func(v string) bool { return !isTrue(v) }},
	{"process.roles", "A node is its own controller: broker,controller.", func(v string) bool {
		roles := SplitList(v)
		return !slices.Contains(roles, "broker") || !slices.Contains(roles, "controller")
	}},
	{"controller.quorum.voters", "A node is its own controller: at most one voter, itself.", func(v string) bool { return len(SplitList(v)) > 1 }},
	{"controller.quorum.bootstrap.servers", "A node is its own controller: at most one, itself.", func(v string) bool { return len(SplitList(v)) > 1 }},
}

func notEmpty(v string) bool { return strings.TrimSpace(v) != "" }

func isTrue(v string) bool { return strings.EqualFold(strings.TrimSpace(v), "true") }

// ofGroups are the settings that a group or a subscription to clients' metrics can
// have of its own.
var ofGroups = []struct{ name, doc string }{
	{"consumer.session.timeout.ms", "How long a member of the consumer protocol may be silent."},
	{"consumer.heartbeat.interval.ms", "How often a member of the consumer protocol is to be heard of."},
	{"consumer.assignment.interval.ms", "The least time between two assignments of a consumer group."},
	{"share.session.timeout.ms", "How long a member of a share group may be silent."},
	{"share.heartbeat.interval.ms", "How often a member of a share group is to be heard of."},
	{"share.record.lock.duration.ms", "How long a member of a share group has a record before others may get it."},
	{"share.delivery.count.limit", "How often a record is delivered before it counts as undeliverable."},
	{"share.partition.max.record.locks", "The most records of a partition that members may have at once."},
	{"share.auto.offset.reset", "Where a share group begins in a partition that it has no offset of."},
	{"share.isolation.level", "Whether a share group gets records of transactions that were aborted or are open."},
	{"share.renew.acknowledge.enable", "Whether members may have their hold on a record renewed."},
	{"share.assignment.interval.ms", "The least time between two assignments of a share group."},
	{"streams.session.timeout.ms", "Of groups of the streams protocol, which is not served."},
	{"streams.heartbeat.interval.ms", "Of groups of the streams protocol, which is not served."},
	{"streams.num.standby.replicas", "Of groups of the streams protocol, which is not served."},
	{"streams.initial.rebalance.delay.ms", "Of groups of the streams protocol, which is not served."},
	{"streams.assignment.interval.ms", "Of groups of the streams protocol, which is not served."},
	{"metrics", "Prefixes of the names of the metrics that are subscribed; * is all of them."},
	{"interval.ms", "How often a client is to push them, from 100 to 3600000."},
	{"match", "Which clients are to push them: name=pattern, ..., all of which match."},
}

// dynamicOnly are broker settings that Kafka has only as dynamic ones: they can be
// altered, and are described when they are set.
var dynamicOnly = []*Setting{
	{Name: "leader.replication.throttled.rate", Kind: Long, None: true, Internal: true, Reach: ClusterWide, rule: atLeast(0)},
	{Name: "follower.replication.throttled.rate", Kind: Long, None: true, Internal: true, Reach: ClusterWide, rule: atLeast(0)},
	{Name: "replica.alter.log.dirs.io.max.bytes.per.second", Kind: Long, None: true, Internal: true, Reach: ClusterWide, rule: atLeast(0)},
}

// removed are settings of Kafka before 4.0 that are still found in files, and what
// took their place.
var removed = map[string]string{
	"zookeeper.connect":                       "metadata is kept in the data directory",
	"zookeeper.connection.timeout.ms":         "metadata is kept in the data directory",
	"zookeeper.session.timeout.ms":            "metadata is kept in the data directory",
	"inter.broker.protocol.version":           "features are finalized in the metadata log",
	"log.message.format.version":              "records are stored in format v2",
	"message.format.version":                  "records are stored in format v2",
	"log.message.downconversion.enable":       "records are stored in format v2",
	"log.message.timestamp.difference.max.ms": "see log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms",
	"port":                                "see listeners",
	"host.name":                           "see listeners",
	"advertised.port":                     "see advertised.listeners",
	"advertised.host.name":                "see advertised.listeners",
	"broker.id.generation.enable":         "see node.id",
	"reserved.broker.max.id":              "see node.id",
	"control.plane.listener.name":         "see controller.listener.names",
	"offsets.commit.required.acks":        "commits always wait for all in-sync replicas",
	"password.encoder.secret":             "there is nothing left to encode",
	"zookeeper.metadata.migration.enable": "metadata is kept in the data directory",
	"group.coordinator.new.enable":        "there is one coordinator",
	"auto.include.jmx.reporter":           "see metric.reporters",
	"delegation.token.master.key":         "see delegation.token.secret.key",
}

func atLeast(n int64) rule { return between(n, 1<<62) }

func between(low, high int64) rule {
	return rule{bounded: true, low: low, high: high, min: float64(low), max: float64(high)}
}

func oneOf(choices ...string) rule { return rule{choices: choices} }

// markUses gives every setting its use and text.
func markUses() {
	for _, t := range kept {
		topics.byName[t.name].Doc = t.doc
	}
	for _, t := range ofGroups {
		for _, s := range []*Setting{groups.byName[t.name], clientMetrics.byName[t.name]} {
			if s != nil {
				s.Doc = t.doc
			}
		}
	}
	for _, t := range served {
		for _, s := range []*Setting{topics.byName[t.name], brokers.byName[t.name]} {
			if s != nil {
				s.Use, s.Doc = Served, t.doc
			}
		}
	}
	for _, b := range groupBounds {
		for name, doc := range map[string]string{b.least: "The least that a group's " + b.name + " may be.", b.most: "The most that a group's " + b.name + " may be."} {
			if s := brokers.byName[name]; s != nil && s.Use != Served {
				s.Use, s.Doc = Served, doc
			}
		}
	}
	for _, t := range refusals {
		s := brokers.byName[t.name]
		s.Use, s.Doc, s.refused = Refused, t.doc, t.refused
	}
	for _, t := range topics.all {
		for _, y := range t.Synonyms {
			b := brokers.byName[y.Name]
			if t.Use == Served {
				b.Use = Served
			}
			if b.Doc == "" {
				b.Doc = "The default of topics' " + t.Name + unitOf(y.Name) + ". " + t.Doc
			}
		}
	}
}

// unitOf names the unit of a broker setting where it is not the topic setting's.
func unitOf(name string) string {
	switch {
	case strings.HasSuffix(name, ".hours"):
		return ", in hours"
	case strings.HasSuffix(name, ".minutes"):
		return ", in minutes"
	}
	return ""
}
