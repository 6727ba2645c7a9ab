package protocol

import (
	"bytes"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestBatchFields reads a batch that kmsg wrote.
func TestBatchFields(t *testing.T) {
	k := kmsg.RecordBatch{
		FirstOffset: 1 << 40, PartitionLeaderEpoch: 7, Magic: 2, Attributes: AttrTransactional | AttrLogAppendTime | int16(Zstd),
		LastOffsetDelta: 41, FirstTimestamp: 100, MaxTimestamp: 200, ProducerID: 3000, ProducerEpoch: 4, FirstSequence: 1<<31 - 2,
		NumRecords: 42, Records: []byte("records"),
	}
	k.Length = HeaderBytes - LogOverhead + int32(len(k.Records))
	b, rest, err := NextBatch(append(k.AppendTo(nil), "rest"...))
	if err != nil || string(rest) != "rest" {
		t.Fatalf("%v, rest %q", err, rest)
	}
	b.setCRC()
	type fields struct {
		base                                  int64
		length, epoch                         int32
		magic                                 int8
		attributes                            int16
		codec                                 Codec
		kind                                  TimestampType
		transactional, control, deleteHorizon bool
		delta                                 int32
		last, next, first, max, producer      int64
		producerEpoch                         int16
		sequence, lastSequence, count         int32
		payload                               string
		valid                                 bool
	}
	got := fields{b.BaseOffset(), b.Length(), b.LeaderEpoch(), b.Magic(), b.Attributes(), b.Codec(), b.TimestampType(),
		b.IsTransactional(), b.IsControl(), b.HasDeleteHorizon(), b.LastOffsetDelta(), b.LastOffset(), b.NextOffset(), b.BaseTimestamp(), b.MaxTimestamp(),
		b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(), b.Count(), string(b.Payload()), b.ValidCRC()}
	want := fields{1 << 40, 56, 7, 2, 0x1c, Zstd, LogAppendTime, true, false, false, 41, 1<<40 + 41, 1<<40 + 42, 100, 200,
		3000, 4, 1<<31 - 2, 39, 42, "records", true}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestBatchStamps changes what a broker stamps, and nothing else.
func TestBatchStamps(t *testing.T) {
	for _, codec := range codecs {
		original := compressed(craftBatch(5), codec)
		b := Batch(bytes.Clone(original))
		b.SetBaseOffset(1 << 50)
		b.SetLeaderEpoch(9)
		if b.BaseOffset() != 1<<50 || b.LeaderEpoch() != 9 || !b.ValidCRC() || b.CRC() != original.CRC() {
			t.Errorf("%v: offset %d, epoch %d, CRC valid %v", codec, b.BaseOffset(), b.LeaderEpoch(), b.ValidCRC())
		}
		b.SetTimestamps(LogAppendTime, 12345)
		if b.TimestampType() != LogAppendTime || b.MaxTimestamp() != 12345 || !b.ValidCRC() || b.CRC() == original.CRC() {
			t.Errorf("%v: type %d, max %d, CRC valid %v", codec, b.TimestampType(), b.MaxTimestamp(), b.ValidCRC())
		}
		if b.Codec() != codec || b.Count() != 5 || b.BaseTimestamp() != craftedTime || !bytes.Equal(b.Payload(), original.Payload()) {
			t.Errorf("%v: more was changed than the timestamps", codec)
		}
		b.SetTimestamps(CreateTime, original.MaxTimestamp())
		b.SetBaseOffset(0)
		b.SetLeaderEpoch(-1)
		if !bytes.Equal(b, original) {
			t.Errorf("%v: back again it is\n%x, not\n%x", codec, []byte(b), []byte(original))
		}
	}
}

// TestNextBatch tells bytes that more may complete from bytes that begin no batch.
func TestNextBatch(t *testing.T) {
	b := craftBatch(2)
	with := func(at int, v ...byte) []byte {
		c := bytes.Clone(b)
		copy(c[at:], v)
		return c
	}
	tests := []struct {
		name string
		in   []byte
		err  error
	}{
		{"a batch", b, nil},
		{"nothing", nil, ErrIncomplete},
		{"11 bytes", b[:11], ErrIncomplete},
		{"16 bytes", b[:16], ErrIncomplete},
		{"17 bytes", b[:17], ErrIncomplete},
		{"all but one", b[:len(b)-1], ErrIncomplete},
		{"length 0", with(8, 0, 0, 0, 0), ErrCorrupt},
		{"length -1", with(8, 0xff, 0xff, 0xff, 0xff), ErrCorrupt},
		{"length least int32", with(8, 0x80, 0, 0, 0), ErrCorrupt},
		{"length 13", with(8, 0, 0, 0, 13), ErrCorrupt},
		{"length 48", with(8, 0, 0, 0, 48), ErrCorrupt},
		{"length 2^31-1", with(8, 0x7f, 0xff, 0xff, 0xff), ErrIncomplete},
		{"magic 0", with(16, 0), ErrMagic},
		{"magic 1", with(16, 1), ErrMagic},
		{"magic 3", with(16, 3), ErrCorrupt},
		{"magic 255", with(16, 255), ErrCorrupt},
		{"magic 3 in 17 bytes", with(16, 3)[:17], ErrCorrupt},
		{"zeros", make([]byte, 100), ErrCorrupt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, rest, err := NextBatch(test.in)
			if err != test.err {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if err != nil && (got != nil || len(rest) != len(test.in)) {
				t.Errorf("a batch of %d bytes and %d more came with the error", len(got), len(rest))
			}
			if err == nil && (unsafe.SliceData(got) != unsafe.SliceData(Batch(test.in)) || cap(got) != len(got)) {
				t.Error("the batch does not alias its input, or reaches past its end")
			}
		})
	}
}

// TestRecords reads back what was built, in every codec, with records larger than the window.
func TestRecords(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	build := craftRecords(50, func(i int, r *Record) {
		switch i {
		case 7:
			r.Value = large
		case 8:
			r.Key, r.Value = nil, nil
		case 9:
			r.Key, r.Value = []byte{}, []byte{}
		}
	})
	for _, codec := range codecs {
		b := compressed(build, codec)
		b.SetBaseOffset(1000)
		var it Records
		var r Record
		var s Scratch
		it.Open(b, &s)
		i := 0
		for ; it.Next(&r); i++ {
			if r.Offset != 1000+int64(i) || r.Timestamp != craftedTime+int64(i) {
				t.Fatalf("%v: record %d has offset %d, timestamp %d", codec, i, r.Offset, r.Timestamp)
			}
			switch i {
			case 7:
				if !bytes.Equal(r.Value, large) {
					t.Errorf("%v: the large value came back as %d bytes", codec, len(r.Value))
				}
			case 8:
				if r.Key != nil || r.Value != nil {
					t.Errorf("%v: nulls came back as %q, %q", codec, r.Key, r.Value)
				}
			case 9:
				if r.Key == nil || r.Value == nil {
					t.Errorf("%v: empties came back as null", codec)
				}
			default:
				if string(r.Value) != "value of a record" || string(r.Key) != "k"+itoa(i%10) {
					t.Errorf("%v: record %d is %q, %q", codec, i, r.Key, r.Value)
				}
			}
			if i%3 == 1 && (len(r.Headers) != 2 || string(r.Headers[0].Value) != "v" || string(r.Headers[1].Key) != "n" || r.Headers[1].Value != nil) {
				t.Errorf("%v: record %d has headers %v", codec, i, r.Headers)
			}
		}
		it.Close()
		if it.Err() != nil || i != 50 {
			t.Fatalf("%v: %d records, %v", codec, i, it.Err())
		}
	}
}

// TestTimestampSearch finds records by time, in every codec and with both timestamp types.
func TestTimestampSearch(t *testing.T) {
	times := []int64{10, 30, 20, 30, 40, 5}
	build := craftRecords(len(times), func(i int, r *Record) { r.Timestamp = times[i] })
	var s Scratch
	for _, codec := range codecs {
		b := compressed(build, codec)
		b.SetBaseOffset(100)
		for _, test := range []struct {
			target, from, offset, timestamp int64
			found                           bool
		}{
			{0, 0, 100, 10, true}, {11, 0, 101, 30, true}, {30, 102, 103, 30, true}, {31, 0, 104, 40, true},
			{40, 105, 0, 0, false}, {41, 0, 0, 0, false}, {5, 105, 105, 5, true},
		} {
			offset, timestamp, found, err := b.FindTimestamp(test.target, test.from, &s)
			if err != nil || found != test.found || offset != test.offset || timestamp != test.timestamp {
				t.Errorf("%v: %+v: found %d, %d, %v, %v", codec, test, offset, timestamp, found, err)
			}
		}
		if offset, timestamp, err := b.OffsetOfMaxTimestamp(&s); err != nil || offset != 104 || timestamp != 40 {
			t.Errorf("%v: max timestamp %d at %d, %v", codec, timestamp, offset, err)
		}
		b.SetTimestamps(LogAppendTime, 77)
		if offset, timestamp, err := b.OffsetOfMaxTimestamp(&s); err != nil || offset != 100 || timestamp != 77 {
			t.Errorf("%v: log append time %d at %d, %v", codec, timestamp, offset, err)
		}
	}
}

// FuzzBatch runs any bytes through everything that reads batches: nothing may panic or read past the end, an accepted
// batch must be readable to the last record, and stay valid when it is stamped.
func FuzzBatch(f *testing.F) {
	for _, c := range craftedBatches() {
		f.Add(c.Records, c.Version, false)
		f.Add(c.Records, c.Version, true)
	}
	var s Scratch
	rules := DefaultRules()
	compact := DefaultRules()
	compact.Compacted, compact.TimestampType = true, LogAppendTime
	f.Fuzz(func(t *testing.T, records []byte, version int16, fixCRC bool) {
		records = bytes.Clone(records)
		if found, _, err := NextBatch(records); err == nil && fixCRC {
			found.setCRC()
		}
		b, code := CheckProduced(records, version, &rules)
		if code != NONE {
			ExplainCorrupt(records)
			return
		}
		check := CheckRecords
		if b.Codec() != None {
			check = func(b Batch, r *Rules, now int64) Verdict { return CheckCompressed(b, r, now, &s) }
		}
		check(b, &compact, craftedTime)
		v := check(b, &rules, craftedTime)
		var it Records
		var r Record
		it.Open(b, &s)
		n := int32(0)
		for it.Next(&r) {
			n++
		}
		it.Close()
		if v.Code != NONE {
			return
		}
		if it.Err() != nil || n != b.Count() {
			t.Fatalf("accepted, but %d of %d records could be read: %v", n, b.Count(), it.Err())
		}
		stamped := b.TimestampType() == LogAppendTime
		v.Settle(b, &rules, craftedTime)
		if !b.ValidCRC() || b.MaxTimestamp() != v.MaxTimestamp || b.TimestampType() != CreateTime {
			t.Fatalf("settled with %+v: max timestamp %d, CRC valid %v", v, b.MaxTimestamp(), b.ValidCRC())
		}
		if stamped {
			return // its records now have their own timestamps again, which nobody has looked at; so it is in Kafka
		}
		offset, timestamp, err := b.OffsetOfMaxTimestamp(&s)
		if err != nil || timestamp != v.MaxTimestamp || timestamp != NoTimestamp && offset != int64(v.MaxTimestampDelta) {
			t.Fatalf("max timestamp %d at %d, %v; the verdict was %+v", timestamp, offset, err, v)
		}
	})
}

// FuzzWalk walks over any bytes as records, once in memory and once a byte at a time through a small window: both must come to
// the same records and the same end.
func FuzzWalk(f *testing.F) {
	for _, b := range craftedRecords(None) {
		f.Add([]byte(b.Payload()))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var whole, pieces walker
		whole.inMemory(p)
		pieces.stream(iotest.OneByteReader(bytes.NewReader(p)), make([]byte, 16))
		for {
			var a, b recordShape
			errA, errB := whole.record(&a), pieces.record(&b)
			if errA != errB || errA == nil && (a != b || whole.position() != pieces.position()) {
				t.Fatalf("in memory %+v, %v at %d; in pieces %+v, %v at %d", a, errA, whole.position(), b, errB, pieces.position())
			}
			if errA != nil {
				return
			}
			if errA, errB := whole.end(), pieces.end(); errA != errB {
				t.Fatalf("the end: in memory %v, in pieces %v", errA, errB)
			} else if errA == nil {
				return
			}
		}
	})
}

// FuzzHeader reads any bytes as a frame, and as primitives.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{0, 3, 0, 12, 0, 0, 0, 1, 0, 1, 'c', 1, 5, 2, 'x', 'y', 9})
	f.Add([]byte{0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0})
	f.Add([]byte{0, 0, 0, 3, 0, 0, 0, 1, 0x7f, 0xff})
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := ParseHeader(frame)
		if err == nil && (len(body)+len(h.ClientID)+10 > len(frame) || h.APIKey != int16(frame[0])<<8|int16(frame[1])) {
			t.Fatalf("%+v and %d bytes of body out of %d bytes", h, len(body), len(frame))
		}
		r := NewReader(frame)
		for r.Len() > 0 {
			before := r.Len()
			switch r.Int8() & 15 {
			case 0:
				_ = r.String()
			case 1:
				r.NullableString()
			case 2:
				r.CompactString()
			case 3:
				r.CompactNullableString()
			case 4:
				r.Bytes()
			case 5:
				r.NullableBytes()
			case 6:
				r.SkipTags()
			case 7:
				if n := r.ArrayLength(3); n > len(frame)/3 {
					t.Fatalf("a count of %d in %d bytes", n, len(frame))
				}
			case 8:
				if n := r.CompactArrayLength(1); n > len(frame) {
					t.Fatalf("a count of %d in %d bytes", n, len(frame))
				}
			case 9:
				r.Varint()
			case 10:
				r.Varlong()
			case 11:
				r.UUID()
			case 12:
				r.Int64()
			case 13:
				r.Int32()
			case 14:
				r.Tag()
			case 15:
				r.Bool()
			}
			if r.Len() >= before {
				t.Fatalf("%d bytes left of %d", r.Len(), before)
			}
		}
	})
}
