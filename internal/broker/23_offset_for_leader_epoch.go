package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch (23), versions 2-4: where a leader epoch ended, for
// clients that check whether what they consumed was truncated.

func (s *Shard) serveOffsetForLeaderEpoch(c *call) {
	req := c.body.(*kmsg.OffsetForLeaderEpochRequest)
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	type asked struct {
		key             partitionKey
		believed, epoch int32
		answer          *kmsg.OffsetForLeaderEpochResponseTopicPartition
	}
	var parts []asked
	for _, t := range req.Topics {
		topic, code := s.findTopicByString(t.Topic, protocol.UUID{}, false)
		rt := kmsg.OffsetForLeaderEpochResponseTopic{Topic: t.Topic}
		rt.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(t.Partitions))
		for i, p := range t.Partitions {
			a := &rt.Partitions[i]
			a.Default()
			a.Partition, a.LeaderEpoch, a.EndOffset = p.Partition, -1, -1
			switch {
			case code != protocol.NONE:
				a.ErrorCode = int16(code)
			case p.Partition < 0 || int(p.Partition) >= topic.partitions:
				a.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			default:
				parts = append(parts, asked{partitionKey{topic.id, p.Partition}, p.CurrentLeaderEpoch, p.LeaderEpoch, a})
			}
		}
		resp.Topics = append(resp.Topics, rt)
	}
	sp := newSpread(s, func(owner *Shard, i int, done func()) {
		p := &parts[i]
		h := owner.hosted[p.key]
		switch {
		case h == nil || h.log == nil:
			p.answer.ErrorCode = int16(protocol.NOT_LEADER_OR_FOLLOWER)
		case checkLeaderEpoch(p.believed, h.leaderEpoch) != protocol.NONE:
			p.answer.ErrorCode = int16(checkLeaderEpoch(p.believed, h.leaderEpoch))
		default:
			p.answer.LeaderEpoch, p.answer.EndOffset = h.log.EndOffsetForEpoch(p.epoch)
		}
		done()
	}, func() { c.reply(resp) })
	for i := range parts {
		sp.add(parts[i].key, i)
	}
	sp.start()
}
