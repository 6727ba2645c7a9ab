package broker

import (
	"log/slog"
	"net/netip"
	"strconv"
	"strings"

	"slipstream/internal/group"
	"slipstream/internal/metadata"
	"slipstream/internal/share"
	"slipstream/internal/txn"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Settings are what a broker runs with, resolved from flags, files and defaults
// by whoever starts it.
type Settings struct {
	DataDirs []string // log.dirs
	// MetadataDir has the metadata log (metadata.log.dir); empty: the first of DataDirs has.
	MetadataDir string
	NodeID      int32
	ClusterID   string // for a directory that has none yet; empty: a random one

	Listen         netip.AddrPort // port 0: the kernel chooses
	AdvertisedHost string         // empty: the address that the broker listens on
	AdvertisedPort int32          // 0: the port that the broker listens on
	Backlog        int

	Cores     int
	Level     ring.Level // LevelAuto: what the probe finds
	Wait      reactor.Wait
	SpinNanos int64
	Pin       bool // each core's thread to a processor of its own
	Limits    reactor.Limits
	Rung      reactor.Rung // forces a rung of the fetch ladder, for tests
	// SelfCheck has each coordinator look for contradictions in its own state whenever it has been looked at, in time
	// that grows with its state: for tests. One is logged as an error.
	SelfCheck bool

	Writer       storage.Writer
	MaxOpenFiles int // of all cores together

	WritebackMillis int64 // slipstream.writeback.horizon.ms
	ZerosAhead      bool  // slipstream.flush.zeros.ahead
	WarmBytes       int64 // slipstream.warm.bytes
	WarmMillis      int64 // slipstream.warm.ms

	AutoCreateTopics     bool
	NumPartitions        int32
	ReplicationFactor    int16
	FetchMaxBytes        int32
	FetchSessionSlots    int
	CheckpointMillis     int64 // log.flush.offset.checkpoint.interval.ms
	RetentionCheckMillis int64 // log.retention.check.interval.ms
	DrainMillis          int64 // how long a stopping broker waits for its clients
	RecoveryThreads      int

	Topics   TopicSettings
	Metadata MetadataSettings

	// LogLevel is the level of the broker's log, which BROKER_LOGGER requests change;
	// nil: it cannot be.
	LogLevel LogLevel

	// Watcher looks at the broker from outside; nil: nobody does.
	Watcher Watcher

	// Observers gives each core its observer of the page cache; nil: nobody looks.
	Observers func(core int) reactor.CacheObserver
}

// MetadataSettings are what the metadata log and its snapshots go by.
type MetadataSettings struct {
	SnapshotBytes  int64 // metadata.log.max.record.bytes.between.snapshots
	SnapshotMillis int64 // metadata.log.max.snapshot.interval.ms; 0: whatever the time
	SegmentBytes   int32 // metadata.log.segment.bytes
	SegmentMillis  int64 // metadata.log.segment.ms
	Retention      metadata.Retention
}

// log is what the metadata log is kept by.
func (m MetadataSettings) log() storage.Config {
	c := storage.DefaultConfig()
	c.FlushMessages = 1
	c.MaxMessageBytes = 64 << 20
	c.RetentionMillis, c.RetentionBytes = -1, -1 // it goes when a snapshot stands for it
	if m.SegmentBytes > 0 {
		c.SegmentBytes, c.SegmentMillis = m.SegmentBytes, m.SegmentMillis
	}
	return c
}

// LogLevel is slog.LevelVar: it is read and set by any goroutine.
type LogLevel interface {
	Level() slog.Level
	Set(slog.Level)
}

// TopicSettings knows Kafka's settings: what exists, what is valid, what is in
// force. Its methods are called from several cores at once and must not change
// anything.
type TopicSettings interface {
	metadata.ConfigValidator

	// Resolve gives what a topic runs with: its own settings over the broker's
	// dynamic ones over the static ones over the defaults.
	Resolve(topic []metadata.ConfigEntry, broker BrokerConfigs) TopicConfig

	// These list every setting with its value and where that comes from;
	// DescribeBrokers only what has been set for all of them.
	DescribeTopic(topic []metadata.ConfigEntry, broker BrokerConfigs, q ConfigQuery) []kmsg.DescribeConfigsResponseResourceConfig
	DescribeBroker(broker BrokerConfigs, q ConfigQuery) []kmsg.DescribeConfigsResponseResourceConfig

	// Cleaner gives what compaction goes by.
	Cleaner(broker BrokerConfigs) CleanerSettings

	// Transactions gives what transactions go by.
	Transactions(broker BrokerConfigs) TransactionSettings

	// Groups gives what the group coordinators run with; GroupSettings and the batch
	// limit are not in it.
	Groups(broker BrokerConfigs) group.Settings

	// Shares gives what share groups go by; the batch limit is not in it.
	Shares(broker BrokerConfigs) ShareSettings

	// Connections gives what the doorkeeper goes by.
	Connections(broker BrokerConfigs) ConnectionLimits

	// Quotas gives the windows that rates are measured over.
	Quotas() QuotaSettings

	// GroupProtocols are group.coordinator.rebalance.protocols.
	GroupProtocols() []string

	// Internal says how an internal topic is made.
	Internal(topic string) InternalTopic
	DescribeBrokers(all []metadata.ConfigEntry, q ConfigQuery) []kmsg.DescribeConfigsResponseResourceConfig
	DescribeGroup(group []metadata.ConfigEntry, broker BrokerConfigs, q ConfigQuery) []kmsg.DescribeConfigsResponseResourceConfig
	DescribeClientMetrics(set []metadata.ConfigEntry, q ConfigQuery) []kmsg.DescribeConfigsResponseResourceConfig
}

// ConfigQuery is what a DescribeConfigs request wants to know of a resource.
type ConfigQuery struct {
	Names         []string // empty: all
	Synonyms      bool
	Documentation bool
}

// TopicConfig is what the partitions of a topic, and the checks of what is
// produced to it, run with.
type TopicConfig struct {
	Log               storage.Config
	Rules             protocol.Rules
	MinInsyncReplicas int

	Codec      protocol.Codec // compression.type, if it is not "producer"
	Recompress bool           // it is not
	Level      int            // compression.gzip.level and its like, of Codec
}

// ShareSettings are what share groups go by.
type ShareSettings struct {
	Coordinator share.Settings
	Limits      share.Limits // unless the group has its own
	MaxSessions int          // group.share.max.share.sessions; of all cores
	PruneMillis int64        // share.coordinator.state.topic.prune.interval.ms
}

// TransactionSettings are what transactions go by.
type TransactionSettings struct {
	Coordinator txn.Config // transaction.version and the wait for markers are the broker's to fill in
	Verify      bool       // transaction.partition.verification.enable
}

// configure resolves a topic's settings from the image.
func (s *Shard) configure(t *topicState) {
	c := s.broker.settings.Topics.Resolve(
		s.image.Configs(metadata.Resource{Type: metadata.ResourceTopic, Name: t.name}), s.brokerConfigs())
	t.codec, t.recompress, t.level = c.Codec, c.Recompress, c.Level
	t.settings, t.rules, t.minInsyncReplicas = c.Log, c.Rules, c.MinInsyncReplicas
}

// BrokerConfigs are the dynamic settings of brokers: this one's own, and those of
// all brokers of the cluster, which the own ones win over.
type BrokerConfigs struct{ Own, All []metadata.ConfigEntry }

// brokerConfigs are the dynamic settings of this broker.
func (s *Shard) brokerConfigs() BrokerConfigs {
	return BrokerConfigs{
		Own: s.image.Configs(metadata.Resource{Type: metadata.ResourceBroker, Name: itoa(int(s.broker.settings.NodeID))}),
		All: s.image.Configs(metadata.Resource{Type: metadata.ResourceBroker}),
	}
}

// recoveryThreads is the setting as it is now, in the metadata log or else as given.
func (b *Broker) recoveryThreads() int {
	set := b.shards[controllerCore].brokerConfigs()
	for _, entries := range [][]metadata.ConfigEntry{set.Own, set.All} {
		for _, e := range entries {
			if n, err := strconv.Atoi(strings.TrimSpace(e.Value)); err == nil && e.Name == "num.recovery.threads.per.data.dir" {
				return n
			}
		}
	}
	return b.settings.RecoveryThreads
}
