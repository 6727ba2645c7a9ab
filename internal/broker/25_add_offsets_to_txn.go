package broker

import (
	"slipstream/internal/txn"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddOffsetsToTxn (25), versions 0-4: the partition of __consumer_offsets that a group belongs to is added to the
// transaction.
//
// No departures from Kafka.

func (s *Shard) serveAddOffsetsToTxn(c *call) {
	req := c.body.(*kmsg.AddOffsetsToTxnRequest)
	partitions := s.broker.settings.Topics.Internal(consumerOffsets.name).Partitions
	if t := s.topicsByName[consumerOffsets.name]; t != nil {
		partitions = int32(t.partitions)
	}
	offsets := txn.TopicPartition{Topic: consumerOffsets.name, Partition: txn.PartitionFor(req.Group, partitions)}
	s.addPartitions(txn.OfAddOffsetsToTxn(req, offsets), func(r txn.Response) {
		c.reply(txn.AddOffsetsToTxnResponse(req.Version, r))
	})
}
