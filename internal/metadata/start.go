package metadata

import (
	"math"
	"slices"

	"slipstream/protocol"
)

// What a node writes of itself: at the first start, at every start, when it
// stops, and when it needs producer ids.
//
// Apache Kafka 4.3.1, one node, was seen to do this (leader epochs of a partition):
//
//	created                     leader 1, epoch 0
//	clean stop                  leader -1, isr [], elr [1], last known elr [1]   epoch 1
//	start                       leader 1, isr [1], elr [], last known elr []     epoch 2
//	kill -9, start              (9 s later, when the old session has expired)
//	                            leader -1, isr [], elr [1], last known elr [1]   epoch 3
//	                            elr []: the broker came back without a clean stop
//	                            leader 1, isr [1], recovering (unclean)          epoch 4
//
// This controller writes the same at a clean stop and the start after it. After
// a crash it writes the one record that matters, the leader's next epoch: nobody
// but this node could have seen the partition without a leader, and nobody else
// has a copy to be preferred. Either way every start raises the leader epoch, so
// that a consumer whose position was lost with unsynced data finds out (KIP-320).

// Node is what a node says of itself when it starts.
type Node struct {
	Incarnation UUID   // random, new at every start
	Directories []UUID // directory.id of each log directory, from meta.properties
	Cordoned    []UUID // of those, in the order of log.dirs: cordoned.log.dirs
	// Where is the directory that a partition was found or made in, false if none has it: its directory is missing or
	// has failed. Nil: everything is in the one directory.
	Where               func(topic UUID, partition int32) (UUID, bool)
	Endpoints           []Endpoint // the advertised listeners
	ControllerEndpoints []Endpoint // where a controller listens; a node alone has none that matter
	Rack                *string
}

// Bootstrap is what the controller writes to an empty log, as one batch: the
// feature levels that Kafka 4.3.1's format finalizes, in a metadata transaction.
func Bootstrap() []Record { return bootstrapOf(BootstrapFeatures()) }

// bootstrapOf is Bootstrap with the records of a bootstrap.checkpoint.
func bootstrapOf(records []Record) []Record {
	name := "Bootstrap records"
	one := "1"
	all := append([]Record{&BeginTransactionRecord{Name: &name}}, records...)
	for _, r := range records {
		if f, ok := r.(*FeatureLevelRecord); ok && f.Name == featureELR && f.FeatureLevel > 0 {
			// With eligible leader replicas the least number in sync is the cluster's.
			all = append(all, newConfig(Resource{ResourceBroker, ""}, minInSyncReplicas, &one))
		}
	}
	return append(all, &EndTransactionRecord{})
}

func (c *Controller) bootstrap() []Record {
	if c.Bootstrap == nil {
		return Bootstrap()
	}
	return bootstrapOf(c.Bootstrap)
}

// BootstrapFeatures is what format writes into bootstrap.checkpoint: the feature
// levels alone.
func BootstrapFeatures() (records []Record) {
	for _, f := range bootstrapFeatures {
		records = append(records, &FeatureLevelRecord{Name: f.Name, FeatureLevel: f.Level})
	}
	return records
}

// Activate is what this node writes first as the controller, when the image is
// that of the whole log: an end to a transaction that was cut short, the
// bootstrap of an empty log, its registration. first is to be one batch.
func (c *Controller) Activate(n Node) (first, then []Record) {
	switch {
	case c.Image.InTransaction():
		reason := "The controller that began it stopped"
		first = append(first, &AbortTransactionRecord{Reason: &reason})
		if c.Image.Feature(MetadataVersion) == 0 {
			first = append(first, c.bootstrap()...)
		}
	case c.Image.Feature(MetadataVersion) == 0:
		first = c.bootstrap()
	}
	return first, []Record{&RegisterControllerRecord{
		ControllerID: c.NodeID, IncarnationID: n.Incarnation,
		EndPoints: n.ControllerEndpoints, Features: SupportedFeatures(),
	}}
}

// Register is what puts this node into service as the broker: its registration,
// fenced, the leadership of its partitions in their next epoch, and the end of
// the fence. offset is the log's end, where the first of these records will be;
// it becomes the broker epoch. The records need not be one batch: a start that
// is cut short is simply done again.
func (c *Controller) Register(n Node, offset int64) []Record {
	records := c.fenceOthers()
	records = append(records, &RegisterBrokerRecord{
		Version: registerBrokerVersion, BrokerID: c.NodeID, IncarnationID: n.Incarnation, BrokerEpoch: offset,
		EndPoints: n.Endpoints, Features: SupportedFeatures(), Rack: n.Rack, Fenced: true, LogDirs: n.Directories,
	}, &BrokerRegistrationChangeRecord{Version: fenceVersion, BrokerID: c.NodeID, BrokerEpoch: offset, Fenced: -1})
	for _, t := range c.Image.Topics() {
		for i := range t.Partitions {
			if change := c.lead(t, &t.Partitions[i], n); change != nil {
				records = append(records, change)
			}
		}
	}
	return append(records, &BrokerRegistrationChangeRecord{
		Version: cordonVersion, BrokerID: c.NodeID, BrokerEpoch: offset, CordonedLogDirs: append([]UUID{}, n.Cordoned...),
	})
}

// fenceOthers takes out of service what an Apache cluster's log says of other
// brokers: alone, this node cannot reach them.
func (c *Controller) fenceOthers() (records []Record) {
	for _, b := range c.Image.Brokers() {
		if b.BrokerID != c.NodeID && !b.Fenced {
			records = append(records, &BrokerRegistrationChangeRecord{
				Version: fenceVersion, BrokerID: b.BrokerID, BrokerEpoch: b.BrokerEpoch, Fenced: 1,
			})
		}
	}
	return records
}

// lead makes this node the leader of a partition, nil if it cannot be.
func (c *Controller) lead(t *Topic, p *Partition, n Node) *PartitionChangeRecord {
	if !slices.Contains(p.Replicas, c.NodeID) {
		return nil
	}
	if n.Where != nil {
		if _, ok := n.Where(t.ID, p.Index); !ok {
			if p.Leader != c.NodeID {
				return nil
			}
			return c.resign(t, p, c.Image.Feature(featureELR) > 0)
		}
	}
	change := NewPartitionChange(t.ID, p.Index)
	change.Version = partitionChangeVersion
	recovery := int8(0)
	switch {
	case slices.Contains(p.ISR, c.NodeID), slices.Contains(p.EligibleLeaderReplicas, c.NodeID):
	case len(p.ISR) == 0 && len(p.EligibleLeaderReplicas) == 0 && slices.Equal(p.LastKnownELR, []int32{c.NodeID}):
		recovery = 1 // the last leader, back after a crash under Kafka: an unclean election
	case p.Leader == NoLeader:
		return nil
	default: // led by another broker, with copies that this node does not have
		change.Leader = NoLeader
		return change
	}
	change.Leader = c.NodeID
	if !slices.Equal(p.ISR, []int32{c.NodeID}) {
		change.ISR = []int32{c.NodeID}
	}
	if len(p.EligibleLeaderReplicas) > 0 {
		change.EligibleLeaderReplicas = []int32{}
	}
	if len(p.LastKnownELR) > 0 {
		change.LastKnownELR = []int32{}
	}
	if p.LeaderRecoveryState != recovery {
		change.LeaderRecoveryState = recovery
	}
	change.Directories = c.settle(t, p, n)
	return change
}

// settle names this node's directory where the image does not know it yet, or has another.
func (c *Controller) settle(t *Topic, p *Partition, n Node) []UUID {
	at := slices.Index(p.Replicas, c.NodeID)
	if at >= len(p.Directories) {
		return nil
	}
	var in UUID
	switch {
	case n.Where != nil:
		in, _ = n.Where(t.ID, p.Index)
	case len(n.Directories) == 1:
		in = n.Directories[0]
	default:
		return nil
	}
	if in == p.Directories[at] {
		return nil
	}
	directories := slices.Clone(p.Directories)
	directories[at] = in
	return directories
}

// Shutdown is what a clean stop writes, as Kafka's: the controlled shutdown, the
// partitions without their leader, the fence. With it an Apache Kafka that opens
// the directory need not wait for this node's session to expire. Like Register's,
// the records need not be one batch. Without a registration in service there are none.
func (c *Controller) Shutdown() []Record {
	b := c.Image.Broker(c.NodeID)
	if b == nil || b.Fenced {
		return nil
	}
	records := []Record{&BrokerRegistrationChangeRecord{
		Version: shutdownVersion, BrokerID: c.NodeID, BrokerEpoch: b.BrokerEpoch, InControlledShutdown: 1,
	}}
	elr := c.Image.Feature(featureELR) > 0
	for _, t := range c.Image.Topics() {
		for i := range t.Partitions {
			if t.Partitions[i].Leader == c.NodeID {
				records = append(records, c.resign(t, &t.Partitions[i], elr))
			}
		}
	}
	return append(records, &BrokerRegistrationChangeRecord{
		Version: fenceVersion, BrokerID: c.NodeID, BrokerEpoch: b.BrokerEpoch, Fenced: 1,
	})
}

func (c *Controller) resign(t *Topic, p *Partition, elr bool) *PartitionChangeRecord {
	change := NewPartitionChange(t.ID, p.Index)
	change.Version = partitionChangeVersion
	change.Leader = NoLeader
	if elr {
		change.ISR = []int32{}
		change.EligibleLeaderReplicas = []int32{c.NodeID}
		change.LastKnownELR = []int32{c.NodeID}
	}
	return change
}

// ProducerIDBlock is how many producer ids are handed out at once.
const ProducerIDBlock = 1000

// AllocateProducerIDs hands this node the next block of producer ids: first to
// first+count-1, its own once the record is committed.
func (c *Controller) AllocateProducerIDs() (first int64, count int32, records []Record, _ *Refusal) {
	b := c.Image.Broker(c.NodeID)
	if b == nil {
		return 0, 0, nil, refuse(protocol.BROKER_ID_NOT_REGISTERED, "Broker %d is not registered.", c.NodeID)
	}
	first = c.Image.NextProducerID()
	if first > math.MaxInt64-ProducerIDBlock {
		return 0, 0, nil, refuse(protocol.UNKNOWN_SERVER_ERROR, "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit")
	}
	record := &ProducerIdsRecord{BrokerID: c.NodeID, BrokerEpoch: b.BrokerEpoch, NextProducerID: first + ProducerIDBlock}
	return first, ProducerIDBlock, []Record{record}, nil
}

// Elect is the control records that begin an epoch of the metadata log, for
// AppendControlBatch: the change of leader, and in a log that is empty also the
// raft level and the voters. A node alone elects itself.
func Elect(nodeID int32, voters *Voters) []Control {
	self := []LeaderChangeVoter{{ID: nodeID}}
	controls := []Control{&LeaderChange{LeaderID: nodeID, Voters: self, GrantingVoters: self}}
	if voters != nil {
		controls = append(controls, &KRaftVersion{KRaftVersion: 1}, voters)
	}
	return controls
}

// VotersAlone is the set of voters of a node alone: itself, in one directory.
// Kafka wants a controller listener in it and corrects it when it finds another.
func VotersAlone(nodeID int32, directory UUID, controller []VoterEndpoint) *Voters {
	return &Voters{Voters: []Voter{{
		ID: nodeID, DirectoryID: directory, Endpoints: controller, KRaftVersionFeature: KRaftVersionRange{Min: 0, Max: 1},
	}}}
}
