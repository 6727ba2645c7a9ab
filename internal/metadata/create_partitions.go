package metadata

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions decides a CreatePartitions request (key 37). Topics are
// refused one by one; the records add partitions to the others. Answers are in
// the order of the request, a topic that occurs twice is answered once.
//
// Departure: a request for more than MaxBatchRecords new partitions is refused
// with POLICY_VIOLATION. Kafka 4.3.1 answers UNKNOWN_SERVER_ERROR and creates as
// many as fit.
func (c *Controller) CreatePartitions(req *kmsg.CreatePartitionsRequest) (*kmsg.CreatePartitionsResponse, []Record) {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	resp.Version = req.Version
	c.begin()
	count := map[string]int{}
	for i := range req.Topics {
		count[req.Topics[i].Topic]++
	}
	var records []Record
	for i := range req.Topics {
		topic := &req.Topics[i]
		n := count[topic.Topic]
		if n < 0 {
			continue
		}
		var added []Record
		refusal := duplicateTopic
		if n == 1 {
			added, refusal = c.addPartitions(topic, len(records))
		}
		count[topic.Topic] = -1
		answer := kmsg.CreatePartitionsResponseTopic{Topic: topic.Topic}
		if refusal != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(refusal.Code), refusal.text()
		}
		records = append(records, added...)
		resp.Topics = append(resp.Topics, answer)
	}
	if req.ValidateOnly {
		records = nil
	}
	return resp, records
}

// addPartitions decides one topic, when decided partitions were granted to
// others in the same request.
func (c *Controller) addPartitions(asked *kmsg.CreatePartitionsRequestTopic, decided int) ([]Record, *Refusal) {
	topic := c.Image.TopicByName(asked.Topic)
	if topic == nil {
		return nil, &Refusal{Code: protocol.UNKNOWN_TOPIC_OR_PARTITION}
	}
	have := int32(len(topic.Partitions))
	if asked.Count == have {
		return nil, refuse(protocol.INVALID_PARTITIONS, "Topic already has %d partition(s).", have)
	}
	if asked.Count < have {
		return nil, refuse(protocol.INVALID_PARTITIONS,
			"The topic %s currently has %d partition(s); %d would not be an increase.", topic.Name, have, asked.Count)
	}
	more := int(asked.Count) - int(have)
	if asked.Assignment != nil && len(asked.Assignment) != more {
		return nil, refuse(protocol.INVALID_REPLICA_ASSIGNMENT,
			"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", more, len(asked.Assignment))
	}
	if more+decided > MaxBatchRecords {
		return nil, tooManyAsked
	}
	if r := c.roomFor(more, decided); r != nil {
		return nil, r
	}
	if r := c.admit(more); r != nil {
		return nil, r
	}
	factor := 1
	if have > 0 {
		factor = len(topic.Partitions[0].Replicas)
	}
	if asked.Assignment != nil {
		return c.addAssigned(topic, asked, factor)
	}
	if r := c.placeable(int16(factor)); r != nil {
		return nil, r
	}
	return c.placed(topic.ID, have, asked.Count)
}

func (c *Controller) addAssigned(topic *Topic, asked *kmsg.CreatePartitionsRequestTopic, factor int) ([]Record, *Refusal) {
	var out []Record
	for i := range asked.Assignment {
		replicas := asked.Assignment[i].Replicas
		if r := c.checkManual(replicas, factor); r != nil {
			return nil, r
		}
		p, r := c.newPartition(topic.ID, int32(len(topic.Partitions)+i), replicas)
		if r != nil {
			return nil, r
		}
		out = append(out, p)
	}
	return out, nil
}
