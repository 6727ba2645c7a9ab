package broker

import (
	"fmt"
	"strings"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestEveryCodecToEvery: whatever a producer's codec, the log has the topic's, with
// the same records; producer leaves batches as they came. The setting is live.
func TestEveryCodecToEvery(t *testing.T) {
	codecs := map[string]protocol.Codec{"uncompressed": protocol.None, "gzip": protocol.Gzip, "snappy": protocol.Snappy, "lz4": protocol.LZ4, "zstd": protocol.Zstd}
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("packed", 2)
	offset := map[int32]int64{}
	for _, setting := range []string{"producer", "gzip", "snappy", "lz4", "zstd", "uncompressed"} {
		w.alterOne(kmsg.ConfigResourceTypeTopic, "packed", "compression.type", &setting)
		for name, codec := range codecs {
			plain := testBatch(20, setting+" from "+name)
			sent, code := protocol.Recompress(plain, codec, 1<<20, new(protocol.Scratch))
			if code != protocol.NONE {
				t.Fatal(code)
			}
			want := codec
			if fixed, ok := codecs[setting]; ok {
				want = fixed
			}
			for p := range int32(2) {
				resp := w.ask(9, produceRequest("packed", p, sent)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
				if resp.ErrorCode != 0 || resp.BaseOffset != offset[p] {
					t.Fatalf("%s to %s: error %d at %d", name, setting, resp.ErrorCode, resp.BaseOffset)
				}
				fetched := w.ask(12, fetchRequest("packed", p, offset[p], 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
				got, rest, err := protocol.NextBatch(fetched)
				if err != nil || len(rest) > 0 || !got.ValidCRC() || got.Codec() != want || got.BaseOffset() != offset[p] {
					t.Fatalf("%s to %s: codec %s, want %s; %d bytes more, %v", name, setting, got.Codec(), want, len(rest), err)
				}
				if text := batchValues(t, got); text != batchValues(t, plain) {
					t.Errorf("%s to %s: the records are %s", name, setting, text)
				}
				offset[p] += 20
			}
		}
	}
	if in := w.arenaInUse(b); in > 1<<20 {
		t.Errorf("%d bytes are in use when all is answered", in)
	}
}

// TestRecompressedTooLarge: a batch that fits and would not any more when it is
// unpacked is refused as one that is too large.
func TestRecompressedTooLarge(t *testing.T) {
	b := startTestBroker(t, "")
	w := b.dial()
	w.createTopic("small", 1, "max.message.bytes", "2000", "compression.type", "uncompressed")
	sent, _ := protocol.Recompress(testBatch(50, strings.Repeat("x", 100)), protocol.Gzip, 1<<20, new(protocol.Scratch))
	if len(sent) > 2000 {
		t.Fatalf("the batch has %d bytes", len(sent))
	}
	if code := w.ask(9, produceRequest("small", 0, sent)).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != int16(protocol.MESSAGE_TOO_LARGE) {
		t.Errorf("error %d", code)
	}
	if code := w.ask(9, produceRequest("small", 0, testBatch(1, "x"))).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Errorf("the next one: error %d", code)
	}
}

func batchValues(t *testing.T, b protocol.Batch) string {
	t.Helper()
	var it protocol.Records
	it.Open(b, new(protocol.Scratch))
	defer it.Close()
	var r protocol.Record
	out := ""
	for it.Next(&r) {
		out += fmt.Sprintf("%s;", r.Value)
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return out
}

// arenaInUse is what the cores' arenas have given out.
func (w *wire) arenaInUse(b *testBroker) (bytes int64) {
	w.t.Helper()
	for i := range b.broker.Cores() {
		s := new(CoreSnapshot)
		done := make(chan struct{})
		if !b.broker.Ask(i, s, func(bool) { close(done) }) {
			w.t.Fatal("a core does not answer")
		}
		<-done
		bytes += int64(s.Gauges.ArenaBytes)
	}
	return bytes
}
