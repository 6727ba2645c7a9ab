package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeQuorum (55), versions 0-2: the metadata log, whose only voter and leader
// this node is.
//
// Departures from Kafka: the controller listener of the answer is the one that
// metadata names for a Kafka that opens the directory; nothing listens there.

func (s *Shard) serveDescribeQuorum(c *call) {
	req := c.body.(*kmsg.DescribeQuorumRequest)
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.ErrorMessage = kmsg.StringPtr("")
	if !asksForMetadataLog(req) {
		c.reply(unknownQuorum(req, resp))
		return
	}
	var end, high, now int64
	s.propose(func(*metadata.Controller) []metadata.Record {
		first := s.broker.shards[controllerCore] // where this runs
		o := first.controller.log.Offsets()
		end, high, now = o.LogEnd, o.HighWatermark, first.core.Wall/1e6
		return nil
	}, func(protocol.ErrorCode) {
		voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		voter.ReplicaID, voter.ReplicaDirectoryID = s.broker.nodeID, s.broker.directoryID
		voter.LogEndOffset, voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = end, now, now
		p := kmsg.NewDescribeQuorumResponseTopicPartition()
		p.ErrorMessage = kmsg.StringPtr("")
		p.LeaderID, p.LeaderEpoch, p.HighWatermark = s.broker.nodeID, s.broker.epoch, high
		p.CurrentVoters = append(p.CurrentVoters, voter)
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic, t.Partitions = metadata.MetadataTopic, append(t.Partitions, p)
		resp.Topics = append(resp.Topics, t)
		for _, v := range s.broker.voters().Voters {
			n := kmsg.NewDescribeQuorumResponseNode()
			n.NodeID = v.ID
			for _, e := range v.Endpoints {
				n.Listeners = append(n.Listeners, kmsg.DescribeQuorumResponseNodeListener{Name: e.Name, Host: e.Host, Port: e.Port})
			}
			resp.Nodes = append(resp.Nodes, n)
		}
		c.reply(resp)
	})
}

func asksForMetadataLog(req *kmsg.DescribeQuorumRequest) bool {
	return len(req.Topics) == 1 && req.Topics[0].Topic == metadata.MetadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == metadata.MetadataPartition
}

// unknownQuorum is Kafka's answer to every other question.
func unknownQuorum(req *kmsg.DescribeQuorumRequest, resp *kmsg.DescribeQuorumResponse) *kmsg.DescribeQuorumResponse {
	for i := range req.Topics {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, asked := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition, p.ErrorCode = asked.Partition, int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			p.ErrorMessage = kmsg.StringPtr("This server does not host this topic-partition.")
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
