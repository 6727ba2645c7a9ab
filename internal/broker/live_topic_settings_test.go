package broker

import (
	"path/filepath"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTopicSettingsAreLive: each setting of a topic's log is in force with the next batch when its change has been answered, and no longer when it is
// changed back. Error codes and the conditions of a roll are Kafka's (LogValidator, UnifiedLog.maybeRoll).
func TestTopicSettingsAreLive(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	w := b.dial()
	w.createTopic("live", 1)
	now := time.Now().UnixMilli()
	offset := int64(0)
	produce := func(timestamp int64, bytes int) *kmsg.ProduceResponseTopicPartition {
		t.Helper()
		var bl protocol.Builder
		bl.Begin(nil, protocol.NewBatchInfo(0, 0))
		bl.Append(&protocol.Record{Timestamp: timestamp, Value: make([]byte, bytes)})
		_, batch := bl.Finish()
		p := &w.ask(9, produceRequest("live", 0, batch)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode == 0 {
			if p.BaseOffset != offset {
				t.Fatalf("offset %d, not %d", p.BaseOffset, offset)
			}
			offset++
		}
		return p
	}
	stamped := func(offset int64) (protocol.TimestampType, int64) {
		t.Helper()
		records := w.ask(12, fetchRequest("live", 0, offset, 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
		got, _, err := protocol.NextBatch(records)
		if err != nil {
			t.Fatal(err)
		}
		return got.TimestampType(), got.MaxTimestamp()
	}
	segments := func() int {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "live-0", "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}

	const past, future = int64(100_000), int64(1000_000)
	for _, c := range []struct {
		setting, value string
		timestamp      int64
	}{{"message.timestamp.before.max.ms", "50000", now - past}, {"message.timestamp.after.max.ms", "50000", now + future}} {
		def := "3600000"
		if c.setting == "message.timestamp.before.max.ms" {
			def = "9223372036854775807"
		}
		if p := produce(c.timestamp, 10); p.ErrorCode != 0 {
			t.Fatalf("%s: error %d before it was set", c.setting, p.ErrorCode)
		}
		w.alterTopic("live", c.setting, c.value)
		if p := produce(c.timestamp, 10); p.ErrorCode != int16(protocol.INVALID_TIMESTAMP) {
			t.Errorf("%s=%s: error %d", c.setting, c.value, p.ErrorCode)
		}
		if p := produce(now, 10); p.ErrorCode != 0 {
			t.Errorf("%s=%s: error %d for a record of now", c.setting, c.value, p.ErrorCode)
		}
		w.alterTopic("live", c.setting, def)
		if p := produce(c.timestamp, 10); p.ErrorCode != 0 {
			t.Errorf("%s: error %d after it was set back", c.setting, p.ErrorCode)
		}
	}

	for _, c := range []struct {
		value string
		want  protocol.TimestampType
	}{{"LogAppendTime", protocol.LogAppendTime}, {"CreateTime", protocol.CreateTime}} {
		w.alterTopic("live", "message.timestamp.type", c.value)
		p := produce(now-past, 10)
		kind, at := stamped(offset - 1)
		if kind != c.want || (p.LogAppendTime >= now) != (c.want == protocol.LogAppendTime) || (at == now-past) != (c.want == protocol.CreateTime) {
			t.Errorf("%s: the batch has %v, %d; the answer %d", c.value, kind, at, p.LogAppendTime)
		}
	}

	before := segments()
	produce(now, 600_000)
	produce(now, 600_000)
	if n := segments(); n != before {
		t.Errorf("%d segments, not %d, in segments of 1 GiB", n, before)
	}
	w.alterTopic("live", "segment.bytes", "1048576")
	produce(now, 600_000)
	produce(now, 600_000)
	if n := segments(); n != before+2 {
		t.Errorf("%d segments, not %d, with segment.bytes=1048576", n, before+2)
	}
	w.alterTopic("live", "segment.bytes", "1073741824")
	// A roll by time: by the timestamps of the segment's first batch and of the one that comes.
	before = segments()
	produce(now+60_000, 10)
	if n := segments(); n != before {
		t.Errorf("%d segments, not %d, with segments of a week", n, before)
	}
	w.alterTopic("live", "segment.ms", "30000")
	produce(now+61_000, 10)
	if n := segments(); n != before+1 {
		t.Errorf("%d segments, not %d, with segment.ms=30000", n, before+1)
	}
	produce(now+62_000, 10)
	w.alterTopic("live", "segment.ms", "604800000")
	produce(now+600_000, 10)
	if n := segments(); n != before+1 {
		t.Errorf("%d segments, not %d, with segments of a week again", n, before+1)
	}
	if p := produce(now, 1_100_000); p.ErrorCode != int16(protocol.MESSAGE_TOO_LARGE) {
		t.Errorf("a batch over max.message.bytes: error %d", p.ErrorCode)
	}
	w.alterTopic("live", "max.message.bytes", "1200000")
	if p := produce(now, 1_100_000); p.ErrorCode != 0 {
		t.Errorf("with max.message.bytes=1200000: error %d", p.ErrorCode)
	}
}
