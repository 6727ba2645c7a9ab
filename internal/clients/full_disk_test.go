package clients

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFullDiskEverywhere fills the disk to its last block under everything that a broker writes: page-cache and
// synced-per-batch topics, rolls, a consumer group's offsets, transactions, new topics, changes of settings, checkpoints. Whatever is
// refused is refused with an error that clients try again, what was acknowledged is read all the while, and with room again the same
// broker does everything again.
func TestFullDiskEverywhere(t *testing.T) {
	harness.SlipstreamOnly(t) // Apache halts when its only log directory fails
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) { fullDiskEverywhere(t, fs) })
	}
}

// fullDiskStory is a broker on a disk that is filled up and emptied again.
type fullDiskStory struct {
	t       *testing.T
	b       *harness.Broker
	mnt     string
	sent    int
	acked   map[string]map[int64]string // by topic: values by offset
	refused map[string]int              // by what, how often
}

// retriable are errors that clients try again after, or begin their transaction anew.
var retriable = map[int16]bool{
	7: true /* REQUEST_TIMED_OUT */, 14: true /* COORDINATOR_LOAD_IN_PROGRESS */, 15: true /* COORDINATOR_NOT_AVAILABLE */, 16: true, /* NOT_COORDINATOR */
	51: true /* CONCURRENT_TRANSACTIONS */, 56: true, /* KAFKA_STORAGE_ERROR */
}

// ask asks on a connection of its own. One that is not answered within a second waits for room, which is an answer as well.
func (s *fullDiskStory) ask(version int16, req kmsg.Request) kmsg.Response {
	s.t.Helper()
	w, err := harness.Dial(s.b.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer w.Close()
	req.SetVersion(version)
	resp, err := w.Do(req, time.Second)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		s.t.Fatalf("key %d: %v", req.Key(), err)
	}
	return resp
}

// took counts an answer of what was asked; anything but success or an error that clients try again after is a failure.
func (s *fullDiskStory) took(what string, code int16) bool {
	s.t.Helper()
	if code == 0 {
		return true
	}
	if !retriable[code] {
		s.t.Fatalf("%s: error %d", what, code)
	}
	s.refused[what]++
	return false
}

func (s *fullDiskStory) produce(topic string, bytes int) bool {
	s.t.Helper()
	s.sent++
	value := fmt.Sprintf("%s %d %s", topic, s.sent, strings.Repeat("x", bytes))
	resp := s.ask(9, harness.Produce(9, topic, [16]byte{}, 0, -1, harness.NewBatch(value).Bytes()))
	if resp == nil {
		s.refused[topic+" waits"]++
		return false
	}
	p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if !s.took(topic, p.ErrorCode) {
		return false
	}
	if s.acked[topic] == nil {
		s.acked[topic] = map[int64]string{}
	}
	s.acked[topic][p.BaseOffset] = value
	return true
}

// find finds the coordinator of a group (0) or a transactional id (1).
func (s *fullDiskStory) find(key string, kind int8) bool {
	s.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorType = key, kind
	resp := s.ask(2, find)
	return resp != nil && s.took("FindCoordinator", resp.(*kmsg.FindCoordinatorResponse).ErrorCode)
}

// commit commits an offset with so many bytes of metadata.
func (s *fullDiskStory) commit(offset int64, bytes int) bool {
	s.t.Helper()
	if !s.find("group", 0) {
		return false
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = "group", -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "lazy"
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	text := strings.Repeat("m", bytes)
	p.Offset, p.Metadata = offset, &text
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp := s.ask(7, req)
	return resp != nil && s.took("a commit of offsets", resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}

// transaction writes one record in a transaction and commits it.
func (s *fullDiskStory) transaction() bool {
	s.t.Helper()
	name := "transactions"
	if !s.find(name, 1) {
		return false
	}
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = &name, 60_000
	resp := s.ask(2, init)
	if resp == nil {
		return false
	}
	begun := resp.(*kmsg.InitProducerIDResponse)
	if !s.took("InitProducerId", begun.ErrorCode) {
		return false
	}
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = name, begun.ProducerID, begun.ProducerEpoch
	topic := kmsg.NewAddPartitionsToTxnRequestTopic()
	topic.Topic, topic.Partitions = "transacted", []int32{0}
	add.Topics = append(add.Topics, topic)
	if resp := s.ask(2, add); resp == nil || !s.took("AddPartitionsToTxn", resp.(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode) {
		return false
	}
	batch := harness.NewBatch(fmt.Sprint("transaction ", begun.ProducerEpoch, strings.Repeat("y", 4000)))
	batch.ProducerID, batch.Epoch, batch.Sequence, batch.Attributes = begun.ProducerID, begun.ProducerEpoch, 0, 0x10
	produce := harness.Produce(9, "transacted", [16]byte{}, 0, -1, batch.Bytes())
	produce.TransactionID = &name
	if resp := s.ask(9, produce); resp == nil || !s.took("a transaction's batch", resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode) {
		return false
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = name, begun.ProducerID, begun.ProducerEpoch, true
	resp = s.ask(2, end)
	return resp != nil && s.took("EndTxn", resp.(*kmsg.EndTxnResponse).ErrorCode)
}

// create makes a topic with a great many partitions' worth of settings.
func (s *fullDiskStory) create(topic string) bool {
	s.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = topic, 3, 1
	req.Topics = append(req.Topics, one)
	resp := s.ask(5, req)
	return resp != nil && s.took("CreateTopics", resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
}

// alter changes a setting of a topic, which is a record in the metadata log.
func (s *fullDiskStory) alter(topic string, value int) bool {
	s.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = "retention.ms", kmsg.StringPtr(fmt.Sprint(1_000_000_000+value))
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp := s.ask(0, req)
	return resp != nil && s.took("AlterConfigs", resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode)
}

// fillToTheBrim takes all the room that is left.
func (s *fullDiskStory) fillToTheBrim(round int) {
	s.t.Helper()
	f, err := os.Create(filepath.Join(s.mnt, fmt.Sprint("filler-", round)))
	if err != nil {
		return // not even a name: it is full
	}
	defer f.Close()
	for n := 1 << 20; n >= 512; {
		if _, err := f.Write(make([]byte, n)); errors.Is(err, syscall.ENOSPC) {
			n /= 2
		} else if err != nil {
			s.t.Fatal(err)
		}
	}
}

// readAll requires every acknowledged record at its offset.
func (s *fullDiskStory) readAll() {
	s.t.Helper()
	for topic, want := range s.acked {
		last := int64(-1)
		for offset := range want {
			last = max(last, offset)
		}
		found := 0
		err := harness.EachRecord(s.b.Addr, topic, 0, 0, int(last)+1, func(r *kgo.Record) error {
			if value, ok := want[r.Offset]; ok {
				found++
				if value != string(r.Value) {
					return fmt.Errorf("%s: offset %d differs", topic, r.Offset)
				}
			}
			return nil
		})
		if err != nil || found != len(want) {
			s.t.Fatalf("%s: %d of %d acknowledged records were read: %v", topic, found, len(want), err)
		}
	}
}

// everything asks for all that a broker writes, and says what did not work.
func (s *fullDiskStory) everything(n int) (failed []string) {
	for _, c := range []struct {
		what string
		ok   bool
	}{
		{"lazy", s.produce("lazy", 60_000)}, {"durable", s.produce("durable", 30_000)}, {"commit", s.commit(int64(n), 4000)},
		{"transaction", s.transaction()}, {"create", s.create(fmt.Sprint("made-", n))}, {"alter", s.alter("lazy", n)},
	} {
		if !c.ok {
			failed = append(failed, c.what)
		}
	}
	return failed
}

func fullDiskEverywhere(t *testing.T, fs string) {
	rounds := 1
	if os.Getenv("SLIPSTREAM_LONG") != "" {
		rounds = 5
	}
	mnt := loopMount(t, fs)
	fillUp(t, filepath.Join(mnt, "filler"), 150<<20)
	s := &fullDiskStory{t: t, mnt: mnt, acked: map[string]map[int64]string{}, refused: map[string]int{}}
	s.b = harness.StartT(t, harness.Options{DataDir: filepath.Join(mnt, "data"), Set: []string{
		"log.flush.offset.checkpoint.interval.ms=300", "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1",
		"slipstream.writeback.horizon.ms=200",
	}})
	createTopic(t, s.b, "lazy", 1, "segment.bytes", "1048576")
	createTopic(t, s.b, "durable", 1, "flush.messages", "1", "segment.bytes", "1048576")
	createTopic(t, s.b, "transacted", 1)
	heal := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; n++ {
			failed := s.everything(n)
			if len(failed) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v do not work although there is room", failed)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	heal(0)
	for round := 1; round <= rounds; round++ {
		s.fillToTheBrim(round)
		stuck := 0
		for i := 0; stuck < 2; i++ {
			if i > 100 {
				t.Fatal("a full disk takes more and more")
			}
			if len(s.everything(round*1000+i)) >= 4 {
				stuck++
			}
			s.fillToTheBrim(round*1000 + i) // what was given back
		}
		t.Logf("round %d: refused so far: %v", round, s.refused)
		time.Sleep(700 * time.Millisecond) // checkpoints
		s.readAll()
		for _, filler := range mustGlob(t, filepath.Join(mnt, "filler-*")) {
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		}
		heal(round*1000 + 500)
		for _, made := range mustGlob(t, filepath.Join(mnt, "data", "made-*-0")) {
			topic := strings.TrimSuffix(filepath.Base(made), "-0")
			for deadline := time.Now().Add(10 * time.Second); !s.produce(topic, 10); time.Sleep(100 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s, which was made on the full disk, does not take a record", topic)
				}
			}
		}
		s.readAll()
	}
	harness.StopT(t, s.b)
	s.b = harness.RestartT(t, s.b)
	s.readAll()
	harness.StopT(t, s.b)
	dump, err := harness.DumpDir(s.b.DataDir)
	harness.Need(t, err)
	requireNoComplaint(t, dump.Complaints)
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}
