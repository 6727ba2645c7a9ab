package broker

import (
	"strconv"
	"strings"

	"slipstream/internal/config"
	"slipstream/internal/group"
	"slipstream/internal/metadata"
	"slipstream/internal/share"
	"slipstream/internal/txn"
)

// What coordinators run with: Kafka's group.* and offsets.* settings, and how
// internal topics are made.

// number reads a broker setting in force, which was checked when it was set.
func (k kafkaSettings) number(d config.Dynamic, name string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(k.static.BrokerValue(config.Broker(name), d).Text), 10, 64)
	return n
}

// Groups implements TopicSettings.
func (k kafkaSettings) Groups(broker BrokerConfigs) group.Settings {
	d := dynamic(nil, broker)
	small := func(name string) int32 { return int32(k.number(d, name)) }
	return group.Settings{
		MinSessionTimeoutMillis:            small("group.min.session.timeout.ms"),
		MaxSessionTimeoutMillis:            small("group.max.session.timeout.ms"),
		InitialRebalanceDelayMillis:        small("group.initial.rebalance.delay.ms"),
		MaxSize:                            small("group.max.size"),
		OffsetMetadataMaxBytes:             small("offset.metadata.max.bytes"),
		OffsetsRetentionMillis:             k.number(d, "offsets.retention.minutes") * 60_000,
		OffsetsRetentionCheckMillis:        k.number(d, "offsets.retention.check.interval.ms"),
		ConsumerSessionTimeoutMillis:       small("group.consumer.session.timeout.ms"),
		ConsumerHeartbeatIntervalMillis:    small("group.consumer.heartbeat.interval.ms"),
		ConsumerMaxSize:                    small("group.consumer.max.size"),
		ConsumerAssignors:                  config.SplitList(k.static.BrokerValue(config.Broker("group.consumer.assignors"), d).Text),
		ConsumerMigrationPolicy:            migrationPolicy(k.static.BrokerValue(config.Broker("group.consumer.migration.policy"), d).Text),
		ConsumerAssignmentIntervalMillis:   small("group.consumer.assignment.interval.ms"),
		ConsumerRegexRefreshIntervalMillis: small("group.consumer.regex.refresh.interval.ms"),
		ShareSessionTimeoutMillis:          small("group.share.session.timeout.ms"),
		ShareHeartbeatIntervalMillis:       small("group.share.heartbeat.interval.ms"),
		ShareMaxSize:                       small("group.share.max.size"),
		ShareAssignmentMillis:              small("group.share.assignment.interval.ms"),
		ShareInitializeRetryMillis:         small("group.share.initialize.retry.interval.ms"),
	}
}

// Shares implements TopicSettings.
func (k kafkaSettings) Shares(broker BrokerConfigs) ShareSettings {
	d := dynamic(nil, broker)
	return ShareSettings{
		Coordinator: share.Settings{
			SnapshotUpdateRecords: int(k.number(d, "share.coordinator.snapshot.update.records.per.snapshot")),
			ColdSnapshotMillis:    k.number(d, "share.coordinator.cold.partition.snapshot.interval.ms"),
		},
		Limits: share.Limits{
			MaxRecordLocks:     int32(k.number(d, "group.share.partition.max.record.locks")),
			DeliveryCountLimit: int16(k.number(d, "group.share.delivery.count.limit")),
			LockMillis:         int32(k.number(d, "group.share.record.lock.duration.ms")),
		},
		MaxSessions: int(k.number(d, "group.share.max.share.sessions")),
		PruneMillis: k.number(d, "share.coordinator.state.topic.prune.interval.ms"),
	}
}

// GroupProtocols implements TopicSettings.
func (k kafkaSettings) GroupProtocols() []string {
	return config.SplitList(k.static.Get("group.coordinator.rebalance.protocols"))
}

func migrationPolicy(text string) group.MigrationPolicy {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "upgrade":
		return group.MigrationUpgrade
	case "downgrade":
		return group.MigrationDowngrade
	case "bidirectional":
		return group.MigrationBidirectional
	}
	return group.MigrationDisabled
}

// Transactions implements TopicSettings.
func (k kafkaSettings) Transactions(broker BrokerConfigs) TransactionSettings {
	d := dynamic(nil, broker)
	out := TransactionSettings{Coordinator: txn.DefaultConfig()}
	out.Coordinator.MaxTimeoutMillis = int32(k.number(d, "transaction.max.timeout.ms"))
	out.Coordinator.ExpirationMillis = k.number(d, "transactional.id.expiration.ms")
	out.Verify = strings.TrimSpace(k.static.BrokerValue(config.Broker("transaction.partition.verification.enable"), d).Text) != "false"
	return out
}

// Internal implements TopicSettings. One node holds every topic once, whatever the
// replication factors and minimums of in-sync replicas of these topics say.
func (k kafkaSettings) Internal(topic string) InternalTopic {
	number := func(name string) string { return strconv.FormatInt(k.number(config.Dynamic{}, name), 10) }
	partitions := func(name string) int32 { return int32(k.number(config.Dynamic{}, name)) }
	switch topic {
	case consumerOffsets.name:
		return InternalTopic{Partitions: partitions("offsets.topic.num.partitions"), Configs: []metadata.ConfigEntry{
			{Name: "cleanup.policy", Value: "compact"},
			{Name: "compression.type", Value: "producer"},
			{Name: "segment.bytes", Value: number("offsets.topic.segment.bytes")},
		}}
	case transactionState.name:
		return InternalTopic{Partitions: partitions("transaction.state.log.num.partitions"), Configs: []metadata.ConfigEntry{
			{Name: "cleanup.policy", Value: "compact"},
			{Name: "compression.type", Value: "uncompressed"},
			{Name: "min.insync.replicas", Value: "1"},
			{Name: "segment.bytes", Value: number("transaction.state.log.segment.bytes")},
			{Name: "unclean.leader.election.enable", Value: "false"},
		}}
	case shareGroupState.name:
		return InternalTopic{Partitions: partitions("share.coordinator.state.topic.num.partitions"), Configs: []metadata.ConfigEntry{
			{Name: "cleanup.policy", Value: "delete"},
			{Name: "compression.type", Value: "producer"},
			{Name: "min.insync.replicas", Value: "1"},
			{Name: "retention.ms", Value: "-1"},
			{Name: "segment.bytes", Value: number("share.coordinator.state.topic.segment.bytes")},
		}}
	}
	return InternalTopic{Partitions: 1}
}

// Cleaner implements TopicSettings.
func (k kafkaSettings) Cleaner(broker BrokerConfigs) CleanerSettings {
	d := dynamic(nil, broker)
	c := CleanerSettings{
		Threads: int(k.number(d, "log.cleaner.threads")), MapBytes: k.number(d, "log.cleaner.dedupe.buffer.size"),
		BackoffMillis: k.number(d, "log.cleaner.backoff.ms"),
	}
	c.BytesPerSec, _ = strconv.ParseFloat(strings.TrimSpace(k.static.BrokerValue(config.Broker("log.cleaner.io.max.bytes.per.second"), d).Text), 64)
	if k.static.Get("log.cleaner.enable") == "false" {
		c.Threads = 0
	}
	return c
}
