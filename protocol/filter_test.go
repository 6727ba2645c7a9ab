package protocol

import (
	"bytes"
	"testing"
)

// FuzzFilter has any bytes that look like a batch compacted: that does no harm. If it is one that a log takes, what is left
// can be read, is as much as was to be kept, and stays the same when it is compacted again.
func FuzzFilter(f *testing.F) {
	for _, c := range craftedBatches() {
		f.Add(c.Records, uint64(0x5555), byte(0))
		f.Add(c.Records, uint64(1), byte(3))
	}
	var s Scratch
	loose := DefaultRules()
	f.Fuzz(func(t *testing.T, records []byte, mask uint64, how byte) {
		b, _, err := NextBatch(bytes.Clone(records))
		if err != nil || len(b) > 1<<16 {
			return
		}
		b.setCRC()
		i := 0
		rules := FilterRules{
			Keep: func(run []RecordShape) {
				for k := range run {
					i++
					run[k].Keep = mask>>(i%64)&1 != 0
				}
			},
			KeepEmpty:           how&1 != 0,
			NeedsHorizon:        how&2 != 0,
			DeleteHorizonMillis: craftedTime,
		}
		var filter Filter
		before := bytes.Clone(b)
		left, n, kept, err := filter.Apply(b, &rules)
		if !bytes.Equal(before, b) {
			t.Fatal("the batch itself was changed")
		}
		if err != nil || !taken(b, &loose, &s) {
			return
		}
		if kept > n || (left == nil) != (kept == 0 && !rules.KeepEmpty) {
			t.Fatalf("%d of %d records kept, %d bytes left", kept, n, len(left))
		}
		if left == nil {
			return
		}
		left = bytes.Clone(left)
		if next, _, err := NextBatch(left); err != nil || len(next) != len(left) || !left.ValidCRC() || int(left.Count()) != kept {
			t.Fatalf("what is left is no batch of %d records: %v", kept, err)
		}
		if left.BaseOffset() != b.BaseOffset() || left.LastOffset() != b.LastOffset() {
			t.Fatalf("offsets %d-%d became %d-%d", b.BaseOffset(), b.LastOffset(), left.BaseOffset(), left.LastOffset())
		}
		var it Records
		var r Record
		read := 0
		it.Open(left, &s)
		for it.Next(&r) {
			read++
		}
		it.Close()
		if it.Err() != nil || read != kept {
			t.Fatalf("%d of %d records left can be read: %v", read, kept, it.Err())
		}
		keys := 0
		if err := filter.EachRun(left, nil, func(run []RecordShape) bool { keys += len(run); return true }); err != nil || keys != kept {
			t.Fatalf("%d of %d keys left can be read: %v", keys, kept, err)
		}
		rules.Keep = func(run []RecordShape) {
			for k := range run {
				run[k].Keep = true
			}
		}
		if again, _, _, err := filter.Apply(left, &rules); err != nil || !bytes.Equal(again, left) {
			t.Fatalf("what is left changes when it is compacted again: %v", err)
		}
	})
}

// taken says whether a log would take a batch.
func taken(b Batch, rules *Rules, s *Scratch) bool {
	checked, code := CheckProduced(b, 9, rules)
	switch {
	case code != NONE:
		return false
	case checked.Codec() != None:
		return CheckCompressed(checked, rules, craftedTime, s).Code == NONE
	}
	return CheckRecords(checked, rules, craftedTime).Code == NONE
}
