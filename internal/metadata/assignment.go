package metadata

import (
	"slices"

	"slipstream/protocol"
)

// Where new partitions go.

// newPartition is a partition that is led by the first of its replicas that is
// in service.
func (c *Controller) newPartition(topic UUID, index int32, replicas []int32) (*PartitionRecord, *Refusal) {
	isr := slices.DeleteFunc(slices.Clone(replicas), func(id int32) bool { return !c.active(id) })
	if len(isr) == 0 {
		return nil, refuse(protocol.INVALID_REPLICA_ASSIGNMENT,
			"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", index)
	}
	directories := make([]UUID, len(replicas))
	for i, id := range replicas {
		directories[i] = c.directory(id)
	}
	return &PartitionRecord{
		Version: partitionVersion, PartitionID: index, TopicID: topic,
		Replicas: replicas, ISR: isr, RemovingReplicas: []int32{}, AddingReplicas: []int32{},
		Leader: isr[0], Directories: directories,
	}, nil
}

func (c *Controller) active(id int32) bool {
	b := c.Image.Broker(id)
	return b != nil && !b.Fenced && !b.InControlledShutdown
}

// directory is where a broker will put a new replica: this node as the controller says, another if it can be only one.
func (c *Controller) directory(id int32) UUID {
	if id == c.NodeID && len(c.Directories) > 0 {
		return c.Place()
	}
	if b := c.Image.Broker(id); b != nil && len(b.LogDirs) == 1 {
		return b.LogDirs[0]
	}
	return DirectoryUnassigned
}

// placeable checks a replication factor for partitions that the controller
// places: alone, all of them on this node.
func (c *Controller) placeable(factor int16) *Refusal {
	brokers := 0
	for _, b := range c.Image.Brokers() {
		if c.active(b.BrokerID) && !(b.BrokerID == c.NodeID && c.cordoned()) {
			brokers++
		}
	}
	if int(factor) > brokers {
		return refuse(protocol.INVALID_REPLICATION_FACTOR,
			"Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because only %d broker(s) are registered or some brokers have all their log directories cordoned.",
			factor, factor, brokers)
	}
	if factor > 1 {
		return refuse(protocol.INVALID_REPLICATION_FACTOR, "This controller places partitions on its own node only.")
	}
	return nil
}

// checkManual checks one partition's replicas as a request gives them. factor is
// how many the topic's other partitions have, 0 if none is known yet.
func (c *Controller) checkManual(replicas []int32, factor int) *Refusal {
	if len(replicas) == 0 {
		return refuse(protocol.INVALID_REPLICA_ASSIGNMENT, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if c.Image.Broker(id) == nil {
			return refuse(protocol.INVALID_REPLICA_ASSIGNMENT,
				"The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return refuse(protocol.INVALID_REPLICA_ASSIGNMENT,
				"The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if factor != 0 && factor != len(replicas) {
		return refuse(protocol.INVALID_REPLICA_ASSIGNMENT,
			"The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
			len(replicas), factor)
	}
	return nil
}
