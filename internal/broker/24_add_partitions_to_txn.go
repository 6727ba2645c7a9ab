package broker

import (
	"slipstream/internal/txn"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddPartitionsToTxn (24), versions 0-5: clients use 0-3, for one transaction; 4 and 5 are for brokers that add or verify
// partitions of several transactions (KIP-890), and for tools.
//
// Departures from Kafka: a topic without partitions is not named in the answer; a request of version 4 or 5 without
// transactions is answered, Kafka forgets it.

func (s *Shard) serveAddPartitionsToTxn(c *call) {
	req := c.body.(*kmsg.AddPartitionsToTxnRequest)
	asked := txn.OfAddPartitionsToTxn(req)
	answers := make([]txn.Response, len(asked))
	left := len(asked) + 1
	answered := func() {
		if left--; left == 0 {
			c.reply(txn.AddPartitionsToTxnResponse(req.Version, asked, answers))
		}
	}
	for i := range asked {
		if codes := s.refusedPartitions(asked[i].Partitions, req.Version < 4); codes != nil {
			answers[i] = txn.RefusePartitions(codes)
			answered()
			continue
		}
		s.addPartitions(asked[i], func(r txn.Response) {
			answers[i] = r
			answered()
		})
	}
	answered()
}

// refusedPartitions has the error codes of partitions that cannot be added, nil if all can: those that there are not, and
// those of Kafka's own topics, which clients do not write to.
func (s *Shard) refusedPartitions(partitions []txn.TopicPartition, ofClient bool) (codes []protocol.ErrorCode) {
	for i, p := range partitions {
		code := protocol.NONE
		if ofClient && isInternal(p.Topic) {
			code = protocol.TOPIC_AUTHORIZATION_FAILED
		} else if t := s.topicsByName[p.Topic]; t == nil || p.Partition < 0 || int(p.Partition) >= t.partitions {
			code = protocol.UNKNOWN_TOPIC_OR_PARTITION
		}
		if code == protocol.NONE {
			continue
		}
		if codes == nil {
			codes = make([]protocol.ErrorCode, len(partitions))
		}
		codes[i] = code
	}
	return codes
}
