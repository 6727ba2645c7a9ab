package group

import "slipstream/protocol"

// The values of a consumer group's records (KIP-848): all have version 0 and
// flexible encoding.

// ConsumerGroupMetadataValue is a consumer group's epoch.
type ConsumerGroupMetadataValue struct {
	Epoch        int32
	MetadataHash int64 // of the subscribed topics; opaque: it is only compared
	Tags         []Tag
}

func (v *ConsumerGroupMetadataValue) version() int16 { return 0 }

func (v *ConsumerGroupMetadataValue) walk(c *codec, _ int16) {
	c.int32(&v.Epoch)
	c.tags(&v.Tags, optional{0, v.MetadataHash != 0, func(c *codec) { c.int64(&v.MetadataHash) }})
}

// ConsumerGroupPartitionMetadataValue is what Kafka 4.0 remembered of the
// subscribed topics; MetadataHash has taken its place.
type ConsumerGroupPartitionMetadataValue struct {
	Topics []PartitionMetadataTopic
	Tags   []Tag
}

// PartitionMetadataTopic is a topic as it was when the group looked.
type PartitionMetadataTopic struct {
	TopicID       protocol.UUID
	TopicName     string
	NumPartitions int32
	Partitions    []PartitionMetadataRacks
	Tags          []Tag
}

// PartitionMetadataRacks is where a partition's replicas were.
type PartitionMetadataRacks struct {
	Partition int32
	Racks     []string
	Tags      []Tag
}

func (v *ConsumerGroupPartitionMetadataValue) version() int16 { return 0 }

func (v *ConsumerGroupPartitionMetadataValue) walk(c *codec, _ int16) {
	array(c, &v.Topics, 23, func(c *codec, t *PartitionMetadataTopic) {
		c.uuid(&t.TopicID)
		c.string(&t.TopicName)
		c.int32(&t.NumPartitions)
		array(c, &t.Partitions, 6, func(c *codec, p *PartitionMetadataRacks) {
			c.int32(&p.Partition)
			c.strings(&p.Racks)
			c.noTags(&p.Tags)
		})
		c.noTags(&t.Tags)
	})
	c.noTags(&v.Tags)
}

// ConsumerGroupMemberMetadataValue is what a member said of itself.
type ConsumerGroupMemberMetadataValue struct {
	InstanceID             *string
	RackID                 *string
	ClientID               string
	ClientHost             string
	SubscribedTopicNames   []string
	SubscribedTopicRegex   *string
	RebalanceTimeoutMillis int32
	ServerAssignor         *string
	Classic                *ClassicMemberMetadata // nil: the member speaks the consumer protocol
	Tags                   []Tag
}

// ClassicMemberMetadata is what a member that speaks the classic protocol said.
type ClassicMemberMetadata struct {
	SessionTimeoutMillis int32
	SupportedProtocols   []ClassicProtocol
	Tags                 []Tag
}

// ClassicProtocol is one assignor of a classic member with its metadata.
type ClassicProtocol struct {
	Name     string
	Metadata []byte
	Tags     []Tag
}

func (v *ConsumerGroupMemberMetadataValue) version() int16 { return 0 }

func (v *ConsumerGroupMemberMetadataValue) walk(c *codec, _ int16) {
	c.nullableString(&v.InstanceID)
	c.nullableString(&v.RackID)
	c.string(&v.ClientID)
	c.string(&v.ClientHost)
	c.strings(&v.SubscribedTopicNames)
	c.nullableString(&v.SubscribedTopicRegex)
	c.int32(&v.RebalanceTimeoutMillis)
	c.nullableString(&v.ServerAssignor)
	c.tags(&v.Tags, optional{0, true, v.walkClassic}) // Kafka writes the tag, even if it is null
}

// walkClassic is a nullable structure: a varint says whether it is there.
func (v *ConsumerGroupMemberMetadataValue) walkClassic(c *codec) {
	present := uint32(0)
	if v.Classic != nil {
		present = 1
	}
	c.uvarint(&present)
	if present == 0 || c.err != nil {
		return
	}
	if c.reading {
		v.Classic = &ClassicMemberMetadata{}
	}
	c.int32(&v.Classic.SessionTimeoutMillis)
	array(c, &v.Classic.SupportedProtocols, 3, func(c *codec, p *ClassicProtocol) {
		c.string(&p.Name)
		c.bytes(&p.Metadata)
		c.noTags(&p.Tags)
	})
	c.noTags(&v.Classic.Tags)
}

// ConsumerGroupTargetAssignmentMetadataValue is the epoch that the target
// assignment was computed for.
type ConsumerGroupTargetAssignmentMetadataValue struct {
	AssignmentEpoch     int32
	AssignmentTimestamp int64 // milliseconds, when it was ready; 0: not known
	Tags                []Tag
}

func (v *ConsumerGroupTargetAssignmentMetadataValue) version() int16 { return 0 }

func (v *ConsumerGroupTargetAssignmentMetadataValue) walk(c *codec, _ int16) {
	c.int32(&v.AssignmentEpoch)
	c.tags(&v.Tags, optional{0, v.AssignmentTimestamp != 0, func(c *codec) { c.int64(&v.AssignmentTimestamp) }})
}

// TopicPartitions is a topic and some of its partitions.
type TopicPartitions struct {
	TopicID          protocol.UUID
	Partitions       []int32
	AssignmentEpochs []int32 // when each was assigned; nil: not known; in a current assignment only
	Tags             []Tag
}

// ConsumerGroupTargetAssignmentMemberValue is what a member is to have.
type ConsumerGroupTargetAssignmentMemberValue struct {
	TopicPartitions []TopicPartitions
	Tags            []Tag
}

func (v *ConsumerGroupTargetAssignmentMemberValue) version() int16 { return 0 }

func (v *ConsumerGroupTargetAssignmentMemberValue) walk(c *codec, _ int16) {
	array(c, &v.TopicPartitions, 18, func(c *codec, t *TopicPartitions) {
		c.uuid(&t.TopicID)
		c.int32s(&t.Partitions)
		c.noTags(&t.Tags)
	})
	c.noTags(&v.Tags)
}

// ConsumerGroupCurrentMemberAssignmentValue is what a member has, and what of it
// it must give up.
type ConsumerGroupCurrentMemberAssignmentValue struct {
	MemberEpoch                 int32
	PreviousMemberEpoch         int32
	State                       int8
	AssignedPartitions          []TopicPartitions
	PartitionsPendingRevocation []TopicPartitions
	Tags                        []Tag
}

func (v *ConsumerGroupCurrentMemberAssignmentValue) version() int16 { return 0 }

func (v *ConsumerGroupCurrentMemberAssignmentValue) walk(c *codec, _ int16) {
	c.int32(&v.MemberEpoch)
	c.int32(&v.PreviousMemberEpoch)
	c.int8(&v.State)
	array(c, &v.AssignedPartitions, 18, (*codec).assigned)
	array(c, &v.PartitionsPendingRevocation, 18, (*codec).assigned)
	c.noTags(&v.Tags)
}

func (c *codec) assigned(t *TopicPartitions) {
	c.uuid(&t.TopicID)
	c.int32s(&t.Partitions)
	c.tags(&t.Tags, optional{0, t.AssignmentEpochs != nil, func(c *codec) { c.nullableInt32s(&t.AssignmentEpochs) }})
}

// ConsumerGroupRegularExpressionValue is what topics a regular expression means.
type ConsumerGroupRegularExpressionValue struct {
	Topics    []string
	Version   int64 // of the metadata image that was looked at
	Timestamp int64 // milliseconds, when
	Tags      []Tag
}

func (v *ConsumerGroupRegularExpressionValue) version() int16 { return 0 }

func (v *ConsumerGroupRegularExpressionValue) walk(c *codec, _ int16) {
	c.strings(&v.Topics)
	c.int64(&v.Version)
	c.int64(&v.Timestamp)
	c.noTags(&v.Tags)
}
