package metadata

import (
	"math"
	"testing"

	"slipstream/protocol"
)

// TestLeadershipAtStart: what a start makes of every state that a partition may
// be left in, by this program, by Kafka, alone or in a cluster.
func TestLeadershipAtStart(t *testing.T) {
	for _, c := range []struct {
		name   string
		before PartitionRecord
		want   string
	}{
		{"led before a crash", PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1},
			"PartitionChange Version=2 Leader=1"},
		{"stopped cleanly", PartitionRecord{Replicas: []int32{1}, ISR: []int32{}, EligibleLeaderReplicas: []int32{1}, LastKnownELR: []int32{1}, Leader: NoLeader},
			"PartitionChange Version=2 ISR=[1] Leader=1 EligibleLeaderReplicas=[] LastKnownELR=[]"},
		{"Kafka came back from a crash and went again", PartitionRecord{Replicas: []int32{1}, ISR: []int32{}, LastKnownELR: []int32{1}, Leader: NoLeader},
			"PartitionChange Version=2 ISR=[1] Leader=1 LeaderRecoveryState=1 LastKnownELR=[]"},
		{"recovering", PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, LeaderRecoveryState: 1},
			"PartitionChange Version=2 Leader=1 LeaderRecoveryState=0"},
		{"in sync with others", PartitionRecord{Replicas: []int32{2, 1}, ISR: []int32{2, 1}, Leader: 2},
			"PartitionChange Version=2 ISR=[1] Leader=1"},
		{"behind another", PartitionRecord{Replicas: []int32{2, 1}, ISR: []int32{2}, Leader: 2},
			"PartitionChange Version=2 Leader=-1"},
		{"behind another that is gone", PartitionRecord{Replicas: []int32{2, 1}, ISR: []int32{2}, Leader: NoLeader}, "(nothing)"},
		{"not here", PartitionRecord{Replicas: []int32{2}, ISR: []int32{2}, Leader: 2}, "(nothing)"},
		{"in a directory that is not known", PartitionRecord{Replicas: []int32{2, 1}, ISR: []int32{1}, Leader: 1, Directories: []UUID{{3}, DirectoryUnassigned}},
			"PartitionChange Version=2 Leader=1 Directories=[AwAAAAAAAAAAAAAAAAAAAA DIRECTORY]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := startNode(t)
			p := c.before
			p.Version, p.TopicID = 2, UUID{8}
			if p.Directories == nil {
				for range p.Replicas {
					p.Directories = append(p.Directories, testDirectory)
				}
			}
			n.commit([]Record{&TopicRecord{Name: "t", TopicID: p.TopicID}, &p})
			var got []Record
			for _, r := range n.start() {
				if change, ok := r.(*PartitionChangeRecord); ok {
					change := *change
					change.TopicID = UUID{}
					got = append(got, &change)
				}
			}
			if text := n.describe(got); text != c.want {
				t.Errorf("is given %s, want %s", text, c.want)
			}
		})
	}
}

// TestOthersAreFenced: brokers of a cluster that this directory came from.
func TestOthersAreFenced(t *testing.T) {
	n := startNode(t)
	n.commit([]Record{&RegisterBrokerRecord{Version: 4, BrokerID: 2, BrokerEpoch: 77}})
	n.start()
	if b := n.c.Image.Broker(2); b == nil || !b.Fenced {
		t.Errorf("the other broker: %+v", b)
	}
	req := parseCreateTopics(t, []string{"two rf=2 partitions=1"})
	req.SetVersion(7)
	resp, _ := n.decide(req)
	want := `"two" INVALID_REPLICATION_FACTOR "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned." partitions=-1 rf=-1`
	if got := printResponse(resp); got != want {
		t.Error(got)
	}
}

func TestProducerIDsRunOut(t *testing.T) {
	n := startNode(t)
	n.commit([]Record{&ProducerIdsRecord{NextProducerID: math.MaxInt64 - ProducerIDBlock + 1}})
	if _, _, records, refusal := n.c.AllocateProducerIDs(); refusal == nil || refusal.Code != protocol.UNKNOWN_SERVER_ERROR || records != nil {
		t.Errorf("%v, %v", records, refusal)
	}
	n.c.NodeID = 5
	if _, _, _, refusal := n.c.AllocateProducerIDs(); refusal == nil || refusal.Code != protocol.BROKER_ID_NOT_REGISTERED {
		t.Errorf("%v", refusal)
	}
}

// TestIDsAreDrawnAgain where Kafka does.
func TestIDsAreDrawnAgain(t *testing.T) {
	n := startNode(t)
	taken := UUID{6: 0x40, 8: 0x80, 15: 200}
	n.commit([]Record{&TopicRecord{Name: "taken", TopicID: taken}})
	drawn := []UUID{{15: 200}, {0: 0xf8, 15: 7}, {0: 1}}
	n.c.RandomID = func() UUID {
		id := drawn[0]
		drawn = drawn[1:]
		return id
	}
	if id := n.c.newTopicID(); id != (UUID{0: 1, 6: 0x40, 8: 0x80}) {
		t.Errorf("%s (%x)", id, id)
	}
}

// TestManyPartitionsStart: a start of more partitions than fit a batch is cut
// into batches that do.
func TestManyPartitionsStart(t *testing.T) {
	n := startNode(t)
	for _, name := range []string{"a", "b", "c"} {
		req := parseCreateTopics(t, []string{name + " partitions=9999 rf=1"})
		req.SetVersion(7)
		_, records := n.decide(req)
		if len(records) != 10000 {
			t.Fatalf("%d records", len(records))
		}
		n.commit(records)
	}
	before := len(n.log)
	n.start()
	batches := 0
	for b := n.log[before:]; len(b) > 0; batches++ {
		batch, rest, err := protocol.NextBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		if batch.Count() > MaxBatchRecords || len(batch) > MaxBatchBytes {
			t.Errorf("a batch of %d records, %d bytes", batch.Count(), len(batch))
		}
		b = rest
	}
	if batches != 2+3 { // election, controller, 30,000 records
		t.Errorf("%d batches", batches)
	}
	if p := n.c.Image.TopicByName("c").Partition(9998); p.LeaderEpoch != 1 {
		t.Errorf("%+v", *p)
	}
}
