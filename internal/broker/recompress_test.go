package broker

import (
	"bytes"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestCompressionType: batches in another codec than the topic's are brought into it, on either core, with the records that they had; those that
// have it, and those of a topic that leaves it to the producer, are not touched. The setting changes while the broker runs.
func TestCompressionType(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 2, "max.message.bytes", "20000")
	value := bytes.Repeat([]byte("0123456789"), 300)
	offset := map[int32]int64{}
	for _, setting := range []string{"producer", "zstd", "uncompressed", "gzip", "snappy", "lz4", "producer"} {
		w.alterTopic("t", "compression.type", setting)
		for came := protocol.None; came <= protocol.Zstd; came++ {
			partition := int32(came) % 2
			var bl protocol.Builder
			bl.Begin(nil, protocol.NewBatchInfo(0, 0))
			for i := range 5 {
				bl.Append(&protocol.Record{Timestamp: 1795265500_000 + int64(i), Key: []byte{byte(i)}, Value: value})
			}
			_, batch := bl.Finish()
			if came != protocol.None {
				batch, _ = protocol.Recompress(batch, came, 1<<20, nil)
			}
			p := w.ask(9, produceRequest("t", partition, batch)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			if p.ErrorCode != 0 || p.BaseOffset != offset[partition] {
				t.Fatalf("%v with %s: error %d, offset %d", came, setting, p.ErrorCode, p.BaseOffset)
			}
			f := w.ask(11, fetchRequest("t", partition, offset[partition], 1000)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
			got, _, err := protocol.NextBatch(f.RecordBatches)
			if err != nil || !got.ValidCRC() {
				t.Fatal(err)
			}
			want, changed := codecOf(setting)
			if !changed {
				want = came
			}
			if got.Codec() != want || got.BaseOffset() != offset[partition] {
				t.Errorf("%v with %s: the log has %v at %d", came, setting, got.Codec(), got.BaseOffset())
			}
			if want == came && !bytes.Equal(got.Payload(), batch.Payload()) {
				t.Errorf("%v with %s: the records' bytes are others", came, setting)
			}
			var it protocol.Records
			var r protocol.Record
			n := 0
			for it.Open(got, new(protocol.Scratch)); it.Next(&r); n++ {
				if r.Timestamp != 1795265500_000+int64(n) || len(r.Key) != 1 || r.Key[0] != byte(n) || !bytes.Equal(r.Value, value) {
					t.Fatalf("%v with %s: record %d is %d %q", came, setting, n, r.Timestamp, r.Key)
				}
			}
			it.Close()
			if n != 5 {
				t.Errorf("%v with %s: %d records", came, setting, n)
			}
			offset[partition] += 5
		}
	}
	// What is small as it came may be too large as the topic wants it.
	w.alterTopic("t", "compression.type", "uncompressed")
	var bl protocol.Builder
	bl.Begin(nil, protocol.NewBatchInfo(0, 0))
	bl.Append(&protocol.Record{Value: bytes.Repeat(value, 10)})
	_, batch := bl.Finish()
	batch, _ = protocol.Recompress(batch, protocol.Zstd, 1<<20, nil)
	if p := w.ask(9, produceRequest("t", 0, batch)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != int16(protocol.MESSAGE_TOO_LARGE) {
		t.Errorf("too large: error %d", p.ErrorCode)
	}
}
