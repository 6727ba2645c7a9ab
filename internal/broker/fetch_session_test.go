package broker

import (
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func testCache(slots int) *sessionCache {
	next := byte(0)
	return newSessionCache(slots, func(b []byte) {
		next++
		for i := range b {
			b[i] = 0
		}
		b[0] = next
	})
}

func sessionWith(partitions ...int32) *fetchSession {
	s := newFetchSession(false)
	for _, p := range partitions {
		s.upsert(topicPartition{name: "t", partition: p})
	}
	return s
}

func TestSessionEpochsAndErrors(t *testing.T) {
	c := testCache(10)
	s := sessionWith(0)
	if !c.admit(s, 0) || s.id == noSession || s.epoch != 1 {
		t.Fatalf("admitted as id %d epoch %d", s.id, s.epoch)
	}
	for _, q := range []struct {
		id, epoch int32
		byID      bool
		want      protocol.ErrorCode
	}{
		{s.id, 1, false, protocol.NONE},
		{s.id, 2, false, protocol.INVALID_FETCH_SESSION_EPOCH},
		{s.id + 1, 1, false, protocol.FETCH_SESSION_ID_NOT_FOUND},
		{s.id, 1, true, protocol.FETCH_SESSION_TOPIC_ID_ERROR},
	} {
		if _, got := c.get(q.id, q.epoch, q.byID, 0); got != q.want {
			t.Errorf("get(%d, %d, %v) = %v, want %v", q.id, q.epoch, q.byID, got, q.want)
		}
	}
	for _, q := range [][2]int32{{1, 2}, {1<<31 - 1, 1}, {finalEpoch, finalEpoch}, {0, 1}} {
		if got := nextEpoch(q[0]); got != q[1] {
			t.Errorf("nextEpoch(%d) = %d, want %d", q[0], got, q[1])
		}
	}
}

func TestSessionCacheEvictsOnlyTheIdle(t *testing.T) {
	c := testCache(2)
	a, b, d := sessionWith(0), sessionWith(0), sessionWith(0)
	if !c.admit(a, 0) || !c.admit(b, 0) {
		t.Fatal("two sessions do not fit two slots")
	}
	if c.admit(d, sessionEvictionMillis-1) {
		t.Fatal("a session took the slot of one in use")
	}
	if _, code := c.get(a.id, 1, false, sessionEvictionMillis-1); code != protocol.NONE {
		t.Fatal(code)
	}
	if !c.admit(d, sessionEvictionMillis) {
		t.Fatal("an idle session kept its slot")
	}
	if _, code := c.get(b.id, 1, false, 0); code != protocol.FETCH_SESSION_ID_NOT_FOUND {
		t.Errorf("the session idle the longest is still there: %v", code)
	}
	if _, code := c.get(a.id, 1, false, 0); code != protocol.NONE {
		t.Errorf("the session used last was evicted: %v", code)
	}
	if c.admit(newFetchSession(false), 1<<40) {
		t.Error("a session without partitions took a slot")
	}
}

// The order in which a session serves its partitions rotates past those that
// returned data.
func TestSessionOrder(t *testing.T) {
	s := sessionWith(0, 1, 2, 3)
	order := func() (got []int32) {
		for p := s.head; p != nil; p = p.next {
			got = append(got, p.key.partition)
		}
		return got
	}
	check := func(want ...int32) {
		t.Helper()
		got := order()
		if len(got) != len(want) {
			t.Fatalf("order %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("order %v, want %v", got, want)
			}
		}
	}
	check(0, 1, 2, 3)
	s.moveToEnd(s.head)
	check(1, 2, 3, 0)
	s.forget(topicPartition{name: "t", partition: 2})
	check(1, 3, 0)
	s.forget(topicPartition{name: "t", partition: 0})
	s.upsert(topicPartition{name: "t", partition: 2})
	check(1, 3, 2)
	if s.tail.key.partition != 2 || s.tail.next != nil || s.head.prev != nil {
		t.Error("the list's ends are not its ends")
	}
}

// An incremental response carries a partition only when there is news.
func TestSessionTellsNewsOnly(t *testing.T) {
	p := newFetchSession(false).upsert(topicPartition{name: "t"})
	steps := []struct {
		code          protocol.ErrorCode
		highWatermark int64
		logStart      int64
		bytes         int
		want          bool
		why           string
	}{
		{protocol.NONE, 0, 0, 0, true, "the first answer"},
		{protocol.NONE, 0, 0, 0, false, "nothing changed"},
		{protocol.NONE, 5, 0, 100, true, "records"},
		{protocol.NONE, 5, 0, 0, false, "nothing since"},
		{protocol.NONE, 6, 0, 0, true, "the high watermark moved"},
		{protocol.NONE, 6, 2, 0, true, "the log start moved"},
		{protocol.NOT_LEADER_OR_FOLLOWER, -1, -1, 0, true, "an error"},
		{protocol.NOT_LEADER_OR_FOLLOWER, -1, -1, 0, true, "an error is told each time"},
		{protocol.NONE, 6, 2, 0, true, "good again"},
		{protocol.NONE, 6, 2, 0, false, "and settled"},
	}
	for _, s := range steps {
		if got := p.worthTelling(s.code, s.highWatermark, s.logStart, s.bytes); got != s.want {
			t.Errorf("%s: told %v, want %v", s.why, got, s.want)
		}
	}
}

// An incremental fetch of known partitions allocates nothing.
func TestSessionUpdateDoesNotAllocate(t *testing.T) {
	s := sessionWith(0, 1, 2)
	name := []byte("t")
	if n := testing.AllocsPerRun(100, func() {
		s.upsert(keyOf(protocol.UUID{}, name, 1)).want.fetchOffset++
		s.moveToEnd(s.head)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A sessionless fetch that names partitions again and again, few and many of them,
// answers each once, at its first place, from the offset that was named last.
func TestFetchNamesPartitionsAgain(t *testing.T) {
	b := startTestBroker(t, "")
	w := b.dial()
	w.createTopic("t", 40)
	w.ask(9, produceRequest("t", 3, testBatch(1, "a")))
	w.ask(9, produceRequest("t", 3, testBatch(1, "b")))
	for _, n := range []int32{4, scannedPartitions, scannedPartitions + 1, 40, 5} {
		req := fetchRequest("t", 0, 0, 0)
		partitions := &req.Topics[0].Partitions
		*partitions = (*partitions)[:0]
		for _, offset := range []int64{0, 1} {
			for p := range n {
				q := kmsg.NewFetchRequestTopicPartition()
				q.Partition, q.PartitionMaxBytes = n-1-p, 1000
				if q.Partition == 3 {
					q.FetchOffset = offset
				}
				*partitions = append(*partitions, q)
			}
		}
		got := w.ask(11, req).(*kmsg.FetchResponse).Topics[0].Partitions
		if len(got) != int(n) {
			t.Fatalf("%d partitions named twice: %d answers", n, len(got))
		}
		for i, p := range got {
			if p.Partition != n-1-int32(i) || p.ErrorCode != 0 {
				t.Errorf("of %d, answer %d is partition %d, error %d", n, i, p.Partition, p.ErrorCode)
			}
			if p.Partition == 3 && lastBatch(t, p.RecordBatches).BaseOffset() != 1 {
				t.Errorf("of %d, the first offset named counted", n)
			}
		}
	}
}

// Who asks for a topic that was deleted beside one that is there waits for the latter's
// records: the error comes with the answer, not instead of the wait. A session goes by
// the name of a topic that it knew, as Kafka's do.
func TestFetchOfDeletedTopicWaits(t *testing.T) {
	const waitMillis = 300
	b := startTestBroker(t, "")
	w := b.dial()
	gone, there := w.createTopic("gone", 1), w.createTopic("there", 1)
	var session int32
	steps := []struct {
		name    string
		epoch   int32
		topics  [][16]byte
		before  func()
		code    protocol.ErrorCode // of the topic that is gone
		noPause bool
	}{
		{name: "both are there", topics: [][16]byte{gone, there}},
		{name: "in the session", epoch: 1, code: protocol.UNKNOWN_TOPIC_OR_PARTITION, before: func() { w.deleteTopic("gone") }},
		{name: "in the session again", epoch: 2, code: protocol.UNKNOWN_TOPIC_OR_PARTITION},
		{name: "without session", epoch: -1, topics: [][16]byte{gone, there}, code: protocol.UNKNOWN_TOPIC_ID},
		{name: "nothing but what is gone", epoch: -1, topics: [][16]byte{gone}, code: protocol.UNKNOWN_TOPIC_ID, noPause: true},
		{name: "another has its name", epoch: 3, code: protocol.INCONSISTENT_TOPIC_ID, before: func() { w.createTopic("gone", 1) }, noPause: true},
	}
	for _, s := range steps {
		if s.before != nil {
			s.before()
		}
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = waitMillis, 1, 1000, s.epoch
		if s.epoch > 0 {
			req.SessionID = session
		}
		for _, id := range s.topics {
			topic := kmsg.NewFetchRequestTopic()
			p := kmsg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes = 1000
			topic.TopicID, topic.Partitions = id, append(topic.Partitions, p)
			req.Topics = append(req.Topics, topic)
		}
		began := time.Now()
		resp := w.ask(16, req).(*kmsg.FetchResponse)
		if paused := time.Since(began) > waitMillis*time.Millisecond*9/10; paused == s.noPause {
			t.Errorf("%s: answered after %v", s.name, time.Since(began))
		}
		if s.epoch == 0 {
			session = resp.SessionID
		}
		got := protocol.NONE
		for _, topic := range resp.Topics {
			if topic.TopicID == gone {
				got = protocol.ErrorCode(topic.Partitions[0].ErrorCode)
			}
		}
		if got != s.code {
			t.Errorf("%s: %v, want %v", s.name, got, s.code)
		}
	}
}
