package metadata

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of elections.
const (
	electPreferred = 0 // the first of the replicas, if it is in sync
	electUnclean   = 1 // any replica, where no one in sync is there
)

// ElectLeaders decides an ElectLeaders request (key 43). Alone, this node leads every
// partition that it has a copy of, so there is nothing to elect, or nobody: no
// records come of it.
func (c *Controller) ElectLeaders(req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.Version = req.Version
	known := req.Version == 0 || req.ElectionType == electPreferred || req.ElectionType == electUnclean
	if !known {
		resp.ErrorCode = int16(protocol.INVALID_REQUEST)
	}
	if req.Topics == nil {
		c.electEvery(req, resp, known)
		return resp
	}
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := kmsg.ElectLeadersResponseTopic{Topic: asked.Topic}
		for _, n := range asked.Partitions {
			refusal := refuse(protocol.INVALID_REQUEST, "Unknown election type %d", req.ElectionType)
			if known {
				refusal = c.elect(asked.Topic, n, req.ElectionType)
			}
			t.Partitions = append(t.Partitions, kmsg.ElectLeadersResponseTopicPartition{
				Partition: n, ErrorCode: int16(refusal.Code), ErrorMessage: refusal.text(),
			})
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// electEvery answers for every partition: those that need no election are not named.
func (c *Controller) electEvery(req *kmsg.ElectLeadersRequest, resp *kmsg.ElectLeadersResponse, known bool) {
	for _, topic := range c.Image.Topics() {
		t := kmsg.ElectLeadersResponseTopic{Topic: topic.Name}
		for i := range topic.Partitions {
			refusal := c.elect(topic.Name, topic.Partitions[i].Index, req.ElectionType)
			if known && refusal != electionNotNeeded {
				t.Partitions = append(t.Partitions, kmsg.ElectLeadersResponseTopicPartition{
					Partition: topic.Partitions[i].Index, ErrorCode: int16(refusal.Code), ErrorMessage: refusal.text(),
				})
			}
		}
		resp.Topics = append(resp.Topics, t)
	}
}

var electionNotNeeded = &Refusal{protocol.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition."}

func (c *Controller) elect(topic string, partition int32, kind int8) *Refusal {
	t := c.Image.TopicByName(topic)
	if t == nil {
		return refuse(protocol.UNKNOWN_TOPIC_OR_PARTITION, "No such topic as %s", topic)
	}
	p := t.Partition(partition)
	switch {
	case p == nil:
		return refuse(protocol.UNKNOWN_TOPIC_OR_PARTITION, "No such partition as %s-%d", topic, partition)
	case p.Leader == NoLeader && kind == electUnclean:
		return refuse(protocol.ELIGIBLE_LEADERS_NOT_AVAILABLE, "")
	case p.Leader == NoLeader, kind == electPreferred && p.Leader != p.Replicas[0] && !slices.Contains(p.ISR, p.Replicas[0]):
		return refuse(protocol.PREFERRED_LEADER_NOT_AVAILABLE, "")
	}
	return electionNotNeeded
}
