package simtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"slipstream/internal/sim"
	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/klauspost/compress/gzip"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// checkTimes: what the requests of a core spent on stages adds up to their totals.
func checkTimes(c *reactor.Core) error {
	for kind, t := range c.Latency {
		if t == nil {
			continue
		}
		var all uint64
		for s := range t.Stages {
			all += t.Stages[s].Nanos
			if t.Stages[s].Count() != t.Total.Count() {
				return fmt.Errorf("core %d: of %d requests of key %d, %d are counted for stage %s",
					c.ID, t.Total.Count(), kind-1, t.Stages[s].Count(), reactor.Stage(s))
			}
		}
		if all != t.Total.Nanos || t.Received.Nanos+t.Stages[reactor.StageReceive].Nanos != all {
			return fmt.Errorf("core %d: the stages of key %d add up to %d ns, the totals to %d", c.ID, kind-1, all, t.Total.Nanos)
		}
	}
	return nil
}

// teller is one client of a broker whose times are looked at.
type teller struct {
	t    *testing.T
	node *node
	conn *conn
}

func newTeller(t *testing.T, cores int, o sim.Options) *teller {
	t.Helper()
	n := &node{world: sim.New(7, o), cores: cores, segment: 1 << 20, sets: []string{"slipstream.writer=inline"}}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
	return &teller{t, n, dial(n.world)}
}

// ask sends a request and runs the world until its answer is there; before is
// called while it is on its way.
func (w *teller) ask(req kmsg.Request, version int16, before ...func()) (resp kmsg.Response) {
	w.t.Helper()
	w.conn.send(req, version, func(r kmsg.Response) { resp = r })
	for _, f := range before {
		f()
	}
	err := w.node.driver.Run(60e9, func() bool {
		if err := w.conn.receive(); err != nil {
			w.t.Fatal(err)
		}
		return resp != nil
	})
	if err != nil {
		w.t.Fatalf("%T: %v", req, err)
	}
	// The core takes the end of the send in.
	if err := w.node.driver.RunFor(100e6); err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// run lets time pass.
func (w *teller) run(nanos int64) {
	w.t.Helper()
	if err := w.node.driver.RunFor(nanos); err != nil {
		w.t.Fatal(err)
	}
}

func (w *teller) createTopic(name string, configs ...string) {
	w.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, 2, 1
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], kmsg.StringPtr(configs[i+1])
		rt.Configs = append(rt.Configs, c)
	}
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 30_000
	if r := w.ask(req, 7).(*kmsg.CreateTopicsResponse); r.Topics[0].ErrorCode != codeNone {
		w.t.Fatalf("create %s: error %d", name, r.Topics[0].ErrorCode)
	}
}

// produce sends one batch of n bytes to both partitions.
func (w *teller) produce(topic string, n int, compressed bool) {
	w.t.Helper()
	var bl protocol.Builder
	bl.Begin(nil, protocol.NewBatchInfo(0, -1))
	bl.Append(&protocol.Record{Timestamp: w.node.world.Kernel().Wall() / 1e6, Value: bytes.Repeat([]byte{'x'}, n)})
	_, batch := bl.Finish()
	if compressed {
		batch = zipped(batch)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	for partition := range int32(2) {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = partition, batch
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	for _, p := range w.ask(req, 9).(*kmsg.ProduceResponse).Topics[0].Partitions {
		if p.ErrorCode != codeNone {
			w.t.Fatalf("produce to %s: error %d", topic, p.ErrorCode)
		}
	}
}

func (w *teller) fetch(topic string, offset int64, waitMillis int32, before ...func()) (bytes int) {
	w.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = waitMillis, 1, 50<<20, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	for partition := range int32(2) {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	for _, p := range w.ask(req, 12, before...).(*kmsg.FetchResponse).Topics[0].Partitions {
		bytes += len(p.RecordBatches)
	}
	return bytes
}

// spent is what the requests of an API key have spent so far, on all cores.
func (w *teller) spent(key int) (all reactor.RequestTimes) {
	w.t.Helper()
	for _, c := range w.node.running {
		if err := checkTimes(c); err != nil {
			w.t.Error(err)
		}
		if t := c.Latency[key+1]; t != nil {
			for s := range t.Stages {
				all.Stages[s].Add(&t.Stages[s])
			}
			all.Total.Add(&t.Total)
		}
	}
	return all
}

// TestTimesTellTheStory: what a request waits for in the broker shows in the stage
// that owns it.
func TestTimesTellTheStory(t *testing.T) {
	const ms = 1e6
	for _, cores := range []int{1, 2} {
		t.Run(fmt.Sprint(cores, " cores"), func(t *testing.T) {
			w := newTeller(t, cores, sim.Options{MaxDelayNanos: 4 * ms, SocketBufferBytes: 16 << 10, Evictions: sim.EvictionsNever})
			w.createTopic("lazy")
			w.createTopic("durable", "flush.messages", "1")
			metadata := w.spent(19)
			if metadata.Stages[reactor.StageRemote].Nanos == 0 {
				t.Error("creating topics waited for nothing")
			}

			w.produce("lazy", 1000, false)
			produce := w.spent(0)
			if n := produce.Stages[reactor.StageRemote].Nanos; produce.Total.Count() != 1 || n != 0 {
				t.Errorf("%d produces that wait for no fsync waited %d ns", produce.Total.Count(), n)
			}
			hops := produce.Stages[reactor.StageQueue].Nanos
			if (hops > 0) != (cores > 1) {
				t.Errorf("on %d cores a produce to both partitions queued for %d ns", cores, hops)
			}
			for range 10 {
				w.produce("durable", 1000, false)
			}
			synced := w.spent(0)
			remote, local := synced.Stages[reactor.StageRemote].Nanos, synced.Stages[reactor.StageLocal].Nanos
			if remote < 5*ms || remote < 10*local {
				t.Errorf("10 produces waited %d ns for fsyncs and worked %d ns", remote, local)
			}

			w.produce("lazy", 1000, true)
			helped := w.spent(0)
			if helped.Stages[reactor.StageQueue].Nanos == synced.Stages[reactor.StageQueue].Nanos {
				t.Error("a compressed batch did not wait for a helper")
			}

			if got := w.fetch("lazy", 2, 300); got != 0 {
				t.Fatalf("%d bytes behind the end", got)
			}
			fetch := w.spent(1)
			if n := fetch.Stages[reactor.StageRemote].Nanos; n < 299*ms || n > 301*ms {
				t.Errorf("a long poll of 300 ms waited %d ns", n)
			}

			for range 20 {
				w.produce("lazy", 30_000, false)
			}
			before := w.spent(1)
			got := w.fetch("lazy", 2, 300, func() {
				w.conn.Pause()
				w.run(700 * ms)
				w.conn.Resume()
			})
			after := w.spent(1)
			if n := after.Stages[reactor.StageResponseSend].Nanos - before.Stages[reactor.StageResponseSend].Nanos; got < 1_000_000 || n < 600*ms {
				t.Errorf("%d bytes to a client that did not read for 700 ms took %d ns to send", got, n)
			}
			if n := after.Stages[reactor.StageRemote].Nanos - before.Stages[reactor.StageRemote].Nanos; n != 0 {
				t.Errorf("a fetch of what is there waited %d ns for something to come", n)
			}
		})
	}
}

// zipped is a batch with its records compressed by gzip.
func zipped(b protocol.Batch) protocol.Batch {
	const headerBytes, attributesAt, lengthAt, crcAt = 61, 21, 8, 17
	var out bytes.Buffer
	out.Write(b[:headerBytes])
	z := gzip.NewWriter(&out)
	z.Write(b[headerBytes:])
	z.Close()
	c := out.Bytes()
	c[attributesAt+1] |= 1
	binary.BigEndian.PutUint32(c[lengthAt:], uint32(len(c)-12))
	binary.BigEndian.PutUint32(c[crcAt:], crc32.Checksum(c[attributesAt:], crc32.MakeTable(crc32.Castagnoli)))
	return protocol.Batch(c)
}
