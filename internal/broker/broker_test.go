package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testBatch is a batch of n records, each saying which it is.
func testBatch(n int, tag string) protocol.Batch {
	var bl protocol.Builder
	bl.Begin(nil, protocol.NewBatchInfo(0, -1))
	for i := range n {
		bl.Append(&protocol.Record{Timestamp: time.Now().UnixMilli(), Value: fmt.Appendf(nil, "%s-%d", tag, i)})
	}
	_, b := bl.Finish()
	return b
}

// Partitions of one topic lie on different cores; requests for several of them
// come back as one answer, in the request's order.
func TestProduceAndFetchAcrossCores(t *testing.T) {
	for _, cores := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(cores, " cores"), func(t *testing.T) {
			b := startTestBroker(t, "", setCores(cores))
			w := b.dial()
			w.createTopic("t", 5)
			req := produceRequest("t", 0, testBatch(1, "p0"))
			for p := int32(1); p < 5; p++ {
				part := kmsg.NewProduceRequestTopicPartition()
				part.Partition, part.Records = p, testBatch(int(p)+1, fmt.Sprint("p", p))
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, part)
			}
			for round := int64(0); round < 3; round++ {
				resp := w.ask(9, req).(*kmsg.ProduceResponse)
				for i, p := range resp.Topics[0].Partitions {
					if want := round * int64(i+1); p.ErrorCode != 0 || p.Partition != int32(i) || p.BaseOffset != want {
						t.Fatalf("round %d: partition %d: error %d, base offset %d, want %d", round, p.Partition, p.ErrorCode, p.BaseOffset, want)
					}
				}
			}
			fetch := fetchRequest("t", 0, 0, 1000)
			for p := int32(1); p < 5; p++ {
				part := fetch.Topics[0].Partitions[0]
				part.Partition = p
				fetch.Topics[0].Partitions = append(fetch.Topics[0].Partitions, part)
			}
			for _, version := range []int16{4, 7, 11, 12} {
				resp := w.ask(version, fetch).(*kmsg.FetchResponse)
				for i, p := range resp.Topics[0].Partitions {
					if n := countRecords(t, p.RecordBatches); p.ErrorCode != 0 || p.HighWatermark != int64(3*(i+1)) || n != 3*(i+1) {
						t.Errorf("v%d: partition %d: error %d, high watermark %d, %d records", version, p.Partition, p.ErrorCode, p.HighWatermark, n)
					}
				}
			}
		})
	}
}

func countRecords(t *testing.T, b []byte) (n int) {
	t.Helper()
	for len(b) > 0 {
		batch, rest, err := protocol.NextBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		if !batch.ValidCRC() {
			t.Fatal("a batch's CRC is wrong")
		}
		n += int(batch.Count())
		b = rest
	}
	return n
}

// A fetch at the log's end answers when there is something, not when its time is
// up; one that gets nothing answers when its time is up, not before.
func TestLongPoll(t *testing.T) {
	for _, cores := range []int{1, 3} {
		b := startTestBroker(t, "", setCores(cores))
		w, p := b.dial(), b.dial()
		w.createTopic("t", 3)
		for partition := int32(0); partition < 3; partition++ {
			fetch := fetchRequest("t", partition, 0, 10_000)
			fetch.SetVersion(11)
			begun := time.Now()
			w.send(fetch)
			time.Sleep(50 * time.Millisecond)
			p.ask(9, produceRequest("t", partition, testBatch(1, "x")))
			resp := w.receive(fetch).(*kmsg.FetchResponse)
			if n := countRecords(t, resp.Topics[0].Partitions[0].RecordBatches); n != 1 {
				t.Errorf("%d cores: woken with %d records", cores, n)
			}
			if d := time.Since(begun); d > 5*time.Second {
				t.Errorf("%d cores: woken after %v: by the deadline, not by the append", cores, d)
			}
		}
		begun := time.Now()
		resp := w.ask(11, fetchRequest("t", 0, 1, 300)).(*kmsg.FetchResponse)
		if d := time.Since(begun); d < 290*time.Millisecond || d > 3*time.Second {
			t.Errorf("%d cores: an empty fetch with 300 ms to wait took %v", cores, d)
		}
		if part := resp.Topics[0].Partitions[0]; part.ErrorCode != 0 || len(part.RecordBatches) != 0 {
			t.Errorf("%d cores: an empty fetch: error %d, %d bytes", cores, part.ErrorCode, len(part.RecordBatches))
		}
	}
}

// min.bytes keeps a fetch parked until there is enough.
func TestMinBytes(t *testing.T) {
	b := startTestBroker(t, "")
	w, p := b.dial(), b.dial()
	w.createTopic("t", 1)
	batch := testBatch(1, "x")
	fetch := fetchRequest("t", 0, 0, 10_000)
	fetch.MinBytes = int32(3 * len(batch))
	fetch.SetVersion(11)
	w.send(fetch)
	for range 3 {
		time.Sleep(30 * time.Millisecond)
		p.ask(9, produceRequest("t", 0, batch))
	}
	resp := w.receive(fetch).(*kmsg.FetchResponse)
	if n := countRecords(t, resp.Topics[0].Partitions[0].RecordBatches); n != 3 {
		t.Errorf("answered with %d records, want 3", n)
	}
}

// A parked fetch does not keep the broker from stopping, and what was
// acknowledged is there after a restart.
func TestStopAndStart(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 4)
	for p := int32(0); p < 4; p++ {
		w.ask(9, produceRequest("t", p, testBatch(10, "x")))
	}
	parked := b.dial()
	fetch := fetchRequest("t", 0, 10, 60_000)
	fetch.SetVersion(11)
	parked.send(fetch)
	time.Sleep(50 * time.Millisecond)
	begun := time.Now()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("stopping took %v", d)
	}
	b = startTestBroker(t, b.dir, setCores(3)) // another number of cores: partitions move
	w = b.dial()
	for p := int32(0); p < 4; p++ {
		resp := w.ask(11, fetchRequest("t", p, 0, 0)).(*kmsg.FetchResponse)
		if part := resp.Topics[0].Partitions[0]; part.ErrorCode != 0 || countRecords(t, part.RecordBatches) != 10 {
			t.Errorf("partition %d after the restart: error %d, %d records", p, part.ErrorCode, countRecords(t, part.RecordBatches))
		}
	}
}

// Deleted topics are gone for everyone, their names can be used again, and a
// fetch that waits on one is told.
func TestDeleteTopic(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w, waiting := b.dial(), b.dial()
	first := w.createTopic("t", 3)
	w.ask(9, produceRequest("t", 0, testBatch(5, "old")))
	fetch := fetchRequest("t", 0, 5, 30_000)
	fetch.SetVersion(11)
	waiting.send(fetch)
	time.Sleep(50 * time.Millisecond)
	del := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr("t")
	del.Topics = append(del.Topics, topic)
	if code := w.ask(6, del).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		t.Fatalf("delete: error %d", code)
	}
	resp := waiting.receive(fetch).(*kmsg.FetchResponse)
	if code := protocol.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode); code == protocol.NONE {
		t.Error("a fetch that waited on a deleted topic was told nothing")
	}
	if code := w.ask(9, produceRequest("t", 0, testBatch(1, "x"))).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; protocol.ErrorCode(code) != protocol.UNKNOWN_TOPIC_OR_PARTITION {
		t.Errorf("produce to a deleted topic: error %d", code)
	}
	if second := w.createTopic("t", 3); second == first {
		t.Error("a topic of the same name has the same id")
	}
	r := w.ask(9, produceRequest("t", 0, testBatch(1, "new"))).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if r.ErrorCode != 0 || r.BaseOffset != 0 {
		t.Errorf("the new topic's first batch: error %d, base offset %d", r.ErrorCode, r.BaseOffset)
	}
}

// Every unreadable or unserved request ends its own connection and nobody else's.
func TestUnreadableRequests(t *testing.T) {
	b := startTestBroker(t, "")
	innocent := b.dial()
	innocent.createTopic("t", 1)
	for name, frame := range map[string][]byte{
		"empty body":          {0, 0, 0, 0},
		"length -1":           {0xff, 0xff, 0xff, 0xff},
		"length 2 GiB - 1":    {0x7f, 0xff, 0xff, 0xff},
		"half a header":       {0, 0, 0, 3, 0, 0, 0},
		"unknown key":         {0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"negative key":        {0, 0, 0, 10, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"unsupported version": {0, 0, 0, 10, 0, 0, 0, 99, 0, 0, 0, 1, 0xff, 0xff},
		"produce cut short":   {0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0},
		"a count that lies":   {0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			w := b.dial()
			if _, err := w.conn.Write(frame); err != nil {
				t.Fatal(err)
			}
			if got := w.frame(); got != nil {
				t.Errorf("answered with %d bytes", len(got))
			}
			if code := innocent.ask(9, produceRequest("t", 0, testBatch(1, "x"))).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
				t.Errorf("the innocent connection got error %d", code)
			}
		})
	}
}

// Keys that are not served close the connection, as in Kafka: there is no response
// format to answer in. Others go on.
func TestUnservedKeysClose(t *testing.T) {
	b := startTestBroker(t, "")
	innocent := b.dial()
	for _, key := range []int16{4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 88, 89} {
		w := b.dial()
		req := kmsg.RequestForKey(key)
		req.SetVersion(0)
		w.send(req)
		if f := w.frame(); f != nil {
			t.Errorf("key %d: answered with %d bytes", key, len(f))
		}
	}
	innocent.ask(2, kmsg.NewPtrApiVersionsRequest())
}

// A topic can be deleted and made again at once, over and over, and a directory
// that a crash left without its topic is in nobody's way.
func TestRecreateTopic(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	for range 20 {
		w.createTopic("again", 3)
		if code := w.ask(9, produceRequest("again", 2, testBatch(1, "x"))).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
			t.Fatalf("produce to a topic made again: error %d", code)
		}
		del := kmsg.NewPtrDeleteTopicsRequest()
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = kmsg.StringPtr("again")
		del.Topics = append(del.Topics, topic)
		if code := w.ask(6, del).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
			t.Fatalf("delete: error %d", code)
		}
	}
	w.createTopic("kept", 1)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	// As after a crash between a deletion's commit and its rename.
	must(t, os.CopyFS(filepath.Join(b.dir, "again-0"), os.DirFS(filepath.Join(b.dir, "kept-0"))))
	b = startTestBroker(t, b.dir)
	b.dial().createTopic("again", 1)
	if strays, _ := filepath.Glob(filepath.Join(b.dir, "again-0.*-stray")); len(strays) != 1 {
		t.Errorf("the directory without a topic was not set aside: %v", strays)
	}
}

// Compressed batches are opened by helpers, others are not: the order of a
// connection's requests holds all the same, on one core and across several.
func TestOrderOfCompressedAndPlain(t *testing.T) {
	plain := testBatch(3, "plain")
	var scratch protocol.Scratch
	compressed, code := protocol.Recompress(testBatch(3, "compressed"), protocol.Zstd, 1<<20, &scratch)
	if code != protocol.NONE {
		t.Fatal(code)
	}
	for _, cores := range []int{1, 2} {
		b := startTestBroker(t, "", setCores(cores))
		w := b.dial()
		w.createTopic("t", 2)
		for partition := int32(0); partition < 2; partition++ {
			const requests = 300
			kind := func(i int) protocol.Batch {
				if i%3 == 0 || i%7 == 1 {
					return compressed
				}
				return plain
			}
			go func() {
				for i := range requests {
					w.conn.Write(encode(9, produceRequest("t", partition, kind(i))))
				}
			}()
			req := produceRequest("t", partition, nil)
			req.SetVersion(9)
			for i := range requests {
				p := w.receive(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
				if p.ErrorCode != 0 || p.BaseOffset != int64(3*i) {
					t.Fatalf("%d cores: request %d: error %d, base offset %d", cores, i, p.ErrorCode, p.BaseOffset)
				}
			}
			fetched := w.ask(11, fetchRequest("t", partition, 0, 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
			for i := 0; len(fetched) > 0; i++ {
				batch, rest, err := protocol.NextBatch(fetched)
				must(t, err)
				if batch.Codec() != kind(i).Codec() {
					t.Fatalf("%d cores: batch %d is %s, sent as %s", cores, i, batch.Codec(), kind(i).Codec())
				}
				fetched = rest
			}
		}
	}
}

// A first start that was killed leaves a directory that the next start takes.
func TestFirstStartCutShort(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".lock", "cleaner-offset-checkpoint", "meta.properties.tmp"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	b := startTestBroker(t, dir)
	b.dial().createTopic("t", 1)
}

// A topic named over and over in one request is described once.
func TestMetadataDescribesATopicOnce(t *testing.T) {
	b := startTestBroker(t, "")
	w := b.dial()
	w.createTopic("t", 50)
	req := kmsg.NewPtrMetadataRequest()
	for range 5000 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("t")
		req.Topics = append(req.Topics, topic)
	}
	if n := len(w.ask(9, req).(*kmsg.MetadataResponse).Topics); n != 1 {
		t.Errorf("described %d times", n)
	}
}
