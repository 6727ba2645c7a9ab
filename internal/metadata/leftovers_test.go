package metadata

import (
	"fmt"
	"slices"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestWhatAnApacheClusterLeft: a directory of a cluster of two, of which this node
// alone is there now. Its tools can end the other's part in it.
func TestWhatAnApacheClusterLeft(t *testing.T) {
	n := newNode(t)
	n.start()
	topic := UUID{9, 9}
	n.commit([]Record{
		&RegisterBrokerRecord{Version: registerBrokerVersion, BrokerID: 2, BrokerEpoch: 77, Fenced: true, LogDirs: []UUID{{2}}},
		&TopicRecord{Name: "wide", TopicID: topic},
		&PartitionRecord{Version: partitionVersion, TopicID: topic, Replicas: []int32{2, 1}, ISR: []int32{1}, Leader: 1, LeaderEpoch: 4, PartitionEpoch: 9,
			AddingReplicas: []int32{2}, Directories: []UUID{{2}, {1}}},
		&PartitionRecord{Version: partitionVersion, TopicID: topic, PartitionID: 1, Replicas: []int32{2}, ISR: []int32{2}, Leader: NoLeader,
			Directories: []UUID{{2}}},
	})
	elected := func(kind int8, want ...protocol.ErrorCode) {
		t.Helper()
		req := kmsg.NewPtrElectLeadersRequest()
		req.Version, req.ElectionType = 2, kind
		req.Topics = append(req.Topics, kmsg.ElectLeadersRequestTopic{Topic: "wide", Partitions: []int32{0, 1}})
		for i, p := range n.c.ElectLeaders(req).Topics[0].Partitions {
			if p.ErrorCode != int16(want[i]) {
				t.Errorf("election %d of partition %d: error %d, want %s", kind, i, p.ErrorCode, want[i])
			}
		}
	}
	elected(electPreferred, protocol.PREFERRED_LEADER_NOT_AVAILABLE, protocol.PREFERRED_LEADER_NOT_AVAILABLE)
	elected(electUnclean, protocol.ELECTION_NOT_NEEDED, protocol.ELIGIBLE_LEADERS_NOT_AVAILABLE)

	underway := func() string {
		resp := n.c.Image.ListPartitionReassignments(kmsg.NewPtrListPartitionReassignmentsRequest())
		return fmt.Sprint(len(resp.Topics))
	}
	if underway() != "1" {
		t.Error("what is under way is not listed")
	}
	reassign := func(partition int32, factor bool, replicas []int32, want protocol.ErrorCode) {
		t.Helper()
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.AllowReplicationFactorChange = factor
		req.Topics = append(req.Topics, kmsg.AlterPartitionAssignmentsRequestTopic{
			Topic: "wide", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: partition, Replicas: replicas}, {Partition: partition, Replicas: replicas}},
		})
		resp, records := n.c.AlterPartitionReassignments(req)
		for _, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != int16(want) {
				t.Errorf("partition %d to %v: error %d, want %s", partition, replicas, p.ErrorCode, want)
			}
		}
		if len(records) > 1 {
			t.Errorf("partition %d to %v, asked twice: %d records", partition, replicas, len(records))
		}
		n.commit(records)
	}
	reassign(0, false, []int32{1}, protocol.INVALID_REPLICATION_FACTOR)
	reassign(0, true, []int32{1, 2}, protocol.INVALID_REPLICA_ASSIGNMENT)
	reassign(1, true, []int32{1}, protocol.INVALID_REPLICA_ASSIGNMENT) // there is no copy of it here
	reassign(0, true, nil, protocol.NONE)                              // cancel: this node was its replica before
	p := n.c.Image.TopicByName("wide").Partition(0)
	if !slices.Equal(p.Replicas, []int32{1}) || !slices.Equal(p.ISR, []int32{1}) || len(p.AddingReplicas) != 0 || p.Directories[0] != (UUID{1}) || p.LeaderEpoch != 4 {
		t.Errorf("after the cancellation: %+v", *p)
	}
	if underway() != "0" {
		t.Error("what was cancelled is still listed")
	}
	reassign(0, true, nil, protocol.NO_REASSIGNMENT_IN_PROGRESS)
	elected(electPreferred, protocol.ELECTION_NOT_NEEDED, protocol.PREFERRED_LEADER_NOT_AVAILABLE)

	for _, step := range []struct {
		id   int32
		want protocol.ErrorCode
	}{{1, protocol.INVALID_REQUEST}, {2, protocol.NONE}, {2, protocol.BROKER_ID_NOT_REGISTERED}} {
		resp, records := n.c.UnregisterBroker(&kmsg.UnregisterBrokerRequest{BrokerID: step.id})
		n.commit(records)
		if resp.ErrorCode != int16(step.want) {
			t.Errorf("unregister %d: error %d, want %s", step.id, resp.ErrorCode, step.want)
		}
	}
	if n.c.Image.Broker(2) != nil || n.c.Image.Broker(1) == nil {
		t.Error("it is not broker 2 that is gone")
	}
}

// TestEligibleReplicasAgain: with the feature on again, the least number in sync is
// the cluster's again.
func TestEligibleReplicasAgain(t *testing.T) {
	n := newNode(t)
	n.start()
	update := func(level int16, kind int8) {
		t.Helper()
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.Version = 2
		req.FeatureUpdates = append(req.FeatureUpdates, kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: featureELR, MaxVersionLevel: level, UpgradeType: kind})
		resp, records := n.c.UpdateFeatures(req)
		if resp.ErrorCode != 0 {
			t.Fatalf("to level %d: %s", level, *resp.ErrorMessage)
		}
		n.commit(records)
	}
	of := Resource{ResourceBroker, ""}
	update(0, featureSafeDowngrade)
	if n.c.Image.Feature(featureELR) != 0 {
		t.Error("the feature is on")
	}
	n.commit([]Record{newConfig(of, minInSyncReplicas, nil)})
	update(1, featureUpgrade)
	if v, ok := n.c.Image.Config(of, minInSyncReplicas); !ok || v != "1" || n.c.Image.Feature(featureELR) != 1 {
		t.Errorf("%s is %q, %v", minInSyncReplicas, v, ok)
	}
}
