package metadata

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

type deletedTopic = kmsg.DeleteTopicsResponseTopic

// DeleteTopics decides a DeleteTopics request (key 20), by name or, from version
// 6 on, by id. Topics are refused one by one; the records remove the others.
// Answers are in the order of the request (Kafka shuffles them), a topic that
// occurs twice is answered once.
func (c *Controller) DeleteTopics(req *kmsg.DeleteTopicsRequest) (*kmsg.DeleteTopicsResponse, []Record) {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	resp.Version = req.Version
	asked := req.Topics
	if req.Version < 6 {
		asked = nil
		for i := range req.TopicNames {
			asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: &req.TopicNames[i]})
		}
	}
	names, ids := map[string]int{}, map[UUID]int{}
	for i := range asked {
		switch name, id := asked[i].Topic, asked[i].TopicID; {
		case name != nil && id == UUID{}:
			names[*name]++
		case name == nil:
			ids[id]++
		}
	}
	given := c.givenByID(asked, ids)
	var records []Record
	for i := range asked {
		answer, again, refusal := c.deleteTopic(&asked[i], names, ids, given)
		if again {
			continue
		}
		if refusal == nil {
			refusal = c.admit(len(c.Image.TopicByID(answer.TopicID).Partitions))
		}
		if refusal != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(refusal.Code), refusal.text()
		} else {
			records = append(records, &RemoveTopicRecord{TopicID: answer.TopicID})
		}
		resp.Topics = append(resp.Topics, answer)
	}
	if !fitsBatch(records) {
		return refuseDeletes(resp), nil
	}
	return resp, records
}

// givenByID is the set of topics that the request names by id, and only once.
func (c *Controller) givenByID(asked []kmsg.DeleteTopicsRequestTopic, ids map[UUID]int) map[UUID]bool {
	given := map[UUID]bool{}
	for i := range asked {
		if id := asked[i].TopicID; ids[id] == 1 && c.Image.TopicByID(id) != nil {
			given[id] = true
		}
	}
	return given
}

// deleteTopic decides one topic. again is true for what has been answered before:
// a count that was seen is set to -1.
func (c *Controller) deleteTopic(asked *kmsg.DeleteTopicsRequestTopic, names map[string]int, ids map[UUID]int, given map[UUID]bool) (answer deletedTopic, again bool, _ *Refusal) {
	answer = deletedTopic{Topic: asked.Topic, TopicID: asked.TopicID}
	switch {
	case asked.Topic != nil && asked.TopicID != UUID{}:
		return answer, false, refuse(protocol.INVALID_REQUEST, "You may not specify both topic name and topic id.")
	case asked.Topic == nil && asked.TopicID == UUID{}:
		return answer, false, refuse(protocol.INVALID_REQUEST, "Neither topic name nor id were specified.")
	case asked.Topic != nil:
		return c.deleteByName(answer, names, given)
	default:
		return c.deleteByID(answer, ids, names)
	}
}

func (c *Controller) deleteByName(answer deletedTopic, names map[string]int, given map[UUID]bool) (_ deletedTopic, again bool, _ *Refusal) {
	switch n := names[*answer.Topic]; {
	case n < 0:
		return answer, true, nil
	case n > 1:
		names[*answer.Topic] = -1
		return answer, false, duplicateTopic
	}
	topic := c.Image.TopicByName(*answer.Topic)
	if topic == nil {
		return answer, false, unknownTopic
	}
	answer.TopicID = topic.ID
	if given[topic.ID] {
		return answer, false, refuse(protocol.INVALID_REQUEST, "The provided topic name maps to an ID that was already supplied.")
	}
	return answer, false, nil
}

func (c *Controller) deleteByID(answer deletedTopic, ids map[UUID]int, names map[string]int) (_ deletedTopic, again bool, _ *Refusal) {
	switch n := ids[answer.TopicID]; {
	case n < 0:
		return answer, true, nil
	case n > 1:
		ids[answer.TopicID] = -1
		return answer, false, refuse(protocol.INVALID_REQUEST, "Duplicate topic id.")
	}
	topic := c.Image.TopicByID(answer.TopicID)
	if topic == nil {
		return answer, false, unknownTopicID
	}
	if names[topic.Name] == 1 {
		return answer, true, nil // the name is answered, with a refusal
	}
	answer.Topic = &topic.Name
	return answer, false, nil
}

func refuseDeletes(resp *kmsg.DeleteTopicsResponse) *kmsg.DeleteTopicsResponse {
	for i := range resp.Topics {
		if resp.Topics[i].ErrorCode == 0 {
			resp.Topics[i].ErrorCode, resp.Topics[i].ErrorMessage = int16(tooManyRecords.Code), tooManyRecords.text()
		}
	}
	return resp
}
