package clients

import (
	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func scriptDeleteRecords(s *script) {
	s.topic("shorten", 2)
	s.fill("shorten", 0, harness.NewBatch("a", "b", "c"), harness.NewBatch("d", "e"), harness.NewBatch("f"))
	shorten := func(topic string, partition int32, offset int64) *kmsg.DeleteRecordsRequest {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = 5000
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic = topic
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = partition, offset
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return req
	}
	s.versions("some", 0, 2, func(v int16) kmsg.Request { return shorten("shorten", 0, int64(v)+1) })
	s.ask("the log start now", 7, listOffsets("shorten", -1, -2, 0))
	s.ask("what is already gone", 2, shorten("shorten", 0, 1))
	s.ask("into a batch", 2, shorten("shorten", 0, 4))
	s.ask("the log start after", 7, listOffsets("shorten", -1, -2, 0))
	s.ask("beyond the end", 2, shorten("shorten", 0, 7))
	s.ask("a negative offset", 2, shorten("shorten", 0, -2))
	s.ask("another partition, empty", 2, shorten("shorten", 1, 0))
	s.ask("another partition, empty, all", 2, shorten("shorten", 1, -1))
	s.ask("a partition that is none", 2, shorten("shorten", 7, 0))
	s.ask("a negative partition", 2, shorten("shorten", -1, 0))
	s.ask("an unknown topic", 2, shorten("shorten-unknown", 0, 0))
	s.ask("a bad topic name", 2, shorten("../x", 0, 0))
	s.ask("no topics", 2, kmsg.NewPtrDeleteRecordsRequest())
	twice := shorten("shorten", 0, 5)
	twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, twice.Topics[0].Partitions[0])
	s.ask("one partition twice", 2, twice)
	again := shorten("shorten", 0, 5)
	again.Topics = append(again.Topics, shorten("shorten", 1, 0).Topics[0])
	s.ask("one topic twice", 2, again)
	s.ask("all", 2, shorten("shorten", 0, -1))
	s.ask("the log start at the end", 7, listOffsets("shorten", -1, -2, 0))
	s.topic("shorten-compacted", 1, "cleanup.policy", "compact")
	s.ask("of a compacted topic", 2, shorten("shorten-compacted", 0, 0))
}

func scriptDescribeLogDirs(s *script) {
	s.topic("sized", 2)
	s.fill("sized", 0, harness.NewBatch("a", "b", "c"))
	describe := func(topic string, partitions ...int32) *kmsg.DescribeLogDirsRequest {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		t := kmsg.NewDescribeLogDirsRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
		return req
	}
	s.versions("a partition", 1, 5, func(int16) kmsg.Request { return describe("sized", 0) })
	s.ask("both, the wrong way around", 5, describe("sized", 1, 0))
	s.ask("one twice", 5, describe("sized", 0, 0))
	s.ask("a partition that is none", 5, describe("sized", 7, 0))
	s.ask("an unknown topic", 5, describe("sized-unknown", 0))
	s.ask("no partitions", 5, describe("sized"))
	none := kmsg.NewPtrDescribeLogDirsRequest()
	none.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	s.ask("no topics", 5, none)
}

func scriptAlterReplicaLogDirs(s *script) {
	s.topic("moved", 1)
	move := func(dir, topic string, partitions ...int32) *kmsg.AlterReplicaLogDirsRequest {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		d := kmsg.NewAlterReplicaLogDirsRequestDir()
		d.Dir = dir
		t := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
		t.Topic, t.Partitions = topic, partitions
		d.Topics = append(d.Topics, t)
		req.Dirs = append(req.Dirs, d)
		return req
	}
	s.versions("where it is", 1, 2, func(int16) kmsg.Request { return move(s.b.DataDir, "moved", 0) })
	s.ask("a directory that is none of the broker's", 2, move("/nowhere", "moved", 0))
	s.ask("a relative directory", 2, move("data", "moved", 0))
	s.ask("no directory", 2, move("", "moved", 0))
	s.ask("a partition that is none", 2, move(s.b.DataDir, "moved", 7))
	s.ask("an unknown topic", 2, move(s.b.DataDir, "moved-unknown", 0))
	s.ask("a bad topic name", 2, move(s.b.DataDir, "../x", 0))
	s.ask("no partitions", 2, move(s.b.DataDir, "moved"))
	s.ask("nothing", 2, kmsg.NewPtrAlterReplicaLogDirsRequest())
}

func scriptElectLeaders(s *script) {
	s.norm.texts = true
	s.topic("elect", 2)
	elect := func(kind int8, topic string, partitions ...int32) *kmsg.ElectLeadersRequest {
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType, req.TimeoutMillis = kind, 5000
		t := kmsg.NewElectLeadersRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
		return req
	}
	s.versions("the preferred", 0, 2, func(int16) kmsg.Request { return elect(0, "elect", 0, 1) })
	s.versions("an unclean one", 1, 2, func(int16) kmsg.Request { return elect(1, "elect", 0) })
	s.ask("a kind that is none", 2, elect(7, "elect", 0))
	s.ask("a partition that is none", 2, elect(0, "elect", 9))
	s.ask("a negative partition", 2, elect(0, "elect", -1))
	s.ask("an unknown topic", 2, elect(0, "elect-unknown", 0))
	s.ask("a bad topic name", 2, elect(0, "../x", 0))
	s.ask("one partition twice", 2, elect(0, "elect", 0, 0))
	s.norm.skipped = map[string]bool{"Topics": true} // every topic of the scripts that ran before
	all := kmsg.NewPtrElectLeadersRequest()
	s.versions("every partition", 0, 2, func(int16) kmsg.Request { return all })
	unclean := kmsg.NewPtrElectLeadersRequest()
	unclean.ElectionType = 1
	s.ask("every partition, unclean", 2, unclean)
	s.norm.skipped = nil
	none := kmsg.NewPtrElectLeadersRequest()
	none.Topics = []kmsg.ElectLeadersRequestTopic{}
	s.ask("none", 2, none)
}

func scriptReassignments(s *script) {
	s.norm.texts = true
	s.topic("reassign", 2)
	assign := func(topic string, partition int32, replicas ...int32) *kmsg.AlterPartitionAssignmentsRequest {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.TimeoutMillis = 5000
		t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		t.Topic = topic
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition, p.Replicas = partition, replicas
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return req
	}
	s.versions("as it is", 0, 1, func(int16) kmsg.Request { return assign("reassign", 0, 1) })
	s.ask("to a broker that is none", 1, assign("reassign", 0, 7))
	s.ask("to a second broker that is none", 1, assign("reassign", 0, 1, 7))
	s.ask("to one broker twice", 1, assign("reassign", 0, 1, 1))
	s.ask("to a negative broker", 1, assign("reassign", 0, -1))
	s.ask("to nobody", 1, func() kmsg.Request {
		req := assign("reassign", 0)
		req.Topics[0].Partitions[0].Replicas = []int32{}
		return req
	}())
	s.ask("cancel what is not under way", 1, assign("reassign", 0))
	s.ask("a partition that is none", 1, assign("reassign", 9, 1))
	s.ask("a negative partition", 1, assign("reassign", -1, 1))
	s.ask("an unknown topic", 1, assign("reassign-unknown", 0, 1))
	s.ask("cancel of an unknown topic", 1, assign("reassign-unknown", 0))
	s.ask("a bad topic name", 1, assign("../x", 0, 1))
	same := assign("reassign", 0, 1)
	same.AllowReplicationFactorChange = false
	s.ask("without another replication factor", 1, same)
	more := assign("reassign", 0, 1, 7)
	more.AllowReplicationFactorChange = false
	s.ask("with another replication factor that is not allowed", 1, more)
	twice := assign("reassign", 0, 1)
	twice.Topics = append(twice.Topics, assign("reassign", 1, 1).Topics[0])
	s.ask("one topic twice", 1, twice)
	both := assign("reassign", 0, 1)
	both.Topics[0].Partitions = append(both.Topics[0].Partitions, both.Topics[0].Partitions[0])
	s.ask("one partition twice", 1, both)
	s.ask("nothing", 1, kmsg.NewPtrAlterPartitionAssignmentsRequest())
	list := func(topic string, partitions ...int32) *kmsg.ListPartitionReassignmentsRequest {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		t := kmsg.NewListPartitionReassignmentsRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
		return req
	}
	s.ask("list all", 0, kmsg.NewPtrListPartitionReassignmentsRequest())
	s.ask("list one", 0, list("reassign", 0))
	s.ask("list a partition that is none", 0, list("reassign", 9))
	s.ask("list an unknown topic", 0, list("reassign-unknown", 0))
	s.ask("list a bad name", 0, list("../x", 0))
	none := kmsg.NewPtrListPartitionReassignmentsRequest()
	none.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{}
	s.ask("list nothing", 0, none)
}

func scriptDescribeQuorum(s *script) {
	s.norm.texts = true
	s.norm.skipped = map[string]bool{"HighWatermark": true, "LogEndOffset": true, "LeaderEpoch": true, "Host": true, "Port": true}
	describe := func(topic string, partitions ...int32) *kmsg.DescribeQuorumRequest {
		req := kmsg.NewPtrDescribeQuorumRequest()
		t := kmsg.NewDescribeQuorumRequestTopic()
		t.Topic = topic
		for _, i := range partitions {
			p := kmsg.NewDescribeQuorumRequestTopicPartition()
			p.Partition = i
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
		return req
	}
	s.versions("the metadata log", 0, 2, func(int16) kmsg.Request { return describe("__cluster_metadata", 0) })
	s.ask("a partition that is none", 2, describe("__cluster_metadata", 1))
	s.ask("two partitions", 2, describe("__cluster_metadata", 0, 1))
	s.ask("another topic", 2, describe("quorum-unknown", 0))
	s.ask("no partitions", 2, describe("__cluster_metadata"))
	two := describe("__cluster_metadata", 0)
	two.Topics = append(two.Topics, describe("quorum-unknown", 0).Topics[0])
	s.ask("two topics", 2, two)
	s.ask("nothing", 2, kmsg.NewPtrDescribeQuorumRequest())
}

func scriptUpdateFeatures(s *script) {
	s.norm.texts = true
	update := func(name string, level int16, kind int8) *kmsg.UpdateFeaturesRequest {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.TimeoutMillis = 5000
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel, f.UpgradeType, f.AllowDowngrade = name, level, kind, kind > 1
		req.FeatureUpdates = append(req.FeatureUpdates, f)
		return req
	}
	only := func(req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesRequest {
		req.ValidateOnly = true
		return req
	}
	now := func() {
		s.settled()
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1.0"
		s.ask("what is finalized", 4, req)
	}
	s.versions("as it is", 0, 2, func(int16) kmsg.Request { return update("group.version", 1, 1) })
	s.versions("down, as an upgrade", 0, 2, func(int16) kmsg.Request { return update("transaction.version", 1, 1) })
	s.versions("down, only validated", 1, 2, func(int16) kmsg.Request { return only(update("transaction.version", 1, 2)) })
	now()
	s.versions("down", 0, 2, func(v int16) kmsg.Request { return update("transaction.version", 1-v%2, 2) })
	now()
	s.ask("up, as a downgrade", 2, update("transaction.version", 2, 2))
	s.ask("up, as an unsafe downgrade", 2, update("transaction.version", 2, 3))
	s.ask("up, only validated", 2, only(update("transaction.version", 2, 1)))
	s.ask("up", 2, update("transaction.version", 2, 1))
	now()
	s.ask("too far up", 2, update("transaction.version", 3, 1))
	s.ask("too far down", 2, update("transaction.version", -1, 2))
	s.ask("off", 2, only(update("share.version", 0, 2)))
	s.ask("an unknown feature", 2, update("nonsense.version", 1, 1))
	s.ask("an unknown feature", 1, update("nonsense.version", 1, 1))
	s.ask("a feature without a name", 2, update("", 1, 1))
	s.ask("a kind of upgrade that is none", 2, update("group.version", 1, 0))
	s.ask("a kind of upgrade that is none", 2, update("group.version", 1, 9))
	s.ask("metadata down", 2, only(update("metadata.version", 29, 2)))
	s.ask("metadata down, unsafe", 2, only(update("metadata.version", 25, 3)))
	s.ask("metadata down, far, unsafe", 2, only(update("metadata.version", 7, 3)))
	s.ask("metadata below the least", 2, only(update("metadata.version", 6, 3)))
	s.ask("metadata off", 2, only(update("metadata.version", 0, 3)))
	s.ask("metadata up", 2, only(update("metadata.version", 31, 1)))
	s.ask("metadata as it is", 2, update("metadata.version", 30, 1))
	s.ask("raft as it is", 2, update("kraft.version", 1, 1))
	s.ask("raft down", 2, only(update("kraft.version", 0, 2)))
	s.ask("raft up", 2, only(update("kraft.version", 2, 1)))
	s.ask("eligible replicas down", 2, only(update("eligible.leader.replicas.version", 0, 2)))
	s.ask("streams off", 2, only(update("streams.version", 0, 2)))
	s.ask("group off, unsafe", 2, only(update("group.version", 0, 3)))
	two := update("group.version", 1, 1)
	two.FeatureUpdates = append(two.FeatureUpdates, update("nonsense.version", 1, 1).FeatureUpdates...)
	s.ask("a good and a bad one", 2, two)
	s.ask("a good and a bad one", 1, two)
	twice := update("group.version", 1, 1)
	twice.FeatureUpdates = append(twice.FeatureUpdates, twice.FeatureUpdates...)
	s.ask("one twice", 2, twice)
	s.ask("nothing", 2, kmsg.NewPtrUpdateFeaturesRequest())
	now()
}

func scriptUnregisterBroker(s *script) {
	s.norm.texts = true
	for _, id := range []int32{77, -1} {
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = id
		s.ask("a broker that is none", 0, req)
	}
}

func scriptRaftVoters(s *script) {
	add := func(cluster string, id int32, directory byte, listener string) *kmsg.AddRaftVoterRequest {
		req := kmsg.NewPtrAddRaftVoterRequest()
		if cluster != "" {
			req.ClusterID = &cluster
		}
		req.TimeoutMillis, req.VoterID, req.VoterDirectoryID = 1000, id, [16]byte{15: directory}
		if listener != "" {
			l := kmsg.NewAddRaftVoterRequestListener()
			l.Name, l.Host, l.Port = listener, "127.0.0.1", 1
			req.Listeners = append(req.Listeners, l)
		}
		return req
	}
	remove := func(cluster string, id int32, directory byte) *kmsg.RemoveRaftVoterRequest {
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		if cluster != "" {
			req.ClusterID = &cluster
		}
		req.VoterID, req.VoterDirectoryID = id, [16]byte{15: directory}
		return req
	}
	s.versions("add: of another cluster", 0, 1, func(int16) kmsg.Request { return add("another", 7, 9, "CONTROLLER") })
	s.ask("add: without a directory", 1, add("", 7, 0, "CONTROLLER"))
	s.ask("add: without a listener", 1, add("", 7, 9, ""))
	s.ask("add: with another listener", 1, add("", 7, 9, "PLAINTEXT"))
	s.ask("add: this one", 1, add("", 1, 9, "CONTROLLER"))
	s.ask("add: a negative one", 1, add("", -1, 9, "CONTROLLER"))
	s.ask("remove: of another cluster", 0, remove("another", 7, 9))
	s.ask("remove: one that is none", 0, remove("", 7, 9))
	s.ask("remove: this one in another directory", 0, remove("", 1, 9))
	s.ask("remove: without a directory", 0, remove("", 1, 0))
	s.ask("remove: a negative one", 0, remove("", -1, 9))
}

func scriptTelemetry(s *script) {
	s.norm.skipped = map[string]bool{"SubscriptionID": true}
	get := func(id byte) *kmsg.GetTelemetrySubscriptionsRequest {
		req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
		if id > 0 {
			req.ClientInstanceID = [16]byte{0: 1, 6: 0x40, 8: 0x80, 15: id}
		}
		return req
	}
	push := func(id [16]byte, subscription int32, terminating bool, codec int8, metrics string) *kmsg.PushTelemetryRequest {
		req := kmsg.NewPtrPushTelemetryRequest()
		req.ClientInstanceID, req.SubscriptionID, req.Terminating, req.CompressionType, req.Metrics = id, subscription, terminating, codec, []byte(metrics)
		return req
	}
	subscription := func(resp kmsg.Response) (id [16]byte, n int32) {
		r, ok := resp.(*kmsg.GetTelemetrySubscriptionsResponse)
		if !ok {
			return id, 0
		}
		return r.ClientInstanceID, r.SubscriptionID
	}
	s.ask("nothing is subscribed", 0, get(0))
	s.ask("with an id of its own", 0, get(5))
	s.ask("with an id of its own, again at once", 0, get(5))
	s.ask("subscribe", 1, incremental(ofClientMetrics, "telemetry", alteration{opSet, "interval.ms", "100"}, alteration{opSet, "metrics", "org.apache.kafka.producer.,org.apache.kafka.consumer."}))
	s.ask("subscribe others", 1, incremental(ofClientMetrics, "telemetry-others", alteration{opSet, "interval.ms", "200"}, alteration{opSet, "metrics", "*"}, alteration{opSet, "match", "client_id=not-this"}))
	s.settled()
	id, n := subscription(s.ask("a new client", 0, get(0)))
	s.ask("push", 0, push(id, n, false, 0, "\x0a\x00"))
	s.ask("push at once again", 0, push(id, n, false, 0, "\x0a\x00"))
	s.settled()
	id, n = subscription(s.ask("another client", 0, get(0)))
	s.ask("push with another subscription", 0, push(id, n+1, false, 0, "\x0a\x00"))
	id, n = subscription(s.ask("a third client", 0, get(0)))
	s.ask("push with a codec that is none", 0, push(id, n, false, 9, "\x0a\x00"))
	id, n = subscription(s.ask("a fourth client", 0, get(0)))
	s.ask("push nothing", 0, push(id, n, false, 0, ""))
	id, n = subscription(s.ask("a fifth client", 0, get(0)))
	s.ask("push what is no metrics", 0, push(id, n, false, 0, "\xff\xff\xff"))
	id, n = subscription(s.ask("a sixth client", 0, get(0)))
	s.ask("push for the last time", 0, push(id, n, true, 0, "\x0a\x00"))
	s.ask("push after the last time", 0, push(id, n, false, 0, "\x0a\x00"))
	s.ask("push after the last time, for the last time", 0, push(id, n, true, 0, "\x0a\x00"))
	id, n = subscription(s.ask("a seventh client", 0, get(0)))
	s.ask("push more than is taken", 0, push(id, n, false, 0, string(make([]byte, 1<<20+1))))
	s.ask("push without an id", 0, push([16]byte{}, n, false, 0, "\x0a\x00"))
	s.ask("push with an id that nobody knows", 0, push([16]byte{0: 9, 6: 0x40, 8: 0x80, 15: 7}, 1, false, 0, "\x0a\x00"))
	s.ask("get without an id", 0, get(0))
	s.ask("subscribe to all", 1, incremental(ofClientMetrics, "telemetry", alteration{opSet, "metrics", "org.apache.kafka.producer.,*"}))
	s.settled()
	s.ask("all metrics", 0, get(0))
	s.ask("unsubscribe", 1, incremental(ofClientMetrics, "telemetry", alteration{opDelete, "interval.ms", ""}, alteration{opDelete, "metrics", ""}))
	s.ask("unsubscribe others", 1, incremental(ofClientMetrics, "telemetry-others", alteration{opDelete, "interval.ms", ""}, alteration{opDelete, "metrics", ""}, alteration{opDelete, "match", ""}))
}
