package metadata

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTransactions(t *testing.T) {
	name := "two topics"
	topic := func(n byte) *TopicRecord { return &TopicRecord{Name: string([]byte{'t', n}), TopicID: UUID{0: n}} }
	im := NewImage()
	apply := func(records ...Record) {
		t.Helper()
		if err := im.ApplyAll(records); err != nil {
			t.Fatal(err)
		}
		checkImage(t, im)
	}
	apply(topic('1'), &BeginTransactionRecord{Name: &name}, topic('2'), topic('3'))
	if !im.InTransaction() || len(im.Topics()) != 1 {
		t.Errorf("inside a transaction there are %d topics", len(im.Topics()))
	}
	apply(&EndTransactionRecord{})
	if im.InTransaction() || len(im.Topics()) != 3 {
		t.Errorf("after it there are %d topics", len(im.Topics()))
	}
	apply(&BeginTransactionRecord{}, &RemoveTopicRecord{TopicID: UUID{0: '1'}}, topic('4'), &AbortTransactionRecord{})
	if im.InTransaction() || len(im.Topics()) != 3 || im.TopicByName("t1") == nil {
		t.Errorf("after one that was aborted there are %d topics", len(im.Topics()))
	}
	for _, r := range []Record{&EndTransactionRecord{}, &AbortTransactionRecord{}} {
		if im.Apply(r) == nil {
			t.Errorf("%s outside a transaction is applied", RecordName(r))
		}
	}
	apply(&BeginTransactionRecord{})
	if im.Apply(&BeginTransactionRecord{}) == nil {
		t.Error("a transaction begins inside another")
	}
}

// TestControllerEndsWhatWasCutShort: a log that ends inside a transaction.
func TestControllerEndsWhatWasCutShort(t *testing.T) {
	n := startNode(t)
	name := "cut short"
	n.commit([]Record{&BeginTransactionRecord{Name: &name}, &TopicRecord{Name: "half", TopicID: UUID{1}}})
	records := n.start()
	if _, ok := records[0].(*AbortTransactionRecord); !ok || n.c.Image.TopicByName("half") != nil {
		t.Errorf("a start begins with %s; topics: %v", describe(records[:1]), n.c.Image.Topics())
	}
	// The bootstrap itself cut short: it is done again.
	n = newNode(t)
	n.epoch = 1
	n.commit(Bootstrap()[:3])
	n.start()
	if n.c.Image.Feature(MetadataVersion) != MetadataLevel || n.c.Image.Feature("transaction.version") != 2 {
		t.Errorf("features after a bootstrap in two tries: %v", n.c.Image.Features())
	}
}

// TestRecordsThatDoNotFit: each is an error and changes nothing.
func TestRecordsThatDoNotFit(t *testing.T) {
	n := startNode(t)
	id := UUID{5}
	n.commit([]Record{
		&TopicRecord{Name: "there", TopicID: id},
		&PartitionRecord{TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []UUID{testDirectory}},
		&ProducerIdsRecord{NextProducerID: 1000},
	})
	unknown := UUID{6}
	longer := NewPartitionChange(id, 0)
	longer.Replicas = []int32{1, 2}
	for _, r := range []Record{
		&TopicRecord{Name: "there", TopicID: unknown},
		&TopicRecord{Name: "other", TopicID: id},
		&RemoveTopicRecord{TopicID: unknown},
		&PartitionRecord{TopicID: unknown},
		&PartitionRecord{TopicID: id, PartitionID: -1},
		&PartitionRecord{TopicID: id, PartitionID: 1, Replicas: []int32{1}, Directories: []UUID{{}, {}}},
		NewPartitionChange(unknown, 0), NewPartitionChange(id, 1), NewPartitionChange(id, -1), longer,
		&ClearElrRecord{TopicName: "nothing"},
		&ProducerIdsRecord{NextProducerID: 1000}, &ProducerIdsRecord{NextProducerID: -5},
		&UnregisterBrokerRecord{BrokerID: 2}, &UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5},
		&FenceBrokerRecord{ID: 2}, &UnfenceBrokerRecord{ID: 1, Epoch: 99},
		&BrokerRegistrationChangeRecord{BrokerID: 3}, &BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 1},
	} {
		before := fingerprint(n.c.Image)
		if err := n.c.Image.Apply(r); err == nil {
			t.Errorf("%s is applied", describe([]Record{r}))
		} else if !strings.HasPrefix(err.Error(), "metadata: ") {
			t.Errorf("%s: %v", RecordName(r), err)
		}
		if !bytes.Equal(before, fingerprint(n.c.Image)) {
			t.Errorf("%s was refused and changed the image", describe([]Record{r}))
		}
	}
}

// TestOldRecords: what Kafka before 3.3 wrote, and partitions without directories.
func TestOldRecords(t *testing.T) {
	im := NewImage()
	id := UUID{7}
	change := NewPartitionChange(id, 3)
	change.Leader = 2
	old := "host"
	err := im.ApplyAll([]Record{
		&RegisterBrokerRecord{BrokerID: 2, BrokerEpoch: 4, Fenced: true, Rack: &old},
		&UnfenceBrokerRecord{ID: 2, Epoch: 4},
		&TopicRecord{Name: "old", TopicID: id},
		&PartitionRecord{TopicID: id, PartitionID: 3, Replicas: []int32{2, 1}, ISR: []int32{2, 1}, Leader: 1},
		change,
	})
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, im)
	p := im.TopicByName("old").Partition(3)
	if len(p.Directories) != 2 || p.Directories[0] != DirectoryMigrating || p.Leader != 2 || p.LeaderEpoch != 1 {
		t.Errorf("%+v", *p)
	}
	if im.Broker(2).Fenced {
		t.Error("the broker is fenced")
	}
	if err := im.ApplyAll([]Record{&FenceBrokerRecord{ID: 2, Epoch: 4}, &UnregisterBrokerRecord{BrokerID: 2, BrokerEpoch: 4}}); err != nil || im.Broker(2) != nil {
		t.Errorf("after unregistering: %v, %v", im.Broker(2), err)
	}
}

// TestKeptRecords: what this program does not act on is replaced and removed by
// the record that should.
func TestKeptRecords(t *testing.T) {
	im := NewImage()
	app, bob := "app", "bob"
	quota := func(value float64, remove bool, parts ...EntityData) Record {
		return &ClientQuotaRecord{Entity: parts, QuotaKey: "producer_byte_rate", Value: value, Remove: remove}
	}
	user, client := EntityData{EntityType: "user", EntityName: &bob}, EntityData{EntityType: "client-id", EntityName: &app}
	everyone := EntityData{EntityType: "user"}
	steps := []struct {
		r    Record
		kept int
	}{
		{quota(1, false, user, client), 1},
		{quota(2, false, client, user), 1}, // the same entity
		{quota(3, false, user), 2},
		{quota(4, false, everyone), 3},
		{quota(0, true, user, client), 2},
		{quota(0, true, client), 2},
		{&UserScramCredentialRecord{Name: "bob", Mechanism: 1}, 3},
		{&UserScramCredentialRecord{Name: "bob", Mechanism: 2}, 4},
		{&RemoveUserScramCredentialRecord{Name: "bob", Mechanism: 1}, 3},
		{&AccessControlEntryRecord{ID: UUID{1}}, 4},
		{&RemoveAccessControlEntryRecord{ID: UUID{2}}, 4},
		{&RemoveAccessControlEntryRecord{ID: UUID{1}}, 3},
		{&DelegationTokenRecord{TokenID: "x"}, 4},
		{&DelegationTokenRecord{TokenID: "x", MaxTimestamp: 9}, 4},
		{&RemoveDelegationTokenRecord{TokenID: "x"}, 3},
		{&ZkMigrationStateRecord{ZkMigrationState: 3}, 4},
		{&ZkMigrationStateRecord{ZkMigrationState: 1}, 4},
		{&NoOpRecord{}, 4},
	}
	for _, s := range steps {
		if err := im.Apply(s.r); err != nil {
			t.Fatal(err)
		}
		checkImage(t, im)
		if len(im.kept) != s.kept {
			t.Errorf("after %s %d records are kept, want %d", describe([]Record{s.r}), len(im.kept), s.kept)
		}
	}
}

// TestRandomDecisions: whatever is asked, in whatever order, with stops and
// kills: every decision folds, the log folds to the image at every start, and
// two runs of one seed give the same log.
func TestRandomDecisions(t *testing.T) {
	for seed := range uint64(20) {
		first := randomLife(t, seed)
		if !bytes.Equal(first, randomLife(t, seed)) {
			t.Fatalf("seed %d gives two logs", seed)
		}
	}
}

func randomLife(t *testing.T, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := startNode(t)
	names := []string{"a", "b", "c.d", "c_d", "e-f", "bad name", ""}
	pick := func() string { return names[rnd.IntN(len(names))] }
	for range 60 {
		switch rnd.IntN(8) {
		case 0, 1:
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Version = 7
			for range 1 + rnd.IntN(3) {
				topic := kmsg.NewCreateTopicsRequestTopic()
				topic.Topic, topic.NumPartitions, topic.ReplicationFactor = pick(), int32(rnd.IntN(6)-1), int16(rnd.IntN(4)-1)
				req.Topics = append(req.Topics, topic)
			}
			n.decideAndCommit(req)
		case 2:
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.Version = 6
			name := pick()
			req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
			if all := n.c.Image.Topics(); len(all) > 0 {
				req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{TopicID: all[rnd.IntN(len(all))].ID})
			}
			n.decideAndCommit(req)
		case 3:
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: pick(), Count: int32(rnd.IntN(9))}, {Topic: pick(), Count: 4}}
			n.decideAndCommit(req)
		case 4, 5:
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			value := []string{"compact", "5", "2000000"}[rnd.IntN(3)]
			config := kmsg.IncrementalAlterConfigsRequestResourceConfig{
				Name: []string{"cleanup.policy", "retention.ms", "segment.bytes", "min.insync.replicas"}[rnd.IntN(4)],
				Op:   kmsg.IncrementalAlterConfigOp(rnd.IntN(5)), Value: &value,
			}
			req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: pick(), Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{config}}}
			n.decideAndCommit(req)
		case 6:
			_, _, records, _ := n.c.AllocateProducerIDs()
			n.commit(records)
		case 7:
			if rnd.IntN(2) == 0 {
				n.commit(n.c.Shutdown())
			}
			n.start()
		}
	}
	return n.log
}

func (n *node) decideAndCommit(req kmsg.Request) {
	before := fingerprint(n.c.Image)
	_, records := n.decide(req)
	n.commit(records)
	if len(records) == 0 && !bytes.Equal(before, fingerprint(n.c.Image)) {
		n.t.Fatal("nothing was decided and the image changed")
	}
}

// TestImagesShareRecords: two images of the same records do not see each other.
func TestImagesShareRecords(t *testing.T) {
	id := UUID{9}
	isr, replicas := []int32{1, 2}, []int32{1, 2}
	one := "1"
	records := []Record{
		&RegisterBrokerRecord{BrokerID: 1, Fenced: true},
		&TopicRecord{Name: "t", TopicID: id},
		&PartitionRecord{Version: 2, TopicID: id, Replicas: replicas, ISR: isr, Leader: 1, Directories: make([]UUID, 2)},
		newConfig(Resource{ResourceTopic, "t"}, "a", &one),
		&FeatureLevelRecord{Name: "f", FeatureLevel: 1},
	}
	a, b := NewImage(), NewImage()
	for _, im := range []*Image{a, b} {
		if err := im.ApplyAll(records); err != nil {
			t.Fatal(err)
		}
	}
	before, entries := fingerprint(b), b.Configs(Resource{ResourceTopic, "t"})
	change := NewPartitionChange(id, 0)
	change.ISR, change.Leader = []int32{2}, 2
	two := "2"
	more := []Record{
		change, newConfig(Resource{ResourceTopic, "t"}, "a", &two), newConfig(Resource{ResourceTopic, "t"}, "0", &two),
		&BrokerRegistrationChangeRecord{BrokerID: 1, Fenced: -1}, &FeatureLevelRecord{Name: "f", FeatureLevel: 2},
		newConfig(Resource{ResourceTopic, "t"}, "a", nil),
	}
	if err := a.ApplyAll(more); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, fingerprint(b)) || entries[0].Value != "1" || !slices.Equal(isr, []int32{1, 2}) {
		t.Error("an image changed with another")
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	n := startNode(t)
	req := parseCreateTopics(t, []string{"orders partitions=5 rf=1 config.retention.ms=5"})
	req.SetVersion(7)
	n.decideAndCommit(req)
	im := n.c.Image
	name, id := []byte("orders"), im.TopicByName("orders").ID
	res := Resource{ResourceTopic, "orders"}
	found := 0
	allocations := testing.AllocsPerRun(100, func() {
		topic := im.TopicByNameBytes(name)
		if topic == nil || im.TopicByID(id) != topic || topic.Partition(4) == nil || topic.Partition(5) != nil {
			t.Fatal("not found")
		}
		if _, ok := im.Config(res, "retention.ms"); ok && im.Broker(1) != nil && im.Feature("group.version") == 1 {
			found++
		}
	})
	if allocations != 0 || found == 0 {
		t.Errorf("%v allocations a lookup, found %d", allocations, found)
	}
}
