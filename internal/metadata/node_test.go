package metadata

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// node is what core 0 is to a controller: it appends decisions to a log (in
// memory), applies what is committed, and can be stopped, killed and started.
type node struct {
	t     *testing.T
	c     *Controller
	log   []byte
	next  int64
	epoch int32
	clock int64
	ids   uint64
	names map[UUID]string // of every topic there ever was, for stories
}

var testDirectory = UUID{0: 0xd1, 15: 9}

func newNode(t *testing.T) *node {
	n := &node{t: t, clock: 1700000000000, names: map[UUID]string{}}
	n.c = &Controller{
		Image: NewImage(), NodeID: 1, Configs: testConfigs{}, RandomID: n.randomID,
		NumPartitions: 4, ReplicationFactor: 1,
	}
	return n
}

// startNode is a fresh node in service.
func startNode(t *testing.T) *node {
	n := newNode(t)
	n.start()
	return n
}

func (n *node) randomID() (id UUID) {
	n.ids++
	binary.BigEndian.PutUint64(id[8:], n.ids*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[:], n.ids*0xc2b2ae3d27d4eb4f)
	return id
}

func (n *node) self() Node {
	return Node{
		Incarnation: n.randomID(), Directories: []UUID{testDirectory},
		Endpoints:           []Endpoint{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}},
		ControllerEndpoints: []Endpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9093}},
	}
}

// start is the whole of a start: read the log, elect, activate, register. It
// returns what was decided.
func (n *node) start() []Record {
	im := NewImage()
	read, next, epoch, err := im.Replay(n.log, 0)
	if err != nil || read != len(n.log) || next != n.next || epoch != max(n.epoch, -1) && len(n.log) > 0 {
		n.t.Fatalf("replay read %d of %d bytes to offset %d of %d, epoch %d of %d: %v", read, len(n.log), next, n.next, epoch, n.epoch, err)
	}
	n.c.Image = im
	n.epoch++
	var voters *Voters
	if len(n.log) == 0 {
		voters = VotersAlone(1, testDirectory, []VoterEndpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9093}})
	}
	controls := Elect(1, voters)
	n.log = AppendControlBatch(n.log, n.info(), controls...)
	n.next += int64(len(controls))
	self := n.self()
	first, then := n.c.Activate(self)
	n.commit(first)
	n.commit(then)
	records := n.c.Register(self, n.next)
	n.commit(records)
	return slices.Concat(first, then, records)
}

func (n *node) info() BatchInfo {
	n.clock++
	return BatchInfo{Offset: n.next, LeaderEpoch: n.epoch, TimestampMillis: n.clock}
}

// commit appends and applies; nothing for no records.
func (n *node) commit(records []Record) {
	n.log, n.next = AppendBatches(n.log, n.info(), records)
	if err := n.c.Image.ApplyAll(records); err != nil {
		n.t.Fatalf("the image refuses what was decided: %v", err)
	}
	checkImage(n.t, n.c.Image)
}

func (n *node) decide(req kmsg.Request) (kmsg.Response, []Record) {
	before := fingerprint(n.c.Image)
	var resp kmsg.Response
	var records []Record
	switch r := req.(type) {
	case *kmsg.CreateTopicsRequest:
		resp, records = n.c.CreateTopics(r)
	case *kmsg.DeleteTopicsRequest:
		resp, records = n.c.DeleteTopics(r)
	case *kmsg.CreatePartitionsRequest:
		resp, records = n.c.CreatePartitions(r)
	case *kmsg.IncrementalAlterConfigsRequest:
		resp, records = n.c.IncrementalAlterConfigs(r)
	default:
		n.t.Fatalf("no decision for %T", req)
	}
	if !bytes.Equal(before, fingerprint(n.c.Image)) {
		n.t.Fatalf("deciding %T changed the image", req)
	}
	if !fitsBatch(records) {
		n.t.Fatalf("deciding %T gave %d records, more than a batch", req, len(records))
	}
	return resp, records
}

// fingerprint is equal for equal images.
func fingerprint(im *Image) []byte {
	var b []byte
	for _, r := range im.Records() {
		b = AppendRecord(b, r)
	}
	for _, r := range im.pending {
		b = AppendRecord(b, r)
	}
	return fmt.Appendf(b, "%v", im.transaction)
}

// checkImage holds the image against its invariants: the indexes agree, lists
// are sorted, every partition's parts fit together, and folding its own records
// gives it again.
func checkImage(t *testing.T, im *Image) {
	t.Helper()
	if len(im.byName) != len(im.topics) || len(im.byID) != len(im.topics) {
		t.Fatalf("%d topics, %d by name, %d by id", len(im.topics), len(im.byName), len(im.byID))
	}
	partitions, metric := 0, 0
	for i, topic := range im.topics {
		if i > 0 && im.topics[i-1].Name >= topic.Name {
			t.Fatalf("topics are out of order at %q", topic.Name)
		}
		if im.TopicByName(topic.Name) != topic || im.TopicByID(topic.ID) != topic {
			t.Fatalf("topic %q is not found", topic.Name)
		}
		if _, ok := metricName(topic.Name); ok {
			metric++
		}
		partitions += len(topic.Partitions)
		checkPartitions(t, topic)
	}
	if partitions != im.PartitionCount() {
		t.Fatalf("%d partitions, counted %d", partitions, im.PartitionCount())
	}
	for _, names := range im.metricNames { // order does not show: a sum
		metric -= len(names)
	}
	if metric != 0 {
		t.Fatalf("%d metric names are missing", metric)
	}
	checkConfigs(t, im)
	again := NewImage()
	if err := again.ApplyAll(im.Records()); err != nil {
		t.Fatalf("its own records do not fold: %v", err)
	}
	if !im.transaction && !bytes.Equal(fingerprint(im), fingerprint(again)) {
		t.Fatal("folding its own records gives another image")
	}
}

func checkPartitions(t *testing.T, topic *Topic) {
	t.Helper()
	for i := range topic.Partitions {
		p := &topic.Partitions[i]
		switch {
		case i > 0 && topic.Partitions[i-1].Index >= p.Index:
			t.Fatalf("%s-%d is out of order", topic.Name, p.Index)
		case topic.Partition(p.Index) != p:
			t.Fatalf("%s-%d is not found", topic.Name, p.Index)
		case len(p.Directories) != len(p.Replicas):
			t.Fatalf("%s-%d has %d directories for %d replicas", topic.Name, p.Index, len(p.Directories), len(p.Replicas))
		case p.Leader != NoLeader && !slices.Contains(p.ISR, p.Leader):
			t.Fatalf("%s-%d is led by %d, in sync are %v", topic.Name, p.Index, p.Leader, p.ISR)
		case p.LeaderEpoch < 0 || p.PartitionEpoch < p.LeaderEpoch:
			t.Fatalf("%s-%d has leader epoch %d, partition epoch %d", topic.Name, p.Index, p.LeaderEpoch, p.PartitionEpoch)
		}
		for _, id := range p.ISR {
			if !slices.Contains(p.Replicas, id) {
				t.Fatalf("%s-%d: %d is in sync and no replica", topic.Name, p.Index, id)
			}
		}
	}
	if topic.Partition(-1) != nil || topic.Partition(1<<30) != nil {
		t.Fatalf("%s has partitions that it has not", topic.Name)
	}
}

func checkConfigs(t *testing.T, im *Image) {
	t.Helper()
	for _, c := range im.configs {
		if len(c.entries) == 0 {
			t.Fatalf("%v has an empty list of configs", c.Resource)
		}
		if !slices.IsSortedFunc(c.entries, func(a, b ConfigEntry) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) }) {
			t.Fatalf("configs of %v are out of order", c.Resource)
		}
		if c.Type == ResourceTopic && im.TopicByName(c.Name) == nil {
			t.Fatalf("there are configs of topic %q and no topic", c.Name)
		}
	}
}
