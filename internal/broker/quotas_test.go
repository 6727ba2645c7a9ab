package broker

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/internal/quota"
	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// setQuota sets, or with a value of 0 removes, quotas of "user=a client-id=b"; a part without name is the default.
func (w *wire) setQuota(entity, key string, value float64) {
	w.t.Helper()
	req := kmsg.NewPtrAlterClientQuotasRequest()
	e := kmsg.NewAlterClientQuotasRequestEntry()
	for _, part := range strings.Fields(entity) {
		p := kmsg.NewAlterClientQuotasRequestEntryEntity()
		kind, name, named := strings.Cut(part, "=")
		if p.Type = kind; named {
			p.Name = &name
		}
		e.Entity = append(e.Entity, p)
	}
	op := kmsg.NewAlterClientQuotasRequestEntryOp()
	op.Key, op.Value, op.Remove = key, value, value == 0
	e.Ops = append(e.Ops, op)
	req.Entries = append(req.Entries, e)
	if got := w.ask(1, req).(*kmsg.AlterClientQuotasResponse).Entries[0]; got.ErrorCode != 0 {
		w.t.Fatalf("set %s of %s: error %d", key, entity, got.ErrorCode)
	}
}

// askAs asks in the name of a client.
func (w *wire) askAs(clientID string, version int16, req kmsg.Request) kmsg.Response {
	w.t.Helper()
	req.SetVersion(version)
	w.corr++
	if _, err := w.conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, w.corr)); err != nil {
		w.t.Fatal(err)
	}
	return w.receive(req)
}

// valueBatch is a batch with one record of n bytes.
func valueBatch(n int) protocol.Batch {
	var bl protocol.Builder
	bl.Begin(nil, protocol.NewBatchInfo(0, -1))
	bl.Append(&protocol.Record{Value: make([]byte, n)})
	_, b := bl.Finish()
	return b
}

// loadOf keeps connections of one client busy until the deadline and counts what they move between from and to.
func loadOf(t *testing.T, addr, clientID string, connections int, frame []byte, bytes func(response int) int, from, until time.Time) *atomic.Int64 {
	var wait sync.WaitGroup
	moved := new(atomic.Int64)
	for range connections {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			defer c.Close()
			buf := make([]byte, 2<<20)
			for time.Now().Before(until) {
				c.SetDeadline(until.Add(500 * time.Millisecond))
				if _, err := c.Write(frame); err != nil {
					return
				}
				n, err := readFrame(c, buf)
				if err != nil {
					return
				}
				if now := time.Now(); now.After(from) && now.Before(until) {
					moved.Add(int64(bytes(n)))
				}
			}
		})
	}
	wait.Wait()
	return moved
}

// TestQuotasHold has one client, and a hundred connections of one client, produce and fetch as fast as they can over
// both cores: their rates are what the quota says. One without quota is not slowed down.
func TestQuotasHold(t *testing.T) {
	const bound, within = 2e6, 0.12 // a burst of a quarter of a second is a sixteenth of what is measured
	b := startTestBroker(t, "", setCores(2), "quota.window.num=3")
	w := b.dial()
	w.createTopic("t", 2)
	w.ask(9, produceRequest("t", 1, valueBatch(10_000)))
	from := time.Now().Add(3500 * time.Millisecond) // what is allowed at once has been used by then, and the windows are full
	until := from.Add(4 * time.Second)
	produce := func(id string) []byte {
		req := produceRequest("t", 0, valueBatch(10_000))
		req.SetVersion(9)
		return kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, req, 1)
	}
	fetch := func(id string) []byte {
		req := fetchRequest("t", 1, 0, 0)
		req.SetVersion(12)
		return kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, req, 1)
	}
	response := func(n int) int {
		if n < 1000 {
			return 0 // throttled
		}
		return n
	}
	var wait sync.WaitGroup
	for _, c := range []struct {
		id          string
		key         string
		frame       []byte
		connections int
	}{
		{"producer", "producer_byte_rate", produce("producer"), 1},
		{"producers", "producer_byte_rate", produce("producers"), 100},
		{"consumer", "consumer_byte_rate", fetch("consumer"), 1},
		{"consumers", "consumer_byte_rate", fetch("consumers"), 100},
	} {
		w.setQuota("client-id="+c.id, c.key, bound)
		count := response
		if c.key == "producer_byte_rate" {
			count = func(int) int { return len(c.frame) }
		}
		wait.Go(func() {
			moved := loadOf(t, b.addr, c.id, c.connections, c.frame, count, from, until)
			rate := float64(moved.Load()) / until.Sub(from).Seconds()
			t.Logf("%s, %d connections: %.3f of the quota", c.id, c.connections, rate/bound)
			if rate < bound*0.6 || // the machine may be too busy for more
				rate > bound*(1+within) {
				t.Errorf("%s: %.0f bytes a second, the quota is %.0f", c.id, rate, bound)
			}
		})
	}
	free := b.dial()
	for time.Now().Before(until) {
		if resp := free.ask(9, produceRequest("t", 0, valueBatch(10_000))).(*kmsg.ProduceResponse); resp.ThrottleMillis != 0 {
			t.Errorf("a client without quota is throttled for %d ms", resp.ThrottleMillis)
		}
		time.Sleep(50 * time.Millisecond)
	}
	wait.Wait()
}

// TestMeasuringDoesNotAllocate: a client with a quota costs a lookup and a few sums. (Without quotas,
// TestRequestsDoNotAllocate goes by the nil that stands for them.)
func TestMeasuringDoesNotAllocate(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 2)
	for _, key := range []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage"} {
		w.setQuota("client-id", key, 1e12)
	}
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"produce", encode(9, produceRequest("t", 0, testBatch(4, "x")))},
		{"produce to another core", encode(9, produceRequest("t", 1, testBatch(4, "x")))},
		{"fetch", encode(12, fetchRequest("t", 0, 0, 100))},
	} {
		if got := allocationsPerRequest(t, b.addr, c.frame); got > 0.05 {
			t.Errorf("%s allocates %.2f times", c.name, got)
		}
	}
}

// TestThrottledIsMuted: the delay that a client is told is the delay after which its next request is answered; a fetch
// that is throttled brings nothing, and what it would have brought comes later. Raised quotas hold at once.
func TestThrottledIsMuted(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "quota.window.num=2")
	w := b.dial()
	w.createTopic("t", 1)
	w.setQuota("user client-id=c", "producer_byte_rate", 50_000)
	w.setQuota("client-id=c", "consumer_byte_rate", 200_000)
	c := b.dial()
	told, heard := int32(0), time.Now() // the delay begins after the request that is told of it was sent
	for range 12 {
		begun := time.Now()
		resp := c.askAs("c", 9, produceRequest("t", 0, valueBatch(10_000))).(*kmsg.ProduceResponse)
		if took := time.Since(heard); took < time.Duration(told)*time.Millisecond {
			t.Errorf("told to wait %d ms, and answered %v after that was asked", told, took)
		}
		told, heard = resp.ThrottleMillis, begun
	}
	if told == 0 {
		t.Error("120 kB at once are not throttled by 50 kB/s")
	}
	w.setQuota("user client-id=c", "producer_byte_rate", 1e9)
	if resp := b.dial().askAs("c", 9, produceRequest("t", 0, valueBatch(10_000))).(*kmsg.ProduceResponse); resp.ThrottleMillis != 0 {
		t.Errorf("throttled for %d ms after the quota was raised", resp.ThrottleMillis)
	}
	f := b.dial()
	empty, full := 0, 0
	for begun := time.Now(); full < 3 || empty == 0; {
		resp := f.askAs("c", 12, fetchRequest("t", 0, 0, 0)).(*kmsg.FetchResponse)
		switch {
		case resp.ThrottleMillis == 0 && len(resp.Topics) == 1 && len(resp.Topics[0].Partitions[0].RecordBatches) > 0:
			full++
		case resp.ThrottleMillis > 0 && len(resp.Topics) == 0 && resp.SessionID == 0:
			empty++
		default:
			t.Fatalf("%d topics and a delay of %d ms", len(resp.Topics), resp.ThrottleMillis)
		}
		if time.Since(begun) > 15*time.Second {
			t.Fatalf("%d fetches with records, %d without", full, empty)
		}
	}
	w.setQuota("user client-id=c", "producer_byte_rate", 0)
	w.setQuota("client-id=c", "consumer_byte_rate", 0)
	onEachShard(b, func(s *Shard) {
		if s.quotas != nil {
			t.Errorf("core %d still measures", s.core.ID)
		}
	})
}

// TestThrottledSession: an incremental fetch that was throttled loses nothing of its session.
func TestThrottledSession(t *testing.T) {
	b := startTestBroker(t, "", "quota.window.num=2")
	w := b.dial()
	w.createTopic("t", 1)
	w.ask(9, produceRequest("t", 0, valueBatch(30_000)))
	c := b.dial()
	first := fetchRequest("t", 0, 0, 0)
	first.SessionEpoch = 0
	resp := c.askAs("c", 12, first).(*kmsg.FetchResponse)
	if resp.SessionID == 0 {
		t.Fatal("no session")
	}
	w.setQuota("client-id=c", "consumer_byte_rate", 40_000)
	next := kmsg.NewPtrFetchRequest()
	next.MaxBytes, next.SessionID, next.SessionEpoch = 1<<20, resp.SessionID, 1
	seen := map[bool]int{}
	for seen[true] < 2 || seen[false] < 2 {
		resp := c.askAs("c", 12, next).(*kmsg.FetchResponse)
		if resp.ErrorCode != 0 || resp.SessionID != next.SessionID {
			t.Fatalf("error %d, session %d", resp.ErrorCode, resp.SessionID)
		}
		if (resp.ThrottleMillis > 0) == (len(resp.Topics) > 0) {
			t.Fatalf("a delay of %d ms with %d topics", resp.ThrottleMillis, len(resp.Topics))
		}
		seen[resp.ThrottleMillis > 0]++
		next.SessionEpoch++
	}
}

// TestRequestQuota: a client that keeps a core busy is held to its share of it.
func TestRequestQuota(t *testing.T) {
	b := startTestBroker(t, "", "quota.window.num=2")
	w := b.dial()
	w.createTopic("t", 200)
	w.setQuota("user=ANONYMOUS client-id=busy", "request_percentage", 2)
	c := b.dial()
	begun, asked, throttled := time.Now(), 0, 0
	for time.Since(begun) < 4*time.Second {
		resp := c.askAs("busy", 12, kmsg.NewPtrMetadataRequest()).(*kmsg.MetadataResponse)
		asked++
		if resp.ThrottleMillis > 1000 {
			t.Fatalf("throttled for %d ms, a window is the most", resp.ThrottleMillis)
		}
		if resp.ThrottleMillis > 0 {
			throttled++
		}
	}
	used := 0.0
	onEachShard(b, func(s *Shard) {
		for _, a := range s.quotas.list {
			if a.key.kind == quota.RequestTime {
				used = a.Rate(s.quotas.shape, s.quotas.millis())
			}
		}
	})
	t.Logf("%d requests, %d throttled, %.2f%% of a core", asked, throttled, used)
	if throttled == 0 || used > 4 {
		t.Errorf("%d of %d requests were throttled, and %.2f%% of a core used: the quota is 2%%", throttled, asked, used)
	}
	if resp := b.dial().ask(12, kmsg.NewPtrMetadataRequest()).(*kmsg.MetadataResponse); resp.ThrottleMillis != 0 {
		t.Error("another client is throttled")
	}
}

// TestMutationQuota: partitions created and deleted take tokens.
func TestMutationQuota(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "controller.quota.window.num=2")
	w := b.dial()
	w.setQuota("client-id=admin", "controller_mutation_rate", 5)
	create := func(version int16, names ...string) (codes []int16, throttle int32) {
		req := kmsg.NewPtrCreateTopicsRequest()
		for _, name := range names {
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 11, 1
			req.Topics = append(req.Topics, topic)
		}
		resp := b.dial().askAs("admin", version, req).(*kmsg.CreateTopicsResponse)
		for _, topic := range resp.Topics {
			codes = append(codes, topic.ErrorCode)
		}
		return codes, resp.ThrottleMillis
	}
	const exceeded = int16(protocol.THROTTLING_QUOTA_EXCEEDED)
	if codes, throttle := create(6, "a", "b"); codes[0] != 0 || codes[1] != exceeded || throttle < 100 || throttle > 300 {
		t.Errorf("22 partitions with 10 tokens at 5 a second: %v, %d ms", codes, throttle)
	}
	if codes, throttle := create(5, "c"); codes[0] != 0 || throttle < 2000 {
		t.Errorf("11 partitions without tokens, for a client that does not know the error: %v, %d ms", codes, throttle)
	}
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{"a"}
	if resp := b.dial().askAs("admin", 5, del).(*kmsg.DeleteTopicsResponse); resp.Topics[0].ErrorCode != exceeded {
		t.Errorf("a deletion without tokens: error %d", resp.Topics[0].ErrorCode)
	}
	more := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = "a", 12
	more.Topics = append(more.Topics, topic)
	if resp := b.dial().askAs("admin", 3, more).(*kmsg.CreatePartitionsResponse); resp.Topics[0].ErrorCode != exceeded || resp.ThrottleMillis == 0 {
		t.Errorf("a partition without tokens: error %d, %d ms", resp.Topics[0].ErrorCode, resp.ThrottleMillis)
	}
	if resp := b.dial().askAs("other", 3, more).(*kmsg.CreatePartitionsResponse); resp.Topics[0].ErrorCode != 0 {
		t.Errorf("another client: error %d", resp.Topics[0].ErrorCode)
	}
}

// TestManyClientIDs: a client that changes its id all the time makes no more accounts than there may be.
func TestManyClientIDs(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 1)
	w.setQuota("client-id", "producer_byte_rate", 1e6)
	c := b.dial()
	batch := valueBatch(10)
	const ids = 10_000
	go func() {
		f := kmsg.NewPtrProduceRequest()
		*f = *produceRequest("t", 0, batch)
		f.SetVersion(9)
		for i := range ids {
			frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(fmt.Sprintf("id-%d", i))).AppendRequest(nil, f, int32(i))
			if _, err := c.conn.Write(frame); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	buf := make([]byte, 1<<16)
	for range ids {
		if _, err := readFrame(c.conn, buf); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	onEachShard(b, func(s *Shard) {
		q := s.quotas
		if n := len(q.accounts); n > ids+4 || n != len(q.list) {
			t.Errorf("core %d: %d accounts, %d listed", s.core.ID, n, len(q.list))
		}
		for _, a := range q.list {
			a.lastMillis -= accountIdleMillis
		}
		for n := len(q.list); n > 0; n -= 256 {
			q.forgetIdle(q.millis() + 10)
		}
		if n := len(q.accounts); n > 0 || q.recent.oldest != nil || q.recent.newest != nil {
			t.Errorf("core %d: %d accounts are left when all are idle", s.core.ID, n)
		}
	})
	w.ask(9, produceRequest("t", 0, batch))
}

type shardFunc func()

func (f shardFunc) Deliver(*reactor.Core) { f() }

// onEachShard runs f on each core.
func onEachShard(b *testBroker, f func(s *Shard)) {
	b.t.Helper()
	for _, s := range b.broker.shards {
		done := make(chan struct{})
		if !s.core.Inject(shardFunc(func() { f(s); close(done) })) {
			b.t.Fatal("a core takes no message")
		}
		<-done
	}
}

// TestQuotasSurvive: quotas are in the metadata log, and in force from the first request of the next start on.
func TestQuotasSurvive(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 1)
	w.setQuota("client-id=c", "producer_byte_rate", 10_000)
	w.setQuota("client-id=gone", "producer_byte_rate", 10_000)
	w.setQuota("client-id=gone", "producer_byte_rate", 0)
	w.setQuota("ip=127.0.0.7", quota.ConnectionRate.String(), 3)
	must(t, b.stop())
	b = startTestBroker(t, b.dir, setCores(2))
	w = b.dial()
	if resp := w.askAs("c", 9, produceRequest("t", 0, valueBatch(100_000))).(*kmsg.ProduceResponse); resp.ThrottleMillis < 5000 {
		t.Errorf("100 kB under 10 kB/s are throttled for %d ms after a restart", resp.ThrottleMillis)
	}
	if resp := b.dial().askAs("gone", 9, produceRequest("t", 0, valueBatch(100_000))).(*kmsg.ProduceResponse); resp.ThrottleMillis != 0 {
		t.Errorf("a quota that was removed throttles for %d ms after a restart", resp.ThrottleMillis)
	}
	onEachShard(b, func(s *Shard) {
		if !s.door.limited || s.core.ID == doorCore && s.doorkeeper.rates.of[netip.MustParseAddr("127.0.0.7")] != 3 {
			t.Errorf("core %d: the rate of an address is not in force after a restart", s.core.ID)
		}
	})
}

// TestSilentProducer: a producer that wants no answer is throttled all the same: it is not heard.
func TestSilentProducer(t *testing.T) {
	b := startTestBroker(t, "", "slipstream.quota.burst.ms=0")
	w := b.dial()
	w.createTopic("t", 1)
	w.setQuota("client-id=c", "producer_byte_rate", 100_000)
	c := b.dial()
	silent := produceRequest("t", 0, valueBatch(40_000))
	silent.Acks = 0
	silent.SetVersion(9)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("c")).AppendRequest(nil, silent, 1)
	begun := time.Now()
	must(t, writeAll(c.conn, frame))
	time.Sleep(50 * time.Millisecond) // what comes with it would be taken with it
	resp := c.askAs("c", 9, produceRequest("t", 0, valueBatch(10))).(*kmsg.ProduceResponse)
	if took := time.Since(begun); took < 350*time.Millisecond || resp.ThrottleMillis > 100 {
		t.Errorf("40 kB at 100 kB/s took %v, and %d ms more", took, resp.ThrottleMillis)
	}
}
