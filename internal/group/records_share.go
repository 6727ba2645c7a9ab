package group

import "slipstream/protocol"

// The values of a share group's records (KIP-932): all have version 0 and flexible
// encoding. A target assignment's two records are those of a consumer group, under
// other types.

// ShareGroupMetadataValue is a share group's epoch.
type ShareGroupMetadataValue struct {
	Epoch        int32
	MetadataHash int64 // of the subscribed topics; opaque: it is only compared
	Tags         []Tag
}

func (v *ShareGroupMetadataValue) version() int16 { return 0 }

func (v *ShareGroupMetadataValue) walk(c *codec, _ int16) {
	c.int32(&v.Epoch)
	c.int64(&v.MetadataHash)
	c.noTags(&v.Tags)
}

// ShareGroupMemberMetadataValue is what a member said of itself.
type ShareGroupMemberMetadataValue struct {
	RackID               *string
	ClientID             string
	ClientHost           string
	SubscribedTopicNames []string
	Tags                 []Tag
}

func (v *ShareGroupMemberMetadataValue) version() int16 { return 0 }

func (v *ShareGroupMemberMetadataValue) walk(c *codec, _ int16) {
	c.nullableString(&v.RackID)
	c.string(&v.ClientID)
	c.string(&v.ClientHost)
	c.strings(&v.SubscribedTopicNames)
	c.noTags(&v.Tags)
}

// ShareGroupCurrentMemberAssignmentValue is what a member has.
type ShareGroupCurrentMemberAssignmentValue struct {
	MemberEpoch         int32
	PreviousMemberEpoch int32
	State               int8
	AssignedPartitions  []TopicPartitions
	Tags                []Tag
}

func (v *ShareGroupCurrentMemberAssignmentValue) version() int16 { return 0 }

func (v *ShareGroupCurrentMemberAssignmentValue) walk(c *codec, _ int16) {
	c.int32(&v.MemberEpoch)
	c.int32(&v.PreviousMemberEpoch)
	c.int8(&v.State)
	array(c, &v.AssignedPartitions, 18, func(c *codec, t *TopicPartitions) {
		c.uuid(&t.TopicID)
		c.int32s(&t.Partitions)
		c.noTags(&t.Tags)
	})
	c.noTags(&v.Tags)
}

// ShareGroupStatePartitionMetadataValue is which partitions the group has kept states
// of, and for which that is being changed.
type ShareGroupStatePartitionMetadataValue struct {
	InitializingTopics []ShareTopicPartitions
	InitializedTopics  []ShareTopicPartitions
	DeletingTopics     []ShareTopic
	Tags               []Tag
}

// ShareTopicPartitions is some partitions of a topic.
type ShareTopicPartitions struct {
	TopicID    protocol.UUID
	TopicName  string
	Partitions []int32
	Tags       []Tag
}

// ShareTopic is a topic.
type ShareTopic struct {
	TopicID   protocol.UUID
	TopicName string
	Tags      []Tag
}

func (v *ShareGroupStatePartitionMetadataValue) version() int16 { return 0 }

func (v *ShareGroupStatePartitionMetadataValue) walk(c *codec, _ int16) {
	for _, topics := range [...]*[]ShareTopicPartitions{&v.InitializingTopics, &v.InitializedTopics} {
		array(c, topics, 19, func(c *codec, t *ShareTopicPartitions) {
			c.uuid(&t.TopicID)
			c.string(&t.TopicName)
			c.int32s(&t.Partitions)
			c.noTags(&t.Tags)
		})
	}
	array(c, &v.DeletingTopics, 18, func(c *codec, t *ShareTopic) {
		c.uuid(&t.TopicID)
		c.string(&t.TopicName)
		c.noTags(&t.Tags)
	})
	c.noTags(&v.Tags)
}
