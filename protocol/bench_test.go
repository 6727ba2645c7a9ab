package protocol

import "testing"

// BenchmarkCheck is what a core spends on a batch before it appends it: 16 records of 1 KiB, and 1000 of 20 bytes.
func BenchmarkCheck(b *testing.B) {
	rules := DefaultRules()
	for _, size := range []struct {
		name       string
		count, len int
	}{{"16x1KiB", 16, 1024}, {"1000x20", 1000, 20}} {
		batch := craftRecords(size.count, func(i int, r *Record) { r.Value, r.Headers = make([]byte, size.len), nil })
		b.Run("header and CRC/"+size.name, func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			for range b.N {
				if _, code := CheckProduced(batch, 9, &rules); code != NONE {
					b.Fatal(code)
				}
			}
		})
		b.Run("records/"+size.name, func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			for range b.N {
				if v := CheckRecords(batch, &rules, craftedTime); v.Code != NONE {
					b.Fatal(v.Code)
				}
			}
		})
	}
}

// BenchmarkCompressed is what a helper spends on a compressed batch of 1000 records, per byte of the batch.
func BenchmarkCompressed(b *testing.B) {
	rules := DefaultRules()
	for _, codec := range codecs[1:] {
		batch := compressed(craftBatch(1000), codec)
		b.Run(codec.String(), func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			var s Scratch
			for range b.N {
				if v := CheckCompressed(batch, &rules, craftedTime, &s); v.Code != NONE {
					b.Fatal(v.Code)
				}
			}
		})
	}
}
