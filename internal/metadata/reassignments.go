package metadata

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionReassignments decides an AlterPartitionReassignments request (key
// 45). Alone, this node can be given a partition as its only replica, if it has a
// copy of it: that ends what an Apache cluster left, replicas on brokers that are
// not there. Nothing ever takes time, so no reassignment is under way.
func (c *Controller) AlterPartitionReassignments(req *kmsg.AlterPartitionAssignmentsRequest) (*kmsg.AlterPartitionAssignmentsResponse, []Record) {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.Version, resp.AllowReplicationFactorChange = req.Version, req.AllowReplicationFactorChange
	var records []Record
	type named struct {
		topic     UUID
		partition int32
	}
	changed := map[named]bool{} // a partition that is named twice changes once
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: asked.Topic}
		for j := range asked.Partitions {
			p := &asked.Partitions[j]
			answer := kmsg.AlterPartitionAssignmentsResponseTopicPartition{Partition: p.Partition}
			change, refusal := c.reassign(asked.Topic, p, req.AllowReplicationFactorChange)
			if refusal != nil {
				answer.ErrorCode, answer.ErrorMessage = int16(refusal.Code), refusal.text()
			}
			if change != nil && !changed[named{change.TopicID, change.PartitionID}] {
				changed[named{change.TopicID, change.PartitionID}] = true
				records = append(records, change)
			}
			t.Partitions = append(t.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, t)
	}
	if len(req.Topics) == 0 {
		empty := ""
		resp.ErrorMessage = &empty // as Kafka has it
	}
	if !fitsBatch(records) {
		resp.ErrorCode, resp.ErrorMessage, resp.Topics = int16(tooManyRecords.Code), tooManyRecords.text(), nil
		return resp, nil
	}
	return resp, records
}

func (c *Controller) reassign(topic string, asked *kmsg.AlterPartitionAssignmentsRequestTopicPartition, otherFactor bool) (*PartitionChangeRecord, *Refusal) {
	t := c.Image.TopicByName(topic)
	if t == nil {
		return nil, refuse(protocol.UNKNOWN_TOPIC_OR_PARTITION, "Unable to find a topic named %s.", topic)
	}
	p := t.Partition(asked.Partition)
	if p == nil {
		return nil, refuse(protocol.UNKNOWN_TOPIC_OR_PARTITION, "Unable to find partition %s:%d.", topic, asked.Partition)
	}
	replicas := asked.Replicas
	if replicas == nil { // cancel
		if len(p.AddingReplicas) == 0 && len(p.RemovingReplicas) == 0 {
			return nil, &Refusal{Code: protocol.NO_REASSIGNMENT_IN_PROGRESS}
		}
		replicas = slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return slices.Contains(p.AddingReplicas, id) })
	} else if r := c.checkManual(replicas, 0); r != nil {
		return nil, r
	}
	if len(replicas) != len(p.Replicas) && !otherFactor {
		return nil, refuse(protocol.INVALID_REPLICATION_FACTOR, "The replication factor is changed from %d to %d", len(p.Replicas), len(replicas))
	}
	under := len(p.AddingReplicas) > 0 || len(p.RemovingReplicas) > 0
	if slices.Equal(replicas, p.Replicas) && !under {
		return nil, nil
	}
	if !slices.Equal(replicas, []int32{c.NodeID}) || p.Leader != c.NodeID {
		return nil, refuse(protocol.INVALID_REPLICA_ASSIGNMENT, "Alone, broker %d can only be given partitions that it leads, as their only replica.", c.NodeID)
	}
	return c.keepAlone(t, p), nil
}

// keepAlone makes this node, the leader, a partition's only replica.
func (c *Controller) keepAlone(t *Topic, p *Partition) *PartitionChangeRecord {
	change := NewPartitionChange(t.ID, p.Index)
	change.Version = partitionChangeVersion
	change.Replicas, change.ISR = []int32{c.NodeID}, []int32{c.NodeID}
	change.AddingReplicas, change.RemovingReplicas = []int32{}, []int32{}
	change.EligibleLeaderReplicas, change.LastKnownELR = []int32{}, []int32{}
	change.Directories = []UUID{p.Directories[slices.Index(p.Replicas, c.NodeID)]}
	return change
}

// ListPartitionReassignments answers a ListPartitionReassignments request (key 46):
// what an Apache cluster left under way.
func (im *Image) ListPartitionReassignments(req *kmsg.ListPartitionReassignmentsRequest) *kmsg.ListPartitionReassignmentsResponse {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	list := func(t *Topic, wanted func(int32) bool) {
		out := kmsg.ListPartitionReassignmentsResponseTopic{Topic: t.Name}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if wanted(p.Index) && (len(p.AddingReplicas) > 0 || len(p.RemovingReplicas) > 0) {
				out.Partitions = append(out.Partitions, kmsg.ListPartitionReassignmentsResponseTopicPartition{
					Partition: p.Index, Replicas: p.Replicas, AddingReplicas: p.AddingReplicas, RemovingReplicas: p.RemovingReplicas,
				})
			}
		}
		if len(out.Partitions) > 0 {
			resp.Topics = append(resp.Topics, out)
		}
	}
	if req.Topics == nil {
		for _, t := range im.Topics() {
			list(t, func(int32) bool { return true })
		}
		return resp
	}
	for i := range req.Topics {
		if t := im.TopicByName(req.Topics[i].Topic); t != nil {
			list(t, func(n int32) bool { return slices.Contains(req.Topics[i].Partitions, n) })
		}
	}
	return resp
}
