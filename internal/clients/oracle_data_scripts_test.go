package clients

import (
	"fmt"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func listOffsets(topic string, epoch int32, timestamp int64, partitions ...int32) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for _, n := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.Timestamp = n, epoch, timestamp
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// timed is batches of three records at known times, one of them out of order.
func timed() []harness.Batch {
	var out []harness.Batch
	for _, at := range []int64{1_700_000_000_000, 1_700_000_010_000, 1_700_000_005_000, 1_700_000_020_000} {
		b := harness.NewBatch("a", "b", "c")
		b.Timestamp = at
		out = append(out, b)
	}
	return out
}

func scriptListOffsets(s *script) {
	s.topic("list", 2, "retention.ms", "-1")
	s.fill("list", 0, timed()...)
	for v := int16(1); v <= 11; v++ {
		for _, ts := range []int64{-1, -2, -3, -4, -5, -6, 0, 1_700_000_000_000, 1_700_000_000_001, 1_700_000_005_000, 1_700_000_010_002, 1_700_000_020_002, 1_700_000_020_003} {
			s.ask(fmt.Sprintf("timestamp %d", ts), v, listOffsets("list", -1, ts, 0))
		}
	}
	for _, ts := range []int64{-1, -2, -3, 5} {
		s.ask(fmt.Sprintf("empty, timestamp %d", ts), 8, listOffsets("list", -1, ts, 1))
	}
	s.ask("a timestamp that means nothing", 8, listOffsets("list", -1, -17, 0))
	s.ask("the right leader epoch", 8, listOffsets("list", 0, -1, 0))
	s.ask("a leader epoch to come", 8, listOffsets("list", 5, -1, 0))
	s.ask("unknown partition", 8, listOffsets("list", -1, -1, 9))
	s.ask("negative partition", 8, listOffsets("list", -1, -1, -1))
	s.ask("unknown topic", 8, listOffsets("list-unknown", -1, -1, 0))
	s.ask("one partition twice", 8, listOffsets("list", -1, -1, 0, 0))
	committed := listOffsets("list", -1, -1, 0)
	committed.IsolationLevel = 1
	s.ask("read committed", 8, committed)
}

func scriptOffsetForLeaderEpoch(s *script) {
	s.topic("epochs", 1)
	s.fill("epochs", 0, timed()...)
	ask := func(topic string, partition, current, epoch int32) *kmsg.OffsetForLeaderEpochRequest {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = topic
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, epoch
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return req
	}
	for v := int16(2); v <= 4; v++ {
		for _, epoch := range []int32{0, 1, -1} {
			s.ask(fmt.Sprintf("epoch %d", epoch), v, ask("epochs", 0, -1, epoch))
		}
	}
	s.ask("a leader epoch to come", 4, ask("epochs", 0, 3, 0))
	s.ask("the current leader epoch", 4, ask("epochs", 0, 0, 0))
	s.ask("unknown partition", 4, ask("epochs", 7, -1, 0))
	s.ask("unknown topic", 4, ask("epochs-unknown", 0, -1, 0))
}

func scriptInitProducerID(s *script) {
	s.producer()
	ask := func() *kmsg.InitProducerIDRequest {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionTimeoutMillis = 60_000
		return req
	}
	s.versions("a new producer", 0, 5, func(int16) kmsg.Request { return ask() })
	empty := ""
	req := ask()
	req.TransactionalID = &empty
	s.ask("an empty transactional id", 4, req)
	req = ask()
	req.ProducerID, req.ProducerEpoch = 123456, 3
	s.ask("a known producer without a transactional id", 4, req)
	req = ask()
	req.TransactionTimeoutMillis = -1
	s.ask("a negative timeout", 4, req)
	req = ask()
	req.TransactionTimeoutMillis = 1 << 30
	s.ask("a timeout of days", 4, req)
}

func scriptProduce(s *script) {
	id := s.topic("prod", 2, "retention.ms", "-1")
	sound := harness.NewBatch("one", "two").Bytes()
	s.versions("a batch", 3, 13, func(v int16) kmsg.Request { return harness.Produce(v, "prod", id, 0, -1, sound) })
	for _, acks := range []int16{1, 2, -2, 7} {
		s.ask(fmt.Sprintf("acks %d", acks), 9, harness.Produce(9, "prod", id, 0, acks, sound))
	}
	s.ask("unknown partition", 9, harness.Produce(9, "prod", id, 7, -1, sound))
	s.ask("negative partition", 9, harness.Produce(9, "prod", id, -1, -1, sound))
	s.ask("unknown topic", 9, harness.Produce(9, "prod-unknown", id, 0, -1, sound))
	s.ask("unknown topic id", 13, harness.Produce(13, "", [16]byte{7}, 0, -1, sound))
	s.ask("no topic id", 13, harness.Produce(13, "", [16]byte{}, 0, -1, sound))
	s.ask("a bad topic name", 9, harness.Produce(9, "../x", id, 0, -1, sound))
	s.ask("an empty topic name", 9, harness.Produce(9, "", id, 0, -1, sound))
	s.ask("two batches", 9, harness.Produce(9, "prod", id, 0, -1, append(append([]byte{}, sound...), sound...)))
	txn := harness.Produce(9, "prod", id, 0, -1, sound)
	name := "some-transaction"
	txn.TransactionID = &name
	s.ask("a transactional id, but no transactional batch", 9, txn)
	old := harness.NewBatch("x")
	old.Timestamp = 1
	s.ask("a very old record", 9, harness.Produce(9, "prod", id, 1, -1, old.Bytes()))
	old.Timestamp = 4_000_000_000_000
	s.ask("a record from the future", 9, harness.Produce(9, "prod", id, 1, -1, old.Bytes()))
	old.Timestamp = -1
	s.ask("a record without a time", 9, harness.Produce(9, "prod", id, 1, -1, old.Bytes()))
	several := harness.Produce(9, "prod", id, 0, -1, sound)
	more := kmsg.NewProduceRequestTopicPartition()
	more.Partition, more.Records = 9, sound
	several.Topics[0].Partitions = append(several.Topics[0].Partitions, more)
	s.ask("a sound partition and an unknown one", 9, several)
	s.sequences()
	s.topic("prod-compact", 1, "cleanup.policy", "compact")
	s.ask("a record without a key to a compacted topic", 9, harness.Produce(9, "prod-compact", id, 0, -1, sound))
	s.topic("prod-small", 1, "max.message.bytes", "100")
	s.ask("a batch over max.message.bytes", 9, harness.Produce(9, "prod-small", id, 0, -1, harness.NewBatch(string(make([]byte, 200))).Bytes()))
	s.topic("prod-appendtime", 1, "message.timestamp.type", "CreateTime", "message.timestamp.before.max.ms", "1000")
	s.ask("too old for the topic", 9, harness.Produce(9, "prod-appendtime", id, 0, -1, sound))
	s.topic("prod-isr", 1, "min.insync.replicas", "2")
	s.ask("acks all with too few in-sync replicas", 9, harness.Produce(9, "prod-isr", id, 0, -1, sound))
	s.ask("acks 1 with too few in-sync replicas", 9, harness.Produce(9, "prod-isr", id, 0, 1, sound))
}

// producer draws a producer id, outside the script. Apache's first answer is that it is still fetching a block of them.
func (s *script) producer() int64 {
	s.t.Helper()
	for range 100 {
		resp, err := s.w.Do(kmsg.NewPtrInitProducerIDRequest(), 10*time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		if r := resp.(*kmsg.InitProducerIDResponse); r.ErrorCode == 0 {
			return r.ProducerID
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatal("no producer id in two seconds")
	return -1
}

// sequences is what an idempotent producer can do right and wrong on one partition.
func (s *script) sequences() {
	id := s.topic("prod-seq", 1, "retention.ms", "-1")
	producer := s.producer()
	send := func(name string, epoch int16, sequence int32, values ...string) {
		b := harness.NewBatch(values...)
		b.ProducerID, b.Epoch, b.Sequence = producer, epoch, sequence
		s.ask(name, 9, harness.Produce(9, "prod-seq", id, 0, -1, b.Bytes()))
	}
	send("sequence 0", 0, 0, "a", "b")
	send("sequence 0 again", 0, 0, "a", "b")
	send("a gap", 0, 5, "x")
	for i := range int32(6) {
		send(fmt.Sprintf("sequence %d", 2+i), 0, 2+i, "v")
	}
	send("a duplicate within the last five", 0, 4, "v")
	send("an older duplicate", 0, 0, "a", "b")
	send("the same start, another length", 0, 7, "v", "w")
	send("a new epoch not at sequence 0", 1, 8, "x")
	send("a new epoch", 1, 0, "x")
	send("the old epoch", 0, 8, "x")
	send("a negative sequence", 1, -1, "x")
	producer = 999_999
	send("an unknown producer not at sequence 0", 0, 10, "x")
	send("an unknown producer at sequence 0", 0, 0, "x")
	two := harness.NewBatch("p")
	two.ProducerID, two.Epoch, two.Sequence = 999_998, 0, 0
	next := harness.NewBatch("q")
	next.ProducerID, next.Epoch, next.Sequence = 999_998, 0, 1
	s.ask("two idempotent batches at once", 9, harness.Produce(9, "prod-seq", id, 0, -1, append(two.Bytes(), next.Bytes()...)))
	wrap := harness.NewBatch("p", "q", "r")
	wrap.ProducerID, wrap.Epoch, wrap.Sequence = 999_997, 0, 2147483646
	s.ask("a sequence that wraps, from a producer not known", 9, harness.Produce(9, "prod-seq", id, 0, -1, wrap.Bytes()))
}

func fetchRequest(version int16, topic string, id [16]byte, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(version)
	req.ReplicaID = -1
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 0, 1<<20
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func scriptFetch(s *script) {
	id := s.topic("fetch", 2, "retention.ms", "-1")
	s.fill("fetch", 0, timed()...)
	ask := func(name string, partition int32, offset int64, change ...func(*kmsg.FetchRequest)) {
		req := fetchRequest(12, "fetch", id, partition, offset)
		for _, f := range change {
			f(req)
		}
		s.ask(name, 12, req)
	}
	s.versions("from the start", 4, 18, func(v int16) kmsg.Request { return fetchRequest(v, "fetch", id, 0, 0) })
	for _, offset := range []int64{1, 2, 3, 11, 12, 13, -1, -2, 1 << 40} {
		ask(fmt.Sprintf("offset %d", offset), 0, offset)
	}
	ask("empty partition", 1, 0)
	ask("empty partition, offset 1", 1, 1)
	ask("unknown partition", 9, 0)
	ask("negative partition", -1, 0)
	s.ask("unknown topic", 12, fetchRequest(12, "fetch-unknown", id, 0, 0))
	s.ask("unknown topic id", 13, fetchRequest(13, "", [16]byte{5}, 0, 0))
	s.ask("no topic id", 16, fetchRequest(16, "", [16]byte{}, 0, 0))
	ask("a leader epoch to come", 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 4 })
	ask("the leader's epoch", 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 0 })
	ask("one byte of the partition", 0, 3, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 1 })
	ask("no byte of the partition", 0, 3, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 0 })
	ask("one byte at all", 0, 3, func(r *kmsg.FetchRequest) { r.MaxBytes = 1 })
	ask("two batches' bytes", 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 200 })
	ask("read committed", 0, 6, func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 })
	ask("the last fetched epoch", 0, 6, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = 0 })
	ask("a diverging epoch", 0, 6, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = 3 })
	ask("both partitions", 0, 9, func(r *kmsg.FetchRequest) {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes = 1, 1<<20
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
	})
	s.fetchTwice(id)
	s.fetchSessions(id)
}

// fetchTwice names a partition more than once, in one topic and in two, without a session and with one.
func (s *script) fetchTwice(id [16]byte) {
	add := func(r *kmsg.FetchRequest, topic int, partition int32, offset int64, maxBytes int32) {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, maxBytes
		r.Topics[topic].Partitions = append(r.Topics[topic].Partitions, p)
	}
	for _, version := range []int16{4, 12, 15} {
		req := fetchRequest(version, "fetch", id, 0, 0)
		add(req, 0, 0, 9, 1<<20)
		s.ask("one partition twice", version, req)
		req = fetchRequest(version, "fetch", id, 0, 9)
		add(req, 0, 1, 0, 1<<20)
		add(req, 0, 0, 3, 1)
		s.ask("one partition twice, another between", version, req)
		req = fetchRequest(version, "fetch", id, 1, 0)
		req.Topics = append(req.Topics, fetchRequest(version, "fetch", id, 0, 9).Topics[0])
		add(req, 1, 1, 7, 1<<20)
		s.ask("one topic twice, one of its partitions too", version, req)
		req = fetchRequest(version, "fetch", id, 9, 0)
		add(req, 0, 9, 0, 1<<20)
		s.ask("an unknown partition twice", version, req)
		req = fetchRequest(version, "fetch-unknown", [16]byte{5}, 0, 0)
		add(req, 0, 0, 1, 1<<20)
		req.Topics = append(req.Topics, fetchRequest(version, "fetch", id, 0, 12).Topics[0])
		s.ask("a partition of an unknown topic twice", version, req)
	}
	req := fetchRequest(15, "", id, 0, 0)
	req.SessionEpoch = 0
	add(req, 0, 1, 0, 1<<20)
	add(req, 0, 0, 9, 1<<20)
	sid := s.ask("session: one partition twice", 15, req).(*kmsg.FetchResponse).SessionID
	req = fetchRequest(15, "", id, 0, 3)
	req.SessionID, req.SessionEpoch = sid, 1
	add(req, 0, 0, 12, 1<<20)
	s.ask("session: one partition twice in an update", 15, req)
}

// fetchSessions goes through an incremental fetch session (KIP-227) and what can be wrong with one.
func (s *script) fetchSessions(id [16]byte) {
	session := func(sessionID, epoch int32, with bool, offset int64) *kmsg.FetchRequest {
		req := fetchRequest(15, "", id, 0, offset)
		req.SessionID, req.SessionEpoch = sessionID, epoch
		if !with {
			req.Topics = nil
		}
		return req
	}
	resp := s.ask("session: full fetch", 15, session(0, 0, true, 9))
	sid := resp.(*kmsg.FetchResponse).SessionID
	s.ask("session: the same again, nothing named", 15, session(sid, 1, false, 0))
	s.ask("session: moved on", 15, session(sid, 2, true, 12))
	s.ask("session: nothing new", 15, session(sid, 3, false, 0))
	s.fill("fetch", 0, harness.NewBatch("later"))
	s.ask("session: something new", 15, session(sid, 4, false, 0))
	s.ask("session: wrong epoch", 15, session(sid, 9, false, 0))
	s.ask("session: unknown", 15, session(sid+1, 1, false, 0))
	forget := session(sid, 5, false, 0)
	f := kmsg.NewFetchRequestForgottenTopic()
	f.TopicID, f.Topic, f.Partitions = id, "fetch", []int32{0}
	forget.ForgottenTopics = append(forget.ForgottenTopics, f)
	s.ask("session: forgetting", 15, forget)
	s.ask("session: after forgetting", 15, session(sid, 6, false, 0))
	s.ask("session: closed", 15, session(sid, -1, false, 0))
	s.ask("session: after closing", 15, session(sid, 7, false, 0))
}
