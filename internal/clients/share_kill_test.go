package clients

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareMember is a member of a share group that speaks the protocol itself: it knows what the broker has told it.
type shareMember struct {
	t     *testing.T
	b     *harness.Broker
	w     *harness.Wire
	corr  int32
	group string
	id    string
	topic string
	tid   [16]byte
	epoch int32 // of the session
}

func newShareMember(t *testing.T, b *harness.Broker, group, id, topic string, tid [16]byte) *shareMember {
	t.Helper()
	w, err := harness.Dial(b.Addr)
	harness.Need(t, err)
	return &shareMember{t: t, b: b, w: w, group: group, id: id, topic: topic, tid: tid}
}

func (m *shareMember) ask(version int16, req kmsg.Request) kmsg.Response {
	m.t.Helper()
	m.send(version, req)
	body, err := m.w.ReadFrame(20 * time.Second)
	harness.Need(m.t, err)
	resp, err := harness.Decode(req, m.corr, body)
	harness.Need(m.t, err)
	return resp
}

func (m *shareMember) send(version int16, req kmsg.Request) {
	m.t.Helper()
	req.SetVersion(version)
	m.corr++
	_, err := m.w.Write(harness.Encode(req, m.corr))
	harness.Need(m.t, err)
}

// join heartbeats until the member has all partitions.
func (m *shareMember) join(partitions int) {
	m.t.Helper()
	epoch := int32(0)
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		resp := m.ask(1, shareHeartbeat(m.group, m.id, epoch, m.topic)).(*kmsg.ShareGroupHeartbeatResponse)
		if resp.ErrorCode != 0 { // the coordinator is still to be made, or to be loaded
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.CoordinatorKeys = []string{m.group}
			m.ask(4, find)
			continue
		}
		epoch = resp.MemberEpoch
		if a := resp.Assignment; a != nil && len(a.TopicPartitions) == 1 && len(a.TopicPartitions[0].Partitions) == partitions {
			return
		}
	}
	m.t.Fatalf("member %s was not assigned %d partitions", m.id, partitions)
}

// place is a record of a topic.
type place struct {
	partition int32
	offset    int64
}

// fetch acquires what there is, until nothing more comes, and gives each record's delivery count.
func (m *shareMember) fetch(partitions int) map[place]int16 {
	m.t.Helper()
	got := map[place]int16{}
	for empty := 0; empty < 2; {
		req := shareFetch(m.group, m.id, m.epoch, m.tid, 0)
		for p := 1; p < partitions; p++ {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ShareFetchRequestTopicPartition{Partition: int32(p)})
		}
		req.MaxWaitMillis = 150
		resp := m.ask(2, req).(*kmsg.ShareFetchResponse)
		if resp.ErrorCode != 0 {
			m.t.Fatalf("ShareFetch: error %d", resp.ErrorCode)
		}
		m.epoch++
		empty++
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 && p.ErrorCode != 15 { // a coordinator is being loaded
					m.t.Fatalf("ShareFetch of partition %d: error %d", p.Partition, p.ErrorCode)
				}
				if p.ErrorCode != 0 {
					empty = 0
				}
				for _, a := range p.AcquiredRecords {
					empty = 0
					for o := a.FirstOffset; o <= a.LastOffset; o++ {
						got[place{p.Partition, o}] = a.DeliveryCount
					}
				}
			}
		}
	}
	return got
}

// acknowledgement is a request that says the same of some records.
func (m *shareMember) acknowledgement(kind int8, records []place) *kmsg.ShareAcknowledgeRequest {
	req := shareAcknowledge(m.group, m.id, m.epoch, m.tid, 0)
	req.Topics[0].Partitions = nil
	byPartition := map[int32][]kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{}
	for _, r := range records {
		byPartition[r.partition] = append(byPartition[r.partition],
			kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{FirstOffset: r.offset, LastOffset: r.offset, AcknowledgeTypes: []int8{kind}})
	}
	for partition, batches := range byPartition {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ShareAcknowledgeRequestTopicPartition{Partition: partition, AcknowledgementBatches: batches})
	}
	return req
}

func (m *shareMember) acknowledge(kind int8, records []place) {
	m.t.Helper()
	resp := m.ask(2, m.acknowledgement(kind, records)).(*kmsg.ShareAcknowledgeResponse)
	m.epoch++
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if resp.ErrorCode != 0 || p.ErrorCode != 0 {
				m.t.Fatalf("ShareAcknowledge: error %d, partition %d: %d", resp.ErrorCode, p.Partition, p.ErrorCode)
			}
		}
	}
}

// TestShareGroupSurvivesKills kills the broker, and once stops it, while a member of a share group has records. What it
// was told is accepted or rejected is never delivered again; everything else is, once; what it did not hear of, perhaps.
func TestShareGroupSurvivesKills(t *testing.T) {
	harness.OwnBroker(t)
	const partitions, records = 3, 600
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	b := harness.StartT(t, harness.Options{Set: []string{"share.coordinator.state.topic.num.partitions=3", "offsets.topic.num.partitions=3",
		"share.coordinator.snapshot.update.records.per.snapshot=5", "share.coordinator.state.topic.prune.interval.ms=100"}})
	topic := topicName(t, "share-kill")
	createTopic(t, b, topic, partitions)
	s := &script{t: t, b: b, norm: newNormaliser(b.Addr)}
	s.dial()
	s.shareSetting("kills", "share.auto.offset.reset", "earliest")
	tid := s.quietly(12, metadataFor(topic)).(*kmsg.MetadataResponse).Topics[0].TopicID
	for i := range records / 10 {
		values := make([]string, 10)
		for j := range values {
			values[j] = fmt.Sprint(i, j)
		}
		s.fill(topic, int32(i%partitions), harness.NewBatch(values...))
	}
	done, maybe := map[place]bool{}, map[place]bool{}
	delivered := map[place]int16{}
	for round := range 6 {
		m := newShareMember(t, b, "kills", "member", topic, tid) // the same one: a second would be given its part only
		m.join(partitions)
		got := m.fetch(partitions)
		for r, count := range got {
			if done[r] {
				t.Fatalf("round %d: record %v was done with and is delivered again", round, r)
			}
			if count < 1 || count > delivered[r]+1 {
				t.Errorf("round %d: record %v says that this is delivery %d, it was delivered %d times", round, r, count, delivered[r])
			}
			delivered[r]++
			delete(maybe, r)
		}
		if len(got)+len(done)+len(maybe) < records {
			t.Fatalf("round %d: %d records were delivered, %d are done with, %d may be: some of %d are lost", round, len(got), len(done), len(maybe), records)
		}
		for r := range maybe { // it was accepted after all
			done[r] = true
			delete(maybe, r)
		}
		var accept, reject, release, unheard []place
		for r := range got {
			switch n := rng.Intn(10); {
			case n < 3:
				accept = append(accept, r)
			case n < 4:
				reject = append(reject, r)
			case n < 5 && delivered[r] < 3:
				release = append(release, r)
			case n < 6:
				unheard = append(unheard, r)
			}
		}
		for _, list := range [][]place{accept, reject, release, unheard} {
			sortPlaces(list)
		}
		m.acknowledge(1, accept)
		m.acknowledge(3, reject)
		m.acknowledge(2, release)
		for _, r := range append(accept, reject...) {
			done[r] = true
		}
		if len(unheard) > 0 {
			m.send(2, m.acknowledgement(1, unheard))
			for _, r := range unheard {
				maybe[r] = true
			}
		}
		if round == 3 {
			m.w.Close()
			harness.StopT(t, b)
		} else {
			time.Sleep(time.Duration(rng.Intn(3000)) * time.Microsecond)
			b.Kill()
			m.w.Close()
		}
		b = harness.RestartT(t, b)
		t.Logf("round %d: %d delivered, %d done with, %d unheard of", round, len(got), len(done), len(maybe))
	}
	harness.StopT(t, b)
	dump, err := harness.DumpDir(b.DataDir)
	harness.Need(t, err)
	requireNoComplaint(t, dump.Complaints)
}

func sortPlaces(list []place) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && (list[j].partition < list[j-1].partition || list[j].partition == list[j-1].partition && list[j].offset < list[j-1].offset); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}
