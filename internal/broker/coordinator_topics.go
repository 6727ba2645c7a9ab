package broker

import (
	"math"

	"slipstream/internal/metadata"
	"slipstream/internal/txn"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Internal topics: what coordinators keep their state in. One is made when its
// coordinator is first looked for, by a proposal like any other topic.

// internalTopic is a row of the table of internal topics.
type internalTopic struct {
	name string
	// newMachine makes the coordinator of a partition; nil: nobody coordinates there yet.
	newMachine func(c *coordinated) machine
}

var (
	consumerOffsets  = &internalTopic{name: "__consumer_offsets"}
	transactionState = &internalTopic{name: "__transaction_state"}
	shareGroupState  = &internalTopic{name: "__share_group_state"}
)

var internalTopics = []*internalTopic{consumerOffsets, transactionState, shareGroupState}

func init() {
	consumerOffsets.newMachine = newGroupMachine
	shareGroupState.newMachine = newShareMachine
	transactionState.newMachine = newTxnMachine
}

// findInternal gives the row of a topic's name, or nil.
func findInternal(name string) *internalTopic {
	for _, t := range internalTopics {
		if t.name == name {
			return t
		}
	}
	return nil
}

// isInternal says whether a topic is one of Kafka's own.
func isInternal(name string) bool { return findInternal(name) != nil }

// adminClientID is who may produce to internal topics, as in Kafka.
const adminClientID = "__admin_client"

// InternalTopic is how an internal topic is created.
type InternalTopic struct {
	Partitions int32
	Configs    []metadata.ConfigEntry
}

// partitionOf is the partition of an internal topic that a key belongs to; ok is
// false while there is no such topic.
func (s *Shard) partitionOf(of *internalTopic, key string) (partitionKey, bool) {
	t := s.topicsByName[of.name]
	if t == nil || t.partitions == 0 {
		return partitionKey{}, false
	}
	return partitionKey{t.id, txn.PartitionFor(key, int32(t.partitions))}, true
}

// needInternalTopic makes an internal topic if there is none and calls done when
// its partitions can be used, or cannot be had.
func (s *Shard) needInternalTopic(of *internalTopic, done func(protocol.ErrorCode)) {
	if s.topicsByName[of.name] != nil {
		done(protocol.NONE)
		return
	}
	var resp *kmsg.CreateTopicsResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		if ctl.Image.TopicByName(of.name) != nil {
			return nil // somebody else's request came first
		}
		resp, records = ctl.CreateTopics(s.internalTopicRequest(of))
		return records
	}, func(code protocol.ErrorCode) {
		if code == protocol.NONE && resp != nil && len(resp.Topics) > 0 {
			code = protocol.ErrorCode(resp.Topics[0].ErrorCode)
		}
		if code != protocol.NONE && code != protocol.TOPIC_ALREADY_EXISTS {
			s.broker.log.Error("an internal topic could not be made", "topic", of.name, "error", code)
			done(protocol.COORDINATOR_NOT_AVAILABLE)
			return
		}
		done(protocol.NONE)
	})
}

func (s *Shard) internalTopicRequest(of *internalTopic) *kmsg.CreateTopicsRequest {
	how := s.broker.settings.Topics.Internal(of.name)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, math.MaxInt32
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = of.name, how.Partitions, 1
	for _, e := range how.Configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = e.Name, kmsg.StringPtr(e.Value)
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)
	return req
}
