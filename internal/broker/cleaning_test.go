package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// keyed is a batch of n records of value bytes each, with keys in turn from a number on.
func keyed(from, n, keys, value int) []byte {
	var b protocol.Builder
	b.Begin(nil, protocol.NewBatchInfo(0, 0))
	for i := from; i < from+n; i++ {
		v := fmt.Sprintf("%d;%s", i, strings.Repeat("v", value))
		b.Append(&protocol.Record{Timestamp: time.Now().UnixMilli(), Key: fmt.Appendf(nil, "key-%d", i%keys), Value: []byte(v)})
	}
	_, batch := b.Finish()
	return batch
}

// alterTopic sets a topic's setting while the broker runs.
func (w *wire) alterTopic(topic, name, value string) {
	w.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, &value
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	if resp := w.ask(1, req).(*kmsg.IncrementalAlterConfigsResponse); resp.Resources[0].ErrorCode != 0 {
		w.t.Fatalf("%s=%s: error %d", name, value, resp.Resources[0].ErrorCode)
	}
}

// earliest is where a partition begins.
func (w *wire) earliest(topic string, partition int32) int64 {
	w.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, earliestTimestamp
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	a := w.ask(5, req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	if a.ErrorCode != 0 {
		w.t.Fatalf("ListOffsets: error %d", a.ErrorCode)
	}
	return a.Offset
}

// latest fetches a partition from its beginning to its end: offset and number of each key's last value, and how many records
// there are.
func (w *wire) latest(topic string, partition int32) (last map[string]string, records int, start int64) {
	w.t.Helper()
	last, start = map[string]string{}, -1
	next := w.earliest(topic, partition)
	for {
		p := w.ask(11, fetchRequest(topic, partition, next, 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if p.ErrorCode == int16(protocol.OFFSET_OUT_OF_RANGE) { // the log's start has moved meanwhile
			return w.latest(topic, partition)
		}
		if p.ErrorCode != 0 {
			w.t.Fatalf("fetch at %d: error %d", next, p.ErrorCode)
		}
		start = p.LogStartOffset
		if len(p.RecordBatches) == 0 {
			if next != p.HighWatermark {
				w.t.Fatalf("nothing at %d, and the high watermark is %d", next, p.HighWatermark)
			}
			return last, records, start
		}
		var it protocol.Records
		var r protocol.Record
		for b := p.RecordBatches; len(b) > 0; {
			batch, rest, err := protocol.NextBatch(b)
			if err != nil {
				break // a last one that is cut
			}
			for it.Open(batch, nil); it.Next(&r); records++ {
				number, _, _ := strings.Cut(string(r.Value), ";")
				last[string(r.Key)] = number
			}
			next, b = batch.NextOffset(), rest
		}
	}
}

// TestCompaction: topics on both cores become compacted while the broker runs, and are compacted while consumers read; the last value of
// each key stays, over a restart too, and cleaner-offset-checkpoint says how far they are.
func TestCompaction(t *testing.T) {
	sets := []string{setCores(2), "log.cleaner.backoff.ms=20", "slipstream.writeback.horizon.ms=10"}
	b := startTestBroker(t, "", sets...)
	w := b.dial()
	w.createTopic("state", 3, "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.01")
	const keys, batches = 20, 60
	for partition := range int32(3) {
		for i := range batches {
			req := produceRequest("state", partition, keyed(i*50, 50, keys, 1000))
			if p := w.ask(9, req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
				t.Fatal(p.ErrorCode)
			}
		}
	}
	check := func(w *wire) (records int) {
		t.Helper()
		for partition := range int32(3) {
			last, n, start := w.latest("state", partition)
			if records += n; start != 0 || len(last) != keys {
				t.Fatalf("partition %d begins at %d and has %d keys", partition, start, len(last))
			}
			for key, number := range last {
				var k, at int
				fmt.Sscanf(key, "key-%d", &k)
				if fmt.Sscan(number, &at); at%keys != k || at < 50*batches-keys {
					t.Fatalf("partition %d: the last of %s is %d", partition, key, at)
				}
			}
		}
		return records
	}
	if n := check(w); n != 3*50*batches {
		t.Fatalf("%d records before", n)
	}
	w.alterTopic("state", "cleanup.policy", "compact")
	deadline := time.Now().Add(20 * time.Second)
	for {
		// A segment of 1 MiB is never looked at: it is the active one. Of the others a few dozen records stay.
		if n := check(w); n < 3*1100 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not compacted after 20 s: %d records\n%s", check(w), b.logs)
		}
	}
	file := filepath.Join(b.dir, "cleaner-offset-checkpoint")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { // long before log.flush.offset.checkpoint.interval.ms
		text, err := os.ReadFile(file)
		if err == nil && strings.Count(string(text), "state ") == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not kept while the broker runs: %q, %v", text, err)
		}
	}
	cleanings := uint64(0) // after the wait: a cleaning is counted when its files have their names, and read from before
	for core := range 2 {
		_, store := b.figures(core)
		cleanings += store.Cleanings
	}
	if cleanings < 3 {
		t.Errorf("%d cleanings", cleanings)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.logs.String(), "a log was compacted") {
		t.Errorf("nothing was logged:\n%s", b.logs)
	}
	got, err := os.ReadFile(file)
	if err != nil || strings.Count(string(got), "state ") != 3 {
		t.Errorf("%q, %v", got, err)
	}
	b = startTestBroker(t, b.dir, sets...)
	if n := check(b.dial()); n >= 3*1100 {
		t.Errorf("%d records after a restart", n)
	}
}

// TestRetentionLive: retention.bytes and then retention.ms are set while the broker runs.
func TestRetentionLive(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "log.retention.check.interval.ms=20", "log.segment.delete.delay.ms=0")
	w := b.dial()
	w.createTopic("events", 1, "segment.bytes", "1048576")
	for i := range 100 {
		if p := w.ask(9, produceRequest("events", 0, keyed(i*50, 50, 20, 1000))).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
			t.Fatal(p.ErrorCode)
		}
	}
	wait := func(what string, reached func(records int, start int64) bool) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for {
			_, n, start := w.latest("events", 0)
			if reached(n, start) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d records from %d on\n%s", what, n, start, b.logs)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if _, n, start := w.latest("events", 0); n != 5000 || start != 0 {
		t.Fatalf("%d records from %d on", n, start)
	}
	w.alterTopic("events", "retention.bytes", "2200000")
	wait("retention.bytes", func(n int, start int64) bool { return n < 3500 && n > 2000 && start == int64(5000-n) })
	w.alterTopic("events", "retention.ms", "1")
	wait("retention.ms", func(n int, start int64) bool { return n == 0 && start == 5000 })
	wait("the files go", func(int, int64) bool {
		files, err := filepath.Glob(filepath.Join(b.dir, "events-0", "*.log*"))
		return err == nil && len(files) == 1
	})
}
