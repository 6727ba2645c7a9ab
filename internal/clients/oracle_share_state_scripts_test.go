package clients

import (
	"fmt"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stateScript asks of the states of one topic's share-partitions.
type stateScript struct {
	*script
	id    [16]byte
	group string
}

func (s *stateScript) initialize(partition, epoch int32, start int64) {
	req := kmsg.NewPtrInitializeShareGroupStateRequest()
	req.GroupID = s.group
	req.Topics = []kmsg.InitializeShareGroupStateRequestTopic{{TopicID: s.id, Partitions: []kmsg.InitializeShareGroupStateRequestTopicPartition{
		{Partition: partition, StateEpoch: epoch, StartOffset: start},
	}}}
	s.ask(fmt.Sprintf("begin %d at %d, epoch %d", partition, start, epoch), 0, req)
}

func (s *stateScript) read(partition, leader int32) {
	req := kmsg.NewPtrReadShareGroupStateRequest()
	req.GroupID = s.group
	req.Topics = []kmsg.ReadShareGroupStateRequestTopic{{TopicID: s.id, Partitions: []kmsg.ReadShareGroupStateRequestTopicPartition{
		{Partition: partition, LeaderEpoch: leader},
	}}}
	s.ask(fmt.Sprintf("read %d, leader %d", partition, leader), 0, req)
}

func (s *stateScript) summary(version int16, partition int32) {
	req := kmsg.NewPtrReadShareGroupStateSummaryRequest()
	req.GroupID = s.group
	req.Topics = []kmsg.ReadShareGroupStateSummaryRequestTopic{{TopicID: s.id, Partitions: []kmsg.ReadShareGroupStateSummaryRequestTopicPartition{{Partition: partition}}}}
	s.ask(fmt.Sprintf("summary of %d", partition), version, req)
}

func (s *stateScript) write(version int16, epoch, leader int32, start int64, complete int32, batches ...kmsg.WriteShareGroupStateRequestTopicPartitionStateBatch) {
	req := kmsg.NewPtrWriteShareGroupStateRequest()
	req.GroupID = s.group
	req.Topics = []kmsg.WriteShareGroupStateRequestTopic{{TopicID: s.id, Partitions: []kmsg.WriteShareGroupStateRequestTopicPartition{
		{StateEpoch: epoch, LeaderEpoch: leader, StartOffset: start, DeliveryCompleteCount: complete, StateBatches: batches},
	}}}
	s.ask(fmt.Sprintf("write, start %d, epoch %d, leader %d, %d batches", start, epoch, leader, len(batches)), version, req)
}

func (s *stateScript) remove(partition int32) {
	req := kmsg.NewPtrDeleteShareGroupStateRequest()
	req.GroupID = s.group
	req.Topics = []kmsg.DeleteShareGroupStateRequestTopic{{TopicID: s.id, Partitions: []kmsg.DeleteShareGroupStateRequestTopicPartition{{Partition: partition}}}}
	s.ask(fmt.Sprintf("delete %d", partition), 0, req)
}

// scriptShareGroupState is keys 83 to 87.
func scriptShareGroupState(s *script) {
	s.norm.texts = true
	st := &stateScript{script: s, id: s.topic("share-state", 2), group: "share-state"}
	s.awaitShareState(st.group, st.id)
	batch := func(first, last int64, state int8, count int16) kmsg.WriteShareGroupStateRequestTopicPartitionStateBatch {
		return kmsg.WriteShareGroupStateRequestTopicPartitionStateBatch{FirstOffset: first, LastOffset: last, DeliveryState: state, DeliveryCount: count}
	}
	st.read(0, 0)
	st.summary(0, 0)
	st.summary(1, 0)
	st.write(1, 0, 0, 0, 0, batch(0, 5, 2, 1))
	st.remove(0)
	st.initialize(0, 1, -1)
	st.summary(1, 0)
	st.read(0, 0)
	st.read(0, 3)
	st.read(0, 2)
	st.summary(1, 0)
	st.initialize(0, 0, -1)
	st.initialize(0, 1, 7)
	st.read(0, 4)
	st.write(1, 0, 4, 0, 0, batch(0, 5, 2, 1))
	st.write(1, 1, 3, 0, 0, batch(0, 5, 2, 1))
	st.write(0, 1, 4, 7, 0, batch(9, 11, 2, 1))
	st.write(1, 1, 4, -1, 5, batch(12, 13, 4, 1), batch(14, 15, 0, 2))
	st.read(0, 4)
	st.summary(1, 0)
	st.write(1, 1, 4, 10, 3, batch(10, 12, 0, 3))
	st.read(0, 4)
	st.initialize(9, 0, 0)
	st.remove(0)
	st.remove(0)
	st.summary(1, 0)
	st.id = [16]byte{9, 9}
	st.read(0, 0)
	st.initialize(0, 0, 0)
}

func alterShareOffsets(group, topic string, partition int32, offset int64) *kmsg.AlterShareGroupOffsetsRequest {
	req := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	req.GroupID = group
	req.Topics = []kmsg.AlterShareGroupOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterShareGroupOffsetsRequestTopicPartition{{Partition: partition, StartOffset: offset}}}}
	return req
}

func deleteShareOffsets(group string, topics ...string) *kmsg.DeleteShareGroupOffsetsRequest {
	req := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
	req.GroupID = group
	for _, t := range topics {
		req.Topics = append(req.Topics, kmsg.DeleteShareGroupOffsetsRequestTopic{Topic: t})
	}
	return req
}

func describeShareOffsets(group string, topics ...string) *kmsg.DescribeShareGroupOffsetsRequest {
	req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
	g.GroupID = group
	for _, t := range topics {
		g.Topics = append(g.Topics, kmsg.DescribeShareGroupOffsetsRequestGroupTopic{Topic: t, Partitions: []int32{0, 1}})
	}
	req.Groups = append(req.Groups, g)
	return req
}

// shareAcquire fetches, outside the script, until the member has some records, and gives the session's next epoch.
func (s *script) shareAcquire(group, member string, id [16]byte, records int32) (epoch int32) {
	s.t.Helper()
	for epoch = range int32(40) {
		req := shareFetch(group, member, epoch, id, 0)
		req.MaxRecords, req.ShareAcquireMode = records, 1
		for _, t := range s.quietly(2, req).(*kmsg.ShareFetchResponse).Topics {
			for _, p := range t.Partitions {
				if len(p.AcquiredRecords) > 0 {
					return epoch + 1
				}
			}
		}
	}
	s.t.Fatal("nothing was acquired")
	return 0
}

// scriptShareGroupOffsets is keys 90 to 92.
func scriptShareGroupOffsets(s *script) {
	s.norm.texts = true
	id := s.topic("share-offsets", 2)
	s.topic("share-offsets-other", 1)
	s.awaitGroup("share-offsets")
	s.awaitShareState("share-offsets", id)
	s.fill("share-offsets", 0, harness.NewBatch("a", "b", "c", "d", "e", "f"))
	const g = "share-offsets"
	s.ask("no such group", 0, describeShareOffsets("share-offsets-none"))
	s.ask("deleting of no such group", 0, deleteShareOffsets("share-offsets-none", g))
	s.ask("no group", 0, alterShareOffsets("", g, 0, 3))
	s.ask("a topic that is not there", 0, alterShareOffsets(g, "share-offsets-none", 0, 3))
	s.ask("set", 0, alterShareOffsets(g, g, 0, 3))
	s.ask("a partition that is not there", 0, alterShareOffsets(g, g, 5, 3))
	s.versions("described", 0, 1, func(int16) kmsg.Request { return describeShareOffsets(g) })
	s.ask("described by topic", 1, describeShareOffsets(g, g))
	s.ask("described by topic, no such group", 1, describeShareOffsets("share-offsets-none", g))
	s.ask("set again", 0, alterShareOffsets(g, g, 0, 1))
	s.ask("described again", 1, describeShareOffsets(g))
	s.ask("deleting what there is not", 0, deleteShareOffsets(g, "share-offsets-other", "share-offsets-none"))
	s.shareSettle(g, "nobody", 2, g)
	s.ask("set with a member", 0, alterShareOffsets(g, g, 0, 2))
	s.ask("deleting with a member", 0, deleteShareOffsets(g, g))
	epoch := s.shareAcquire(g, "nobody", id, 2)
	s.ask("the member accepts one", 2, shareAcknowledge(g, "nobody", epoch, id, 0, shareAcks(2, 2, 1)))
	s.ask("described with a member", 1, describeShareOffsets(g))
	s.quietly(1, shareHeartbeat(g, "nobody", -1))
	s.ask("deleting", 0, deleteShareOffsets(g, g))
	s.ask("described, deleted", 1, describeShareOffsets(g, g))
	s.ask("described, all, deleted", 1, describeShareOffsets(g))
	classic := kmsg.NewPtrOffsetCommitRequest()
	classic.Group, classic.Generation = "share-offsets-classic", -1
	classic.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: g, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{LeaderEpoch: -1, Offset: 1}}}}
	s.quietly(8, classic)
	s.ask("of a classic group", 1, describeShareOffsets("share-offsets-classic"))
	s.ask("set of a classic group", 0, alterShareOffsets("share-offsets-classic", g, 0, 1))
	s.ask("joining a classic group", 1, shareHeartbeat("share-offsets-classic", "nobody", 0, g))
}
