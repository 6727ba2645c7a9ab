package broker

import (
	"slices"

	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTopicPartitions (75), version 0: topics page by page, with eligible
// leader replicas (KIP-966).

// maxPartitionsPerPage is max.request.partition.size.limit's default.
const maxPartitionsPerPage = 2000

func (s *Shard) serveDescribeTopicPartitions(c *call) {
	req := c.body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	if req.Cursor != nil && req.Cursor.Partition < 0 {
		c.reply(refusePage(req))
		return
	}
	limit := min(max(int(req.ResponsePartitionLimit), 1), maxPartitionsPerPage)
	for _, name := range s.topicsToDescribe(req) {
		if limit == 0 {
			resp.NextCursor = cursorAt(name, 0)
			break
		}
		first := 0
		if req.Cursor != nil && req.Cursor.Topic == name {
			first = int(max(req.Cursor.Partition, 0))
		}
		t, next := s.describePage(name, first, limit)
		limit -= len(t.Partitions)
		resp.Topics = append(resp.Topics, t)
		if next >= 0 {
			resp.NextCursor = cursorAt(name, next)
			break
		}
	}
	c.reply(resp)
}

// refusePage is Kafka's answer to a cursor that points nowhere.
func refusePage(req *kmsg.DescribeTopicPartitionsRequest) *kmsg.DescribeTopicPartitionsResponse {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for i := range req.Topics {
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		t.Topic, t.ErrorCode = &req.Topics[i].Topic, int16(protocol.INVALID_REQUEST)
		t.AuthorizedOperations = authorizedOperationsAbsent
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func cursorAt(topic string, partition int) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	cursor := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	cursor.Topic, cursor.Partition = topic, int32(partition)
	return &cursor
}

// topicsToDescribe lists the topics asked for (or all), by name, from the cursor on.
func (s *Shard) topicsToDescribe(req *kmsg.DescribeTopicPartitionsRequest) (names []string) {
	if len(req.Topics) == 0 {
		for _, t := range s.image.Topics() {
			names = append(names, t.Name)
		}
	}
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor != nil {
		names = slices.DeleteFunc(names, func(n string) bool { return n < req.Cursor.Topic })
	}
	return names
}

// describePage describes at most limit partitions of a topic, from first on, and
// says where the next page begins, or -1.
func (s *Shard) describePage(name string, first, limit int) (kmsg.DescribeTopicPartitionsResponseTopic, int) {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic = &name
	out.AuthorizedOperations = topicOperations
	t := s.image.TopicByName(name)
	if t == nil {
		out.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
		if metadata.CheckTopicName(name) != nil {
			out.ErrorCode = int16(protocol.INVALID_TOPIC_EXCEPTION)
		}
		return out, -1
	}
	out.TopicID, out.IsInternal = t.ID, isInternal(name)
	first = min(first, len(t.Partitions))
	last := min(first+limit, len(t.Partitions))
	for i := first; i < last; i++ {
		p := &t.Partitions[i]
		o := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		o.Partition, o.LeaderID, o.LeaderEpoch = p.Index, p.Leader, p.LeaderEpoch
		o.Replicas, o.ISR = p.Replicas, p.ISR
		// Null would be an error in Kafka's own admin client.
		o.EligibleLeaderReplicas, o.LastKnownELR = append([]int32{}, p.EligibleLeaderReplicas...), append([]int32{}, p.LastKnownELR...)
		o.OfflineReplicas = append([]int32{}, s.image.Offline(p)...)
		out.Partitions = append(out.Partitions, o)
	}
	if last < len(t.Partitions) {
		return out, last
	}
	return out, -1
}
