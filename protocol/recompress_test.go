package protocol

import (
	"bytes"
	"testing"
)

// TestRecompress goes from every codec to every codec; header and records must stay what they were.
func TestRecompress(t *testing.T) {
	plain := craftRecords(3000, func(i int, r *Record) { r.Value = bytes.Repeat([]byte{byte(i)}, i%200) })
	rules := DefaultRules()
	var s Scratch
	for _, from := range codecs {
		for _, to := range codecs {
			b := compressed(plain, from)
			b.SetLeaderEpoch(4)
			c, code := Recompress(b, to, 1<<20, &s)
			if code != NONE || c.Codec() != to {
				t.Fatalf("%v to %v: %v", from, to, code)
			}
			if _, code := CheckProduced(c, 9, &rules); code != NONE {
				t.Fatalf("%v to %v: the copy is refused: %v", from, to, code)
			}
			if v := CheckCompressed(c, &rules, craftedTime, &s); v.Code != NONE || v.MaxTimestamp != craftedTime+2999 {
				t.Fatalf("%v to %v: the copy's records: %+v", from, to, v)
			}
			back, code := Recompress(c, None, 1<<20, &s)
			if code != NONE || !bytes.Equal(back.Payload(), plain.Payload()) || back.LeaderEpoch() != 4 || back.Count() != 3000 {
				t.Errorf("%v to %v and back to none: %v", from, to, code)
			}
		}
	}
}

// TestRecompressLimit stops a copy that grows too large.
func TestRecompressLimit(t *testing.T) {
	var s Scratch
	for codec, payload := range bombs(20 << 20) {
		b := withPayload(craftBatch(1), codec, payload)
		if _, code := Recompress(b, None, 1<<20, &s); code != MESSAGE_TOO_LARGE {
			t.Errorf("%v: %v", codec, code)
		}
		broken := withPayload(craftBatch(1), codec, payload[:len(payload)/2])
		if _, code := Recompress(broken, None, 100<<20, &s); code != UNKNOWN_SERVER_ERROR {
			t.Errorf("%v, broken: %v", codec, code)
		}
	}
	if _, code := Recompress(craftBatch(1), Codec(6), 1<<20, nil); code != UNKNOWN_SERVER_ERROR {
		t.Errorf("codec 6: %v", code)
	}
}
