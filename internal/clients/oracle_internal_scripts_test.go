package clients

import (
	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// scriptInternalTopics asks about Kafka's own topics, and tries on them what clients do to topics. It runs after the others,
// which may have had them made.
func scriptInternalTopics(s *script) {
	s.norm.texts = true
	partitions := map[string]bool{"Partitions": true, "NumPartitions": true, "Configs": true}
	hide := func(fields map[string]bool, ask func()) {
		s.norm.skipped = fields
		ask()
		s.norm.skipped = nil
	}
	find := kmsg.NewPtrFindCoordinatorRequest() // makes the topic
	find.CoordinatorKeys = []string{"internal-group"}
	s.norm.skipped = map[string]bool{"Coordinators": true} // Apache answers before it is made
	s.ask("a coordinator of a group", 4, find)
	find.CoordinatorType, find.CoordinatorKeys = 1, []string{"internal-id"}
	s.ask("a coordinator of a transactional id", 4, find)
	s.norm.skipped = nil
	for range 6 {
		s.settled()
	}
	internal := []string{"__consumer_offsets", "__transaction_state"}
	hide(partitions, func() {
		for _, v := range []int16{0, 1, 4, 9, 12} {
			s.ask("metadata", v, metadataFor(internal...))
		}
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 2000
		for _, name := range internal {
			t := kmsg.NewDescribeTopicPartitionsRequestTopic()
			t.Topic = name
			req.Topics = append(req.Topics, t)
		}
		s.ask("topic partitions", 0, req)
		for _, name := range append(internal, "__cluster_metadata") {
			s.ask("create "+name, 7, createRequest(newTopic(name, 1, 1)))
			s.ask("create "+name, 4, createRequest(newTopic(name, 1, 1)))
		}
		req2 := metadataFor("__cluster_metadata")
		s.ask("metadata of the metadata log", 12, req2)
		req2 = metadataFor("__cluster_metadata")
		req2.AllowAutoTopicCreation = true
		s.ask("metadata of the metadata log, creating", 12, req2)
	})
	for _, name := range append(internal, "__cluster_metadata") {
		s.ask("widen "+name, 3, func() kmsg.Request {
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.TimeoutMillis = 5000
			t := kmsg.NewCreatePartitionsRequestTopic()
			t.Topic, t.Count = name, 51
			req.Topics = append(req.Topics, t)
			req.ValidateOnly = true
			return req
		}())
		s.ask("delete records of "+name, 2, func() kmsg.Request {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.TimeoutMillis = 5000
			t := kmsg.NewDeleteRecordsRequestTopic()
			t.Topic = name
			p := kmsg.NewDeleteRecordsRequestTopicPartition()
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			return req
		}())
		s.ask("produce to "+name, 9, harness.Produce(9, name, [16]byte{}, 0, -1, harness.NewBatch("x").Bytes()))
		s.ask("settings of "+name, 4, describeOf(ofTopic, name, "cleanup.policy", "segment.bytes", "compression.type", "min.insync.replicas"))
		s.ask("change settings of "+name, 1, func() kmsg.Request {
			req := incremental(ofTopic, name, alteration{opSet, "segment.bytes", "104857600"})
			req.ValidateOnly = true
			return req
		}())
	}
	s.ask("delete the metadata log", 5, func() kmsg.Request {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis, req.TopicNames = 5000, []string{"__cluster_metadata"}
		return req
	}())
}
