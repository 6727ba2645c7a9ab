package protocol

import "testing"

func TestMarkerBatch(t *testing.T) {
	dst := make([]byte, 0, MarkerBytes)
	for _, m := range []Marker{{7, 3, 42, true}, {1 << 60, 32767, -1, false}} {
		buf, b := AppendMarkerBatch(dst, &m, 1795265500_000)
		if len(buf) != MarkerBytes || !b.ValidCRC() || b.Count() != 1 || b.Attributes() != AttrTransactional|AttrControl ||
			b.BaseSequence() != NoSequence || b.MaxTimestamp() != 1795265500_000 {
			t.Errorf("%+v: %d bytes, %x", m, len(buf), []byte(b))
		}
		if got, ok := ParseMarker(b); !ok || got != m {
			t.Errorf("%+v is read as %+v, %v", m, got, ok)
		}
		b[22] &^= AttrControl
		if _, ok := ParseMarker(b); ok {
			t.Error("a batch of data is no marker")
		}
	}
	// A control batch of the metadata quorum.
	var bl Builder
	bl.Begin(nil, BatchInfo{Attributes: AttrControl, ProducerID: NoProducerID})
	bl.Append(&Record{Key: AppendControlKey(nil, LeaderChange), Value: []byte{0, 0, 0, 0, 0, 0}})
	if _, b := bl.Finish(); true {
		if _, ok := ParseMarker(b); ok {
			t.Error("a change of leaders is no marker")
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		m := Marker{7, 3, 42, true}
		_, b := AppendMarkerBatch(dst, &m, 1)
		if _, ok := ParseMarker(b); !ok {
			t.Fatal("no marker")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
