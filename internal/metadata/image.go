package metadata

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Image is the cluster's state as a fold over the metadata log: the same
// records in the same order give the same image, on every core and after every
// restart. It holds no clock, no lock and no file.
//
// An image belongs to one core. Records are shared between images, so nothing
// that came from a record is ever changed in place. What a lookup returns
// belongs to the image, must not be changed, and is valid until the next Apply.
// Lookups do not allocate.
type Image struct {
	topics []*Topic // by name
	byName map[string]*Topic
	byID   map[UUID]*Topic
	// Names that contain '.' or '_', by what they are as metric names: there the
	// two are the same, so Kafka refuses a topic that would collide.
	metricNames map[string][]string
	partitions  int          // of all topics
	directories map[UUID]int // replicas by the directory that they are in

	configs     []resourceConfigs // by type and name, never with an empty list
	features    []FeatureLevel    // by name
	brokers     []*RegisterBrokerRecord
	controllers []*RegisterControllerRecord

	nextProducerID int64 // 0 before the first block
	kraftVersion   int16 // of the raft layer's control records
	voters         *Voters
	electors       []int32 // the voters that the newest change of leader names
	kept           []keptRecord

	transaction bool
	pending     []Record // of the open transaction, not yet part of the image
}

// NewImage is the image of an empty log.
func NewImage() *Image {
	return &Image{byName: map[string]*Topic{}, byID: map[UUID]*Topic{}, metricNames: map[string][]string{}, directories: map[UUID]int{}}
}

// Topic is a topic and its partitions.
type Topic struct {
	Name       string
	ID         UUID
	Partitions []Partition // by index; dense in any log that Kafka writes
}

// Partition is one partition's state. The slices are shared with records.
type Partition struct {
	Index                  int32
	Replicas               []int32 // in preferred order
	ISR                    []int32
	RemovingReplicas       []int32
	AddingReplicas         []int32
	EligibleLeaderReplicas []int32
	LastKnownELR           []int32
	Directories            []UUID // of each replica, in the order of Replicas
	Leader                 int32  // NoLeader: none
	LeaderEpoch            int32
	PartitionEpoch         int32
	LeaderRecoveryState    int8 // 1: recovering from an unclean election
}

// FeatureLevel is a finalized feature.
type FeatureLevel struct {
	Name  string
	Level int16
}

// Apply folds one record into the image. A record that does not fit the image
// (a partition of an unknown topic, a second topic of one name) is an error and
// leaves it as it was: the log is damaged, or is not one log.
//
// Records of a metadata transaction are held back until its end: an image never
// shows half of one.
func (im *Image) Apply(r Record) error {
	switch r := r.(type) {
	case *BeginTransactionRecord:
		if im.transaction {
			return fmt.Errorf("metadata: a transaction begins inside another")
		}
		im.transaction = true
		return nil
	case *EndTransactionRecord:
		return im.endTransaction()
	case *AbortTransactionRecord:
		if !im.transaction {
			return fmt.Errorf("metadata: a transaction is aborted and none is open")
		}
		im.transaction, im.pending = false, nil
		return nil
	default:
		if im.transaction {
			im.pending = append(im.pending, r)
			return nil
		}
		return im.apply(r)
	}
}

// ApplyAll applies records in order and stops at the first error.
func (im *Image) ApplyAll(records []Record) error {
	for _, r := range records {
		if err := im.Apply(r); err != nil {
			return err
		}
	}
	return nil
}

func (im *Image) endTransaction() error {
	if !im.transaction {
		return fmt.Errorf("metadata: a transaction ends and none is open")
	}
	pending := im.pending
	im.transaction, im.pending = false, nil
	for _, r := range pending {
		if err := im.apply(r); err != nil {
			return fmt.Errorf("metadata: in a transaction: %w", err)
		}
	}
	return nil
}

// InTransaction reports whether a metadata transaction is open: a controller
// that starts on such a log writes an AbortTransactionRecord first.
func (im *Image) InTransaction() bool { return im.transaction }

func (im *Image) apply(r Record) error {
	switch r := r.(type) {
	case *TopicRecord:
		return im.addTopic(r)
	case *PartitionRecord:
		return im.setPartition(r)
	case *PartitionChangeRecord:
		return im.changePartition(r)
	case *RemoveTopicRecord:
		return im.removeTopic(r)
	case *ClearElrRecord:
		return im.clearELR(r)
	case *ConfigRecord:
		im.setConfig(r)
	case *FeatureLevelRecord:
		im.setFeature(r)
	case *ProducerIdsRecord:
		return im.advanceProducerIDs(r)
	case *RegisterBrokerRecord:
		im.registerBroker(r)
	case *UnregisterBrokerRecord:
		return im.unregisterBroker(r)
	case *FenceBrokerRecord:
		return im.changeBroker(r, r.ID, r.Epoch, func(b *RegisterBrokerRecord) { b.Fenced = true })
	case *UnfenceBrokerRecord:
		return im.changeBroker(r, r.ID, r.Epoch, func(b *RegisterBrokerRecord) { b.Fenced = false })
	case *BrokerRegistrationChangeRecord:
		return im.changeBroker(r, r.BrokerID, r.BrokerEpoch, r.change)
	case *RegisterControllerRecord:
		im.registerController(r)
	case *NoOpRecord:
	default:
		im.keep(r)
	}
	return nil
}

// Topics lists every topic by name.
func (im *Image) Topics() []*Topic { return im.topics }

// PartitionCount is the number of partitions of all topics together.
func (im *Image) PartitionCount() int { return im.partitions }

// ReplicasIn is how many replicas are in a log directory.
func (im *Image) ReplicasIn(directory UUID) int { return im.directories[directory] }

// count adds a partition's replicas to those of their directories, or takes them off.
func (im *Image) count(p *Partition, by int) {
	for _, d := range p.Directories {
		if im.directories[d] += by; im.directories[d] == 0 {
			delete(im.directories, d)
		}
	}
}

// TopicByName finds a topic, or nil.
func (im *Image) TopicByName(name string) *Topic { return im.byName[name] }

// TopicByNameBytes is TopicByName for a name that still lies in a request.
func (im *Image) TopicByNameBytes(name []byte) *Topic { return im.byName[string(name)] }

// TopicByID finds a topic, or nil.
func (im *Image) TopicByID(id UUID) *Topic { return im.byID[id] }

// Partition finds a partition, or nil.
func (t *Topic) Partition(index int32) *Partition {
	if index >= 0 && int(index) < len(t.Partitions) && t.Partitions[index].Index == index {
		return &t.Partitions[index]
	}
	if i, ok := t.search(index); ok {
		return &t.Partitions[i]
	}
	return nil
}

func (t *Topic) search(index int32) (int, bool) {
	return slices.BinarySearchFunc(t.Partitions, index, func(p Partition, i int32) int { return cmp.Compare(p.Index, i) })
}

// Features lists the finalized features by name.
func (im *Image) Features() []FeatureLevel { return im.features }

// Feature is the level of a feature, 0 if it is not finalized.
func (im *Image) Feature(name string) int16 {
	if i, ok := im.searchFeature(name); ok {
		return im.features[i].Level
	}
	return 0
}

// KRaftVersion is the level of the raft protocol (feature kraft.version) as of the
// last control record that says one; 0 before.
func (im *Image) KRaftVersion() int16 { return im.kraftVersion }

// Voters is the newest record of the metadata log's voters; nil in a log from before there were such records, or
// that is not a dynamic quorum's.
func (im *Image) Voters() *Voters { return im.voters }

// VoterIDs are the nodes that vote on who leads the metadata log, as far as the log says so.
func (im *Image) VoterIDs() []int32 {
	if im.voters == nil {
		return im.electors
	}
	ids := make([]int32, len(im.voters.Voters))
	for i := range im.voters.Voters {
		ids[i] = im.voters.Voters[i].ID
	}
	return ids
}

// ApplyControl folds a control record. Most say nothing about the cluster's state.
func (im *Image) ApplyControl(c Control) {
	switch c := c.(type) {
	case *KRaftVersion:
		im.kraftVersion = c.KRaftVersion
	case *Voters:
		im.voters = c
	case *LeaderChange:
		ids := make([]int32, len(c.Voters))
		for i := range c.Voters {
			ids[i] = c.Voters[i].ID
		}
		im.electors = ids
	}
}

func (im *Image) searchFeature(name string) (int, bool) {
	return slices.BinarySearchFunc(im.features, name, func(f FeatureLevel, s string) int { return strings.Compare(f.Name, s) })
}

// NextProducerID is the first producer id that no block has handed out.
func (im *Image) NextProducerID() int64 { return im.nextProducerID }

// Brokers lists the registered brokers by id.
func (im *Image) Brokers() []*RegisterBrokerRecord { return im.brokers }

// Broker finds a registration, or nil.
func (im *Image) Broker(id int32) *RegisterBrokerRecord {
	if i, ok := im.searchBroker(id); ok {
		return im.brokers[i]
	}
	return nil
}

func (im *Image) searchBroker(id int32) (int, bool) {
	return slices.BinarySearchFunc(im.brokers, id, func(b *RegisterBrokerRecord, id int32) int { return cmp.Compare(b.BrokerID, id) })
}

// Controllers lists the registered controllers by id.
func (im *Image) Controllers() []*RegisterControllerRecord { return im.controllers }

// ResourceType is Kafka's ConfigResource.Type, as ConfigRecord and the config
// requests number it.
type ResourceType int8

// Types of resources that have configs.
const (
	ResourceTopic         ResourceType = 2
	ResourceBroker        ResourceType = 4 // named by its id; "" is the default of all brokers
	ResourceBrokerLogger  ResourceType = 8
	ResourceClientMetrics ResourceType = 16
	ResourceGroup         ResourceType = 32
)

// Resource is something that has configs.
type Resource struct {
	Type ResourceType
	Name string
}

// ConfigEntry is one dynamic config.
type ConfigEntry struct{ Name, Value string }

type resourceConfigs struct {
	Resource
	entries []ConfigEntry // by name
}

// Configs lists the dynamic configs of a resource by name.
func (im *Image) Configs(res Resource) []ConfigEntry {
	if i, ok := im.searchConfigs(res); ok {
		return im.configs[i].entries
	}
	return nil
}

// Config is one dynamic config; ok is false if the resource does not set it.
func (im *Image) Config(res Resource, name string) (value string, ok bool) {
	entries := im.Configs(res)
	if i, ok := searchEntry(entries, name); ok {
		return entries[i].Value, true
	}
	return "", false
}

// ConfiguredNames lists the resources of a type that have dynamic configs. Unlike
// other lookups it allocates.
func (im *Image) ConfiguredNames(kind ResourceType) (names []string) {
	i, _ := im.searchConfigs(Resource{Type: kind})
	for ; i < len(im.configs) && im.configs[i].Type == kind; i++ {
		names = append(names, im.configs[i].Name)
	}
	return names
}

func (im *Image) searchConfigs(res Resource) (int, bool) {
	return slices.BinarySearchFunc(im.configs, res, func(c resourceConfigs, r Resource) int {
		return cmp.Or(cmp.Compare(c.Type, r.Type), strings.Compare(c.Name, r.Name))
	})
}

func searchEntry(entries []ConfigEntry, name string) (int, bool) {
	return slices.BinarySearchFunc(entries, name, func(e ConfigEntry, s string) int { return strings.Compare(e.Name, s) })
}
