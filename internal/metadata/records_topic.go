package metadata

// TopicRecord creates a topic, without partitions.
type TopicRecord struct {
	Name    string
	TopicID UUID // the unique ID of this topic
	Tags    []Tag
}

// Key is 2 (TopicRecord.json).
func (r *TopicRecord) Key() uint32      { return 2 }
func (r *TopicRecord) version() int16   { return 0 }
func (r *TopicRecord) setVersion(int16) {}

func (r *TopicRecord) body(c *codec) {
	c.string(&r.Name)
	c.uuid(&r.TopicID)
	c.tags(&r.Tags)
}

// PartitionRecord creates one partition of a topic.
type PartitionRecord struct {
	Version                int16
	PartitionID            int32
	TopicID                UUID    // the unique ID of this topic
	Replicas               []int32 // preferred order
	ISR                    []int32 // the in-sync replicas of this partition
	RemovingReplicas       []int32 // the replicas that we are in the process of removing
	AddingReplicas         []int32 // the replicas that we are in the process of adding
	Leader                 int32   // NoLeader: none
	LeaderRecoveryState    int8    // 1: after an unclean election; else 0
	LeaderEpoch            int32   // the epoch of the partition leader
	PartitionEpoch         int32   // raised by every change of the partition
	Directories            []UUID  // each replica's, in the order of Replicas (v1+)
	EligibleLeaderReplicas []int32 // nil: none (v2+)
	LastKnownELR           []int32 // nil: none (v2+)
	Tags                   []Tag
}

// Key is 3 (PartitionRecord.json).
func (r *PartitionRecord) Key() uint32        { return 3 }
func (r *PartitionRecord) version() int16     { return r.Version }
func (r *PartitionRecord) setVersion(v int16) { r.Version = v }

func (r *PartitionRecord) body(c *codec) {
	c.int32(&r.PartitionID)
	c.uuid(&r.TopicID)
	c.int32s(&r.Replicas)
	c.int32s(&r.ISR)
	c.int32s(&r.RemovingReplicas)
	c.int32s(&r.AddingReplicas)
	c.int32(&r.Leader)
	c.int32(&r.LeaderEpoch)
	c.int32(&r.PartitionEpoch)
	if r.Version >= 1 {
		c.uuids(&r.Directories)
	}
	c.tags(&r.Tags,
		optional{0, true, r.LeaderRecoveryState != 0, func(c *codec) { c.int8(&r.LeaderRecoveryState) }},
		optional{1, r.Version >= 2, r.EligibleLeaderReplicas != nil, func(c *codec) { c.nullableInt32s(&r.EligibleLeaderReplicas) }},
		optional{2, r.Version >= 2, r.LastKnownELR != nil, func(c *codec) { c.nullableInt32s(&r.LastKnownELR) }},
	)
}

// PartitionChangeRecord changes parts of a partition. Each one raises the
// partition epoch; one that names a leader raises the leader epoch too, even if
// it is the same leader.
type PartitionChangeRecord struct {
	Version                int16
	PartitionID            int32
	TopicID                UUID    // the unique ID of this topic
	ISR                    []int32 // nil here and below: no change
	Leader                 int32   // NoLeader: none now; NoLeaderChange: no change
	Replicas               []int32
	RemovingReplicas       []int32
	AddingReplicas         []int32
	LeaderRecoveryState    int8    // -1: no change
	Directories            []UUID  // (v1+)
	EligibleLeaderReplicas []int32 // (v2+)
	LastKnownELR           []int32 // (v2+)
	Tags                   []Tag
}

// Key is 5 (PartitionChangeRecord.json).
func (r *PartitionChangeRecord) Key() uint32        { return 5 }
func (r *PartitionChangeRecord) version() int16     { return r.Version }
func (r *PartitionChangeRecord) setVersion(v int16) { r.Version = v }

func (r *PartitionChangeRecord) body(c *codec) {
	c.int32(&r.PartitionID)
	c.uuid(&r.TopicID)
	c.tags(&r.Tags,
		optional{0, true, r.ISR != nil, func(c *codec) { c.nullableInt32s(&r.ISR) }},
		optional{1, true, r.Leader != -2, func(c *codec) { c.int32(&r.Leader) }},
		optional{2, true, r.Replicas != nil, func(c *codec) { c.nullableInt32s(&r.Replicas) }},
		optional{3, true, r.RemovingReplicas != nil, func(c *codec) { c.nullableInt32s(&r.RemovingReplicas) }},
		optional{4, true, r.AddingReplicas != nil, func(c *codec) { c.nullableInt32s(&r.AddingReplicas) }},
		optional{5, true, r.LeaderRecoveryState != -1, func(c *codec) { c.int8(&r.LeaderRecoveryState) }},
		optional{6, r.Version >= 2, r.EligibleLeaderReplicas != nil, func(c *codec) { c.nullableInt32s(&r.EligibleLeaderReplicas) }},
		optional{7, r.Version >= 2, r.LastKnownELR != nil, func(c *codec) { c.nullableInt32s(&r.LastKnownELR) }},
		optional{8, r.Version >= 1, r.Directories != nil, func(c *codec) { c.nullableUUIDs(&r.Directories) }},
	)
}

// RemoveTopicRecord removes a topic, its partitions and its configs.
type RemoveTopicRecord struct {
	TopicID UUID
	Tags    []Tag
}

// Key is 9 (RemoveTopicRecord.json).
func (r *RemoveTopicRecord) Key() uint32      { return 9 }
func (r *RemoveTopicRecord) version() int16   { return 0 }
func (r *RemoveTopicRecord) setVersion(int16) {}

func (r *RemoveTopicRecord) body(c *codec) {
	c.uuid(&r.TopicID)
	c.tags(&r.Tags)
}

// ConfigRecord sets or deletes one dynamic config of a resource.
type ConfigRecord struct {
	ResourceType int8    // the type of resource this configuration applies to
	ResourceName string  // the name of the resource this configuration applies to
	Name         string  // the name of the configuration key
	Value        *string // nil: delete it
	Tags         []Tag
}

// Key is 4 (ConfigRecord.json).
func (r *ConfigRecord) Key() uint32      { return 4 }
func (r *ConfigRecord) version() int16   { return 0 }
func (r *ConfigRecord) setVersion(int16) {}

func (r *ConfigRecord) body(c *codec) {
	c.int8(&r.ResourceType)
	c.string(&r.ResourceName)
	c.string(&r.Name)
	c.nullableString(&r.Value)
	c.tags(&r.Tags)
}

// ClearElrRecord empties the eligible leader replicas of a topic, or of all.
type ClearElrRecord struct {
	TopicName string // empty: every topic
	Tags      []Tag
}

// Key is 28 (ClearElrRecord.json).
func (r *ClearElrRecord) Key() uint32      { return 28 }
func (r *ClearElrRecord) version() int16   { return 0 }
func (r *ClearElrRecord) setVersion(int16) {}

func (r *ClearElrRecord) body(c *codec) {
	c.string(&r.TopicName)
	c.tags(&r.Tags)
}

// Leader values with a meaning of their own.
const (
	NoLeader       int32 = -1 // the partition has none
	NoLeaderChange int32 = -2 // in a PartitionChangeRecord: the leader stays, and so does its epoch
)

// NewPartitionChange is a change of nothing: the caller sets what changes.
func NewPartitionChange(topic UUID, partition int32) *PartitionChangeRecord {
	return &PartitionChangeRecord{TopicID: topic, PartitionID: partition, Leader: NoLeaderChange, LeaderRecoveryState: -1}
}
