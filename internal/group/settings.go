package group

// MigrationPolicy is group.consumer.migration.policy: whether a group that has
// members may change its protocol.
type MigrationPolicy int8

// Kafka's policies.
const (
	MigrationDisabled MigrationPolicy = iota
	MigrationUpgrade
	MigrationDowngrade
	MigrationBidirectional
)

func (p MigrationPolicy) upgrades() bool {
	return p == MigrationUpgrade || p == MigrationBidirectional
}

func (p MigrationPolicy) downgrades() bool {
	return p == MigrationDowngrade || p == MigrationBidirectional
}

// Settings are Kafka's settings of groups. They may be changed between inputs
// (Coordinator.SetSettings).
type Settings struct {
	MinSessionTimeoutMillis     int32 // group.min.session.timeout.ms
	MaxSessionTimeoutMillis     int32 // group.max.session.timeout.ms
	InitialRebalanceDelayMillis int32 // group.initial.rebalance.delay.ms
	MaxSize                     int32 // group.max.size

	OffsetMetadataMaxBytes       int32 // offset.metadata.max.bytes
	OffsetsRetentionMillis       int64 // offsets.retention.minutes
	OffsetsRetentionCheckMillis  int64 // offsets.retention.check.interval.ms
	MaxBatchBytes                int32 // max.message.bytes of __consumer_offsets: what one batch may weigh
	ConsumerSessionTimeoutMillis int32 // group.consumer.session.timeout.ms

	ConsumerHeartbeatIntervalMillis    int32           // group.consumer.heartbeat.interval.ms
	ConsumerMaxSize                    int32           // group.consumer.max.size
	ConsumerAssignors                  []string        // group.consumer.assignors, the default first
	ConsumerMigrationPolicy            MigrationPolicy // group.consumer.migration.policy
	ConsumerAssignmentIntervalMillis   int32           // group.consumer.assignment.interval.ms
	ConsumerRegexRefreshIntervalMillis int32           // group.consumer.regex.refresh.interval.ms

	ShareSessionTimeoutMillis    int32 // group.share.session.timeout.ms
	ShareHeartbeatIntervalMillis int32 // group.share.heartbeat.interval.ms
	ShareMaxSize                 int32 // group.share.max.size
	ShareAssignmentMillis        int32 // group.share.assignment.interval.ms
	ShareInitializeRetryMillis   int32 // group.share.initialize.retry.interval.ms

	// Group gives a group's own settings where it has any (ConfigResource GROUP);
	// nil: no group has.
	Group func(groupID string) (GroupSettings, bool)
}

// GroupSettings are the settings of one group; 0: it is as for all.
type GroupSettings struct {
	ConsumerSessionTimeoutMillis     int32 // consumer.session.timeout.ms
	ConsumerHeartbeatIntervalMillis  int32 // consumer.heartbeat.interval.ms
	ConsumerAssignmentIntervalMillis int32 // consumer.assignment.interval.ms
	ShareSessionTimeoutMillis        int32 // share.session.timeout.ms
	ShareHeartbeatIntervalMillis     int32 // share.heartbeat.interval.ms
	ShareAssignmentMillis            int32 // share.assignment.interval.ms
}

// DefaultSettings are those of Apache Kafka 4.3.
func DefaultSettings() Settings {
	return Settings{
		MinSessionTimeoutMillis:            6_000,
		MaxSessionTimeoutMillis:            1_800_000,
		InitialRebalanceDelayMillis:        3_000,
		MaxSize:                            1<<31 - 1,
		OffsetMetadataMaxBytes:             4_096,
		OffsetsRetentionMillis:             7 * 24 * 3_600_000,
		OffsetsRetentionCheckMillis:        600_000,
		MaxBatchBytes:                      1_048_588,
		ConsumerSessionTimeoutMillis:       45_000,
		ConsumerHeartbeatIntervalMillis:    5_000,
		ConsumerMaxSize:                    1<<31 - 1,
		ConsumerAssignors:                  []string{"uniform", "range"},
		ConsumerMigrationPolicy:            MigrationBidirectional,
		ConsumerAssignmentIntervalMillis:   1_000,
		ConsumerRegexRefreshIntervalMillis: 600_000,
		ShareSessionTimeoutMillis:          45_000,
		ShareHeartbeatIntervalMillis:       5_000,
		ShareMaxSize:                       200,
		ShareAssignmentMillis:              1_000,
		ShareInitializeRetryMillis:         30_000,
	}
}

func (c *Coordinator) consumerSessionMillis(groupID string) int32 {
	if s, ok := c.groupSettings(groupID); ok && s.ConsumerSessionTimeoutMillis > 0 {
		return s.ConsumerSessionTimeoutMillis
	}
	return c.settings.ConsumerSessionTimeoutMillis
}

func (c *Coordinator) consumerHeartbeatMillis(groupID string) int32 {
	if s, ok := c.groupSettings(groupID); ok && s.ConsumerHeartbeatIntervalMillis > 0 {
		return s.ConsumerHeartbeatIntervalMillis
	}
	return c.settings.ConsumerHeartbeatIntervalMillis
}

func (c *Coordinator) assignmentIntervalMillis(groupID string) int32 {
	if s, ok := c.groupSettings(groupID); ok && s.ConsumerAssignmentIntervalMillis > 0 {
		return s.ConsumerAssignmentIntervalMillis
	}
	return c.settings.ConsumerAssignmentIntervalMillis
}

func (c *Coordinator) groupSettings(groupID string) (GroupSettings, bool) {
	if c.settings.Group == nil {
		return GroupSettings{}, false
	}
	return c.settings.Group(groupID)
}

// shareMillis is one of a share group's intervals: its own, or else that for all.
func (c *Coordinator) shareMillis(groupID string, own func(*GroupSettings) int32, all int32) int64 {
	if s, ok := c.groupSettings(groupID); ok && own(&s) > 0 {
		return int64(own(&s))
	}
	return int64(all)
}
