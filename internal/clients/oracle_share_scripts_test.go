package clients

import (
	"encoding/base64"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func shareHeartbeat(group, member string, epoch int32, topics ...string) *kmsg.ShareGroupHeartbeatRequest {
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = group, member, epoch, topics
	return req
}

// shareSettle heartbeats, outside the script, until the member has as many partitions as it is to have.
func (s *script) shareSettle(group, member string, partitions int, topics ...string) (epoch int32) {
	s.t.Helper()
	s.norm.members[member] = member
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		req := shareHeartbeat(group, member, epoch, topics...)
		resp := s.quietly(1, req).(*kmsg.ShareGroupHeartbeatResponse)
		if resp.ErrorCode == 0 {
			epoch = resp.MemberEpoch
		}
		has := 0
		if resp.Assignment != nil {
			for _, t := range resp.Assignment.TopicPartitions {
				has += len(t.Partitions)
			}
		}
		if resp.ErrorCode == 0 && has == partitions {
			return epoch
		}
	}
	s.t.Fatalf("member %s of %s has no %d partitions", member, group, partitions)
	return 0
}

// shareSetting sets one of a group's settings, outside the script.
func (s *script) shareSetting(group, name, value string) {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Value: &value})
	req.Resources = append(req.Resources, r)
	s.quietly(1, req)
	s.settled()
}

func shareAcks(first, last int64, types ...int8) kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch {
	return kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}
}

func shareFetch(group, member string, epoch int32, topic [16]byte, partition int32, acks ...kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch) *kmsg.ShareFetchRequest {
	req := kmsg.NewPtrShareFetchRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &group, &member, epoch
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.MaxRecords, req.BatchSize = 500, 1, 1<<20, 500, 500
	t := kmsg.NewShareFetchRequestTopic()
	t.TopicID = topic
	p := kmsg.NewShareFetchRequestTopicPartition()
	p.Partition, p.AcknowledgementBatches = partition, acks
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func shareAcknowledge(group, member string, epoch int32, topic [16]byte, partition int32, acks ...kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch) *kmsg.ShareAcknowledgeRequest {
	req := kmsg.NewPtrShareAcknowledgeRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &group, &member, epoch
	t := kmsg.NewShareAcknowledgeRequestTopic()
	t.TopicID = topic
	p := kmsg.NewShareAcknowledgeRequestTopicPartition()
	p.Partition = partition
	for _, a := range acks {
		p.AcknowledgementBatches = append(p.AcknowledgementBatches, kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch(a))
	}
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func shareDescribe(groups ...string) *kmsg.ShareGroupDescribeRequest {
	req := kmsg.NewPtrShareGroupDescribeRequest()
	req.GroupIDs = groups
	return req
}

func scriptShareGroupHeartbeat(s *script) {
	s.norm.texts = true
	s.topic("share-beat", 2)
	s.awaitGroup("share-beat")
	s.ask("no member id", 1, shareHeartbeat("share-beat", "", 0, "share-beat"))
	s.ask("no group", 1, shareHeartbeat("", "m", 0, "share-beat"))
	s.ask("joining without topics", 1, shareHeartbeat("share-beat", "m", 0))
	s.ask("an epoch that means nothing", 1, shareHeartbeat("share-beat", "m", -2, "share-beat"))
	s.ask("a group that is not there", 1, shareHeartbeat("share-beat-none", "m", 1))
	s.ask("leaving a group that is not there", 1, shareHeartbeat("share-beat-none", "m", -1))
	rack := shareHeartbeat("share-beat", "m", 0, "share-beat")
	rack.RackID = kmsg.StringPtr("")
	s.ask("an empty rack", 1, rack)
	epoch := s.shareSettle("share-beat", "nobody", 2, "share-beat")
	s.ask("a heartbeat", 1, shareHeartbeat("share-beat", "nobody", epoch))
	s.ask("a heartbeat with topics", 1, shareHeartbeat("share-beat", "nobody", epoch, "share-beat"))
	s.ask("an unknown member", 1, shareHeartbeat("share-beat", "other", 3))
	s.ask("an unknown member leaves", 1, shareHeartbeat("share-beat", "other", -1))
	s.ask("an epoch to come", 1, shareHeartbeat("share-beat", "nobody", epoch+5))
	s.norm.skipped = map[string]bool{"GroupEpoch": true, "AssignmentEpoch": true, "MemberEpoch": true}
	s.ask("described", 1, shareDescribe("share-beat"))
	s.ask("described, none", 1, shareDescribe("share-beat-none"))
	s.norm.skipped = nil
	s.askOthersOf("share-beat")
	s.ask("leaving", 1, shareHeartbeat("share-beat", "nobody", -1))
	s.norm.skipped = map[string]bool{"GroupEpoch": true, "AssignmentEpoch": true}
	s.ask("described, empty", 1, shareDescribe("share-beat"))
	s.norm.skipped = nil
	remove := kmsg.NewPtrDeleteGroupsRequest()
	remove.Groups = []string{"share-beat", "share-beat-none"}
	s.ask("deleting it", 2, remove)
	s.ask("described, deleted", 1, shareDescribe("share-beat"))
}

// askOthersOf asks of a share group what is for other kinds.
func (s *script) askOthersOf(id string) {
	s.ask("JoinGroup of a share group", 5, joinGroup(id, "", "range"))
	s.ask("SyncGroup of a share group", 5, syncGroup(id, "nobody", 1))
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = id, "nobody", 1
	s.ask("Heartbeat of a share group", 4, beat)
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = id
	leave.Members = append(leave.Members, kmsg.LeaveGroupRequestMember{MemberID: "nobody"})
	s.ask("LeaveGroup of a share group", 5, leave)
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Generation = id, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = id
	t.Partitions = append(t.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: 0, Offset: 1, LeaderEpoch: -1})
	commit.Topics = append(commit.Topics, t)
	s.ask("OffsetCommit of a share group", 9, commit)
	consumer := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	consumer.Group, consumer.MemberID, consumer.RebalanceTimeoutMillis = id, "nobody", 5000
	consumer.SubscribedTopicNames, consumer.Topics = []string{id}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	s.ask("ConsumerGroupHeartbeat of a share group", 1, consumer)
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{id}
	s.ask("DescribeGroups of a share group", 6, describe)
	other := kmsg.NewPtrConsumerGroupDescribeRequest()
	other.Groups = []string{id}
	s.ask("ConsumerGroupDescribe of a share group", 1, other)
	list := kmsg.NewPtrListGroupsRequest()
	list.TypesFilter = []string{"share"}
	s.ask("ListGroups of share groups", 5, list)
	remove := kmsg.NewPtrDeleteGroupsRequest()
	remove.Groups = []string{id}
	s.ask("DeleteGroups of a share group with a member", 2, remove)
}

func scriptShareFetch(s *script) {
	id := s.topic("share-fetch", 2)
	s.awaitGroup("share-fetch")
	s.shareSetting("share-fetch", "share.auto.offset.reset", "earliest")
	s.fill("share-fetch", 0, harness.NewBatch("a", "b", "c", "d"), harness.NewBatch("e", "f", "g", "h"))
	s.shareSettle("share-fetch", "nobody", 2, "share-fetch")
	const g, m = "share-fetch", "nobody"
	s.ask("no session", 2, shareFetch(g, m, 1, id, 0))
	s.ask("ending no session", 2, shareFetch(g, m, -1, id, 0))
	s.ask("acknowledging with the first", 2, shareFetch(g, m, 0, id, 0, shareAcks(0, 1, 1)))
	s.ask("no group", 2, shareFetch("", m, 0, id, 0))
	s.ask("no member", 2, shareFetch(g, "", 0, id, 0))
	first := shareFetch(g, m, 0, id, 0)
	first.MaxRecords = 3
	s.ask("three records, whole batches", 2, first)
	s.ask("another epoch", 2, shareFetch(g, m, 7, id, 0))
	exact := shareFetch(g, m, 1, id, 0, shareAcks(0, 1, 1), shareAcks(2, 3, 2, 3))
	exact.ShareAcquireMode, exact.MaxRecords = 1, 2
	s.ask("acknowledged, and two records exactly", 2, exact)
	s.ask("what was released and what is left", 2, shareFetch(g, m, 2, id, 0))
	s.ask("nothing left", 1, shareFetch(g, m, 3, id, 0))
	s.ask("acknowledging what is done with", 2, shareFetch(g, m, 4, id, 0, shareAcks(0, 0, 1)))
	s.ask("acknowledging what was not acquired", 2, shareFetch(g, m, 5, id, 0, shareAcks(8, 9, 1)))
	s.ask("acknowledgements out of order", 2, shareFetch(g, m, 6, id, 0, shareAcks(4, 5, 1), shareAcks(2, 2, 1)))
	s.ask("more types than records", 2, shareFetch(g, m, 7, id, 0, shareAcks(4, 5, 1, 1, 1)))
	s.ask("a type that is none", 2, shareFetch(g, m, 8, id, 0, shareAcks(4, 5, 9)))
	s.ask("no types", 2, shareFetch(g, m, 9, id, 0, shareAcks(4, 5)))
	s.ask("a renewal that is not announced", 2, shareFetch(g, m, 10, id, 0, shareAcks(4, 5, 4)))
	renew := shareFetch(g, m, 11, id, 0, shareAcks(4, 5, 4))
	renew.IsRenewAck = true
	s.ask("a renewal that fetches", 2, renew)
	renew = shareFetch(g, m, 11, id, 0, shareAcks(4, 5, 4))
	renew.IsRenewAck, renew.MaxBytes, renew.MinBytes, renew.MaxRecords, renew.MaxWaitMillis = true, 0, 0, 0, 0
	s.ask("a renewal", 2, renew)
	s.ask("a partition that is not there", 2, shareFetch(g, m, 12, id, 9))
	s.ask("a topic that is not there", 2, shareFetch(g, m, 13, [16]byte{1, 2, 3}, 0))
	s.ask("the end of the session, with an acknowledgement", 2, shareFetch(g, m, -1, id, 0, shareAcks(4, 4, 1)))
	s.ask("no session any more", 2, shareFetch(g, m, 14, id, 0))
	s.ask("a new session has what was given back", 1, shareFetch(g, m, 0, id, 0))
	s.ask("a group without a state", 2, shareFetch("share-fetch-none", m, 0, id, 0))
	s.quietly(1, shareHeartbeat(g, m, -1))
}

func scriptShareAcknowledge(s *script) {
	id := s.topic("share-ack", 1)
	s.awaitGroup("share-ack")
	s.shareSetting("share-ack", "share.auto.offset.reset", "earliest")
	s.fill("share-ack", 0, harness.NewBatch("a", "b", "c", "d", "e", "f"))
	s.shareSettle("share-ack", "nobody", 1, "share-ack")
	const g, m = "share-ack", "nobody"
	s.ask("no session", 2, shareAcknowledge(g, m, 1, id, 0, shareAcks(0, 0, 1)))
	s.ask("a first request", 2, shareAcknowledge(g, m, 0, id, 0, shareAcks(0, 0, 1)))
	s.ask("the records", 2, shareFetch(g, m, 0, id, 0))
	s.ask("accepted", 1, shareAcknowledge(g, m, 1, id, 0, shareAcks(0, 1, 1)))
	s.ask("another epoch", 2, shareAcknowledge(g, m, 9, id, 0, shareAcks(2, 2, 1)))
	s.ask("released", 2, shareAcknowledge(g, m, 2, id, 0, shareAcks(2, 2, 2)))
	s.ask("released twice", 2, shareAcknowledge(g, m, 3, id, 0, shareAcks(2, 2, 2)))
	s.ask("out of order", 2, shareAcknowledge(g, m, 4, id, 0, shareAcks(4, 5, 1), shareAcks(3, 3, 1)))
	s.ask("beyond the end", 2, shareAcknowledge(g, m, 5, id, 0, shareAcks(5, 70, 1)))
	s.ask("a topic that is not there", 2, shareAcknowledge(g, m, 6, [16]byte{1, 2, 3}, 0, shareAcks(0, 0, 1)))
	s.ask("a partition that is not there", 2, shareAcknowledge(g, m, 7, id, 7, shareAcks(0, 0, 1)))
	renew := shareAcknowledge(g, m, 8, id, 0, shareAcks(3, 3, 4))
	renew.IsRenewAck = true
	s.ask("renewed", 2, renew)
	s.ask("renewed without saying so", 2, shareAcknowledge(g, m, 9, id, 0, shareAcks(3, 3, 4)))
	s.ask("rejected and a gap", 2, shareAcknowledge(g, m, 10, id, 0, shareAcks(3, 4, 3, 0)))
	s.shareSetting(g, "share.renew.acknowledge.enable", "false")
	renew = shareAcknowledge(g, m, 11, id, 0, shareAcks(5, 5, 4))
	renew.IsRenewAck = true
	s.ask("renewed by a group that may not", 2, renew)
	renew = shareAcknowledge(g, m, 12, id, 0, shareAcks(2, 2, 4))
	renew.IsRenewAck = true
	s.ask("what the member does not have, renewed by a group that may not", 2, renew)
	s.ask("the end", 2, shareAcknowledge(g, m, -1, id, 0, shareAcks(5, 5, 2)))
	s.ask("after the end", 2, shareAcknowledge(g, m, 11, id, 0, shareAcks(5, 5, 2)))
	s.ask("what is left", 2, shareFetch(g, m, 0, id, 0))
	s.quietly(1, shareHeartbeat(g, m, -1))
}

// awaitGroup has a group's coordinator there.
func (s *script) awaitGroup(group string) {
	for until := time.Now().Add(15 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		resp := s.quietly(1, shareDescribe(group)).(*kmsg.ShareGroupDescribeResponse)
		if code := resp.Groups[0].ErrorCode; code == 69 || code == 0 {
			return
		}
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKeys = []string{group}
		s.quietly(4, find)
	}
}

// awaitShareState has the coordinator of a share-partition there.
func (s *script) awaitShareState(group string, id [16]byte) {
	for until := time.Now().Add(15 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorType, find.CoordinatorKeys = 2, []string{group + ":" + base64.RawURLEncoding.EncodeToString(id[:]) + ":0"}
		if s.quietly(6, find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode != 0 {
			continue
		}
		read := kmsg.NewPtrReadShareGroupStateSummaryRequest()
		read.GroupID = group
		read.Topics = []kmsg.ReadShareGroupStateSummaryRequestTopic{{TopicID: id, Partitions: []kmsg.ReadShareGroupStateSummaryRequestTopicPartition{{}}}}
		if s.quietly(1, read).(*kmsg.ReadShareGroupStateSummaryResponse).Topics[0].Partitions[0].ErrorCode == 0 {
			return
		}
	}
}
