package broker

import (
	"slipstream/protocol"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers (61), version 0: what partitions remember of idempotent and transactional producers.
//
// No departures from Kafka.

// describedProducers is one partition's question and answer.
type describedProducers struct {
	key    partitionKey
	answer *kmsg.DescribeProducersResponseTopicPartition
}

func (s *Shard) serveDescribeProducers(c *call) {
	req := c.body.(*kmsg.DescribeProducersRequest)
	resp := kmsg.NewPtrDescribeProducersResponse()
	var parts []describedProducers
	for _, asked := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = asked.Topic
		rt.Partitions = make([]kmsg.DescribeProducersResponseTopicPartition, len(asked.Partitions))
		topic := s.topicsByName[asked.Topic]
		for i, p := range asked.Partitions {
			a := &rt.Partitions[i]
			a.Default()
			a.Partition = p
			switch {
			case topic == nil:
				refuseProducers(a, protocol.UNKNOWN_TOPIC_OR_PARTITION)
				a.ErrorMessage = kmsg.StringPtr("This server does not host this topic-partition.")
				continue
			case p < 0 || int(p) >= topic.partitions:
				refuseProducers(a, protocol.UNKNOWN_TOPIC_OR_PARTITION)
				continue
			}
			parts = append(parts, describedProducers{partitionKey{topic.id, p}, a})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	sp := newSpread(s, func(owner *Shard, i int, done func()) {
		owner.describeProducers(&parts[i])
		done()
	}, func() { c.reply(resp) })
	for i := range parts {
		sp.add(parts[i].key, i)
	}
	sp.start()
}

func refuseProducers(a *kmsg.DescribeProducersResponseTopicPartition, code protocol.ErrorCode) {
	a.ErrorCode = int16(code)
}

// describeProducers answers for one partition on the core that owns it.
func (s *Shard) describeProducers(q *describedProducers) {
	h := s.hosted[q.key]
	if h == nil || h.log == nil {
		refuseProducers(q.answer, protocol.NOT_LEADER_OR_FOLLOWER)
		return
	}
	for _, p := range h.log.ActiveProducers(nil) {
		q.answer.ActiveProducers = append(q.answer.ActiveProducers, describedProducer(&p))
	}
}

func describedProducer(p *storage.ProducerState) kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	out := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
	out.ProducerID, out.ProducerEpoch = p.ID, int32(p.Epoch)
	out.LastSequence, out.LastTimestamp = p.LastSequence, p.LastTimestamp
	out.CoordinatorEpoch, out.CurrentTxnStartOffset = p.CoordinatorEpoch, p.TxnFirstOffset
	return out
}
