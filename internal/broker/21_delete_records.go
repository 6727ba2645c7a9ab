package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords (21), versions 0-2: the log's start moves up at once; files go when
// retention's helpers get to them. One node has no followers to wait for, so the
// timeout is not used.

func (s *Shard) serveDeleteRecords(c *call) {
	req := c.body.(*kmsg.DeleteRecordsRequest)
	resp := kmsg.NewPtrDeleteRecordsResponse()
	type part struct{ topic, partition int }
	var parts []part
	var offsets []int64
	sp := newSpread(s, func(owner *Shard, i int, done func()) {
		at := parts[i]
		t := &resp.Topics[at.topic]
		out := &t.Partitions[at.partition]
		out.LowWatermark, out.ErrorCode = -1, int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
		if topic := owner.topicsByName[t.Topic]; topic != nil {
			low, code := owner.deleteRecords(partitionKey{topic.id, out.Partition}, offsets[i])
			out.LowWatermark, out.ErrorCode = low, int16(code)
		}
		done()
	}, func() { c.reply(resp) })
	topics := map[string]int{}
	seen := map[partitionKey]bool{} // a partition that is named twice is answered once, as in Kafka
	for i := range req.Topics {
		asked := &req.Topics[i]
		at, again := topics[asked.Topic]
		if !again {
			at = len(resp.Topics)
			topics[asked.Topic] = at
			t := kmsg.NewDeleteRecordsResponseTopic()
			t.Topic = asked.Topic
			resp.Topics = append(resp.Topics, t)
		}
		known := s.image.TopicByName(asked.Topic)
		for j := range asked.Partitions {
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition, p.LowWatermark = asked.Partitions[j].Partition, -1
			if known == nil || known.Partition(p.Partition) == nil {
				p.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
				resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, p)
				continue
			}
			if isInternal(known.Name) {
				p.ErrorCode = int16(protocol.INVALID_TOPIC_EXCEPTION)
				resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, p)
				continue
			}
			key := partitionKey{protocol.UUID(known.ID), p.Partition}
			if seen[key] {
				continue
			}
			seen[key] = true
			parts = append(parts, part{at, len(resp.Topics[at].Partitions)})
			offsets = append(offsets, asked.Partitions[j].Offset)
			resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, p)
			sp.add(key, len(parts)-1)
		}
	}
	sp.start()
}

// deleteRecords moves the start of a partition of this core.
func (s *Shard) deleteRecords(key partitionKey, upTo int64) (low int64, code protocol.ErrorCode) {
	h := s.hosted[key]
	if h == nil || h.log == nil {
		return -1, hostless(h)
	}
	return h.log.DeleteRecords(upTo)
}
