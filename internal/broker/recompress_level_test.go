package broker

import (
	"math/rand/v2"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestCompressionLevels: a topic's level of its codec is acted on, while the broker runs, and so is the broker's default of it: what is packed harder
// is smaller, and the records are the same. Another codec's level changes nothing.
func TestCompressionLevels(t *testing.T) {
	b := startTestBroker(t, "")
	w := b.dial()
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]byte, 0, 60000) // what takes looking for
	for len(words) < 60000 {
		from := random.IntN(max(len(words)-200, 1))
		words = append(words, words[from:min(from+random.IntN(12), len(words))]...)
		words = append(words, "etaoinshrdlu"[random.IntN(12)])
	}
	plain := testBatch(1, string(words))
	offset := int64(0)
	size := func(topic string) int {
		t.Helper()
		if p := w.ask(9, produceRequest(topic, 0, plain)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != offset {
			t.Fatalf("error %d at %d", p.ErrorCode, p.BaseOffset)
		}
		fetched := w.ask(12, fetchRequest(topic, 0, offset, 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
		got, _, err := protocol.NextBatch(fetched)
		if err != nil || !got.ValidCRC() || batchValues(t, got) != batchValues(t, plain) {
			t.Fatalf("the records are others: %v", err)
		}
		offset++
		return len(got)
	}
	for _, c := range []struct{ codec, low, high string }{{"gzip", "1", "9"}, {"lz4", "9", "17"}, {"zstd", "-5", "22"}} {
		offset = 0
		topic, level := "packed-"+c.codec, "compression."+c.codec+".level"
		w.createTopic(topic, 1, "compression.type", c.codec, level, c.low)
		low := size(topic)
		w.alterTopic(topic, level, c.high)
		high := size(topic)
		w.alterTopic(topic, level, c.low)
		if again := size(topic); high >= low || again != low {
			t.Errorf("%s: %d bytes at level %s, %d at %s, then %d", c.codec, low, c.low, high, c.high, again)
		}
		for _, other := range []string{"gzip", "lz4", "zstd"} {
			if other != c.codec {
				w.alterTopic(topic, "compression."+other+".level", "1")
			}
		}
		if again := size(topic); again != low {
			t.Errorf("%s: %d bytes with other codecs' levels set, not %d", c.codec, again, low)
		}
	}
	// The broker's level is the default of a topic's.
	offset = 0
	w.createTopic("default", 1, "compression.type", "gzip")
	before := size("default")
	level := "9"
	w.alterOne(kmsg.ConfigResourceTypeBroker, "", "compression.gzip.level", &level)
	if after := size("default"); after >= before {
		t.Errorf("%d bytes by the broker's level, %d before", after, before)
	}
}
