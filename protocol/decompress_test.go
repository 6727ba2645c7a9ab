package protocol

import (
	"bytes"
	"io"
	"math/rand"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// corpus are bytes of different compressibility, up to a few hundred KiB.
func corpus() map[string][]byte {
	r := rand.New(rand.NewSource(1))
	random := make([]byte, 300_000)
	r.Read(random)
	var words []byte
	for len(words) < 400_000 {
		words = append(words, []string{"alpha ", "beta ", "gamma ", "delta\n"}[r.Intn(4)]...)
		words = append(words, byte(r.Intn(256)))
	}
	var far []byte // repeats at distances up to the window
	for i := range 40 {
		far = append(far, random[:1000*i]...)
	}
	return map[string][]byte{
		"nothing": {}, "one byte": {'x'}, "zeros": make([]byte, 1<<20), "random": random, "words": words, "far": far,
		"text": []byte(strings.Repeat("the same sentence again. ", 4000)),
	}
}

// expandAll reads all of what a batch with this payload expands to.
func expandAll(t *testing.T, s *Scratch, codec Codec, payload []byte) ([]byte, error) {
	t.Helper()
	src, err := s.expand(withPayload(craftBatch(1), codec, payload))
	defer s.release()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(src)
}

// TestExpand expands what other programs' codecs compress.
func TestExpand(t *testing.T) {
	var s Scratch
	for name, want := range corpus() {
		forms := map[string]struct {
			codec   Codec
			payload []byte
		}{
			"gzip":            {Gzip, compress(want, Gzip)},
			"gzip 9":          {Gzip, gzipAt(want, 9)},
			"snappy xerial":   {Snappy, xerial(want, 32<<10)},
			"snappy 1 MiB":    {Snappy, xerial(want, 1<<20)},
			"snappy raw":      {Snappy, snappy.Encode(nil, want)},
			"snappy s2":       {Snappy, s2.EncodeSnappyBetter(nil, want)},
			"snappy s2 best":  {Snappy, s2.EncodeSnappyBest(nil, want)},
			"lz4":             {LZ4, lz4Frame(want)},
			"lz4 large":       {LZ4, lz4Frame(want, lz4.BlockSizeOption(lz4.Block4Mb), lz4.ChecksumOption(true), lz4.BlockChecksumOption(true))},
			"zstd":            {Zstd, compress(want, Zstd)},
			"zstd best":       {Zstd, zstdAt(want, zstd.WithEncoderLevel(zstd.SpeedBestCompression))},
			"zstd big window": {Zstd, zstdAt(want, zstd.WithWindowSize(32<<20))},
		}
		for _, form := range sortedNames(forms) {
			got, err := expandAll(t, &s, forms[form].codec, forms[form].payload)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: %d bytes of %d, %v", form, name, len(got), len(want), err)
			}
		}
	}
}

// TestExpandLargeSnappy expands a raw block of 20 MiB, as kgo would write it, that refers back as far as its encoder goes.
func TestExpandLargeSnappy(t *testing.T) {
	want := make([]byte, 20<<20)
	rand.New(rand.NewSource(9)).Read(want[:3<<20])
	for i := 3 << 20; i < len(want); i++ {
		want[i] = want[i-(3<<20)]
	}
	for i := 0; i < len(want); i += 4099 {
		want[i] = byte(i)
	}
	var s Scratch
	for name, payload := range map[string][]byte{
		"fast": s2.EncodeSnappy(nil, want), "best": s2.EncodeSnappyBest(nil, want), "xerial": xerial(want, 16<<20),
	} {
		got, err := expandAll(t, &s, Snappy, payload)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d from %d, %v", name, len(got), len(want), len(payload), err)
		}
	}
	if cap(s.snappy.out) > snappyKept {
		t.Errorf("a buffer of %d bytes was kept", cap(s.snappy.out))
	}
	far := snappy.Encode(nil, make([]byte, snappyBuffer+20<<20))
	if got, err := expandAll(t, &s, Snappy, far); err != nil || len(got) != snappyBuffer+20<<20 {
		t.Errorf("more than the buffer: %d bytes, %v", len(got), err)
	}
}

func gzipAt(p []byte, level int) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, level)
	w.Write(p)
	w.Close()
	return out.Bytes()
}

// zstdAt compresses as a stream: the frame does not say how large its content is.
func zstdAt(p []byte, o ...zstd.EOption) []byte {
	var out bytes.Buffer
	w, _ := zstd.NewWriter(&out, append(o, zstd.WithEncoderConcurrency(1))...)
	w.Write(p)
	w.Close()
	return out.Bytes()
}

// TestXXHash compares with known values of xxHash-32, seed 0.
func TestXXHash(t *testing.T) {
	for in, want := range map[string]uint32{
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff,
		"Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		if got := xxHash32([]byte(in)); got != want {
			t.Errorf("xxHash32(%q) = %08x, want %08x", in, got, want)
		}
	}
}

// bombs are payloads that expand to about n bytes of one record's value, with the record's true length in front.
func bombs(n int) map[Codec][]byte {
	record := AppendVarint(nil, int32(n+12))
	record = append(record, 0, 0, 0, 1)
	record = AppendVarint(record, int32(n))
	zeros := make([]byte, n)
	whole := append(append(record, zeros...), 0)
	out := map[Codec][]byte{}
	for _, codec := range codecs[1:] {
		out[codec] = compress(whole, codec)
	}
	return out
}

// TestBombs checks batches that expand a few hundred times, and measures what that allocates.
func TestBombs(t *testing.T) {
	const expanded = 100 << 20
	payloads := bombs(expanded)
	rules := DefaultRules()
	rules.MaxMessageBytes = 100 << 20
	var s Scratch
	for _, codec := range codecs[1:] {
		b := withPayload(craftBatch(1), codec, payloads[codec])
		if _, code := CheckProduced(b, 9, &rules); code != NONE {
			t.Fatalf("%v: %v", codec, code)
		}
		CheckCompressed(craftFor(codec), &rules, craftedTime, &s) // decoders are made once
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v := CheckCompressed(b, &rules, craftedTime, &s)
		runtime.ReadMemStats(&after)
		if v.Code != INVALID_RECORD { // its length is off by a few bytes: all of it was walked over
			t.Errorf("%v: %v", codec, v.Code)
		}
		allowed := uint64(16 << 20)
		if codec == Snappy {
			allowed = 2 * snappyBuffer // while it doubles; a snappy bomb is 22 times its size at most
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > allowed {
			t.Errorf("%v: %d bytes expanded to %d, and %d were allocated", codec, len(b), expanded, allocated)
		}
		var it Records
		it.Open(b, &s)
		var r Record
		for it.Next(&r) {
		}
		it.Close()
	}
}

func craftFor(codec Codec) Batch { return compressed(craftBatch(3), codec) }

// TestExpansionLimit refuses a batch that would expand to 3 GiB of zeros, after MaxExpandedBytes of it.
func TestExpansionLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("expands a gigabyte: not in short mode")
	}
	// A frame of RLE blocks, 128 KiB of zeros each for four bytes of input, window 1 MiB.
	payload := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3}
	record := append(AppendVarint(nil, 1<<31-1), 0, 0, 0, 1)
	record = AppendVarint(record, 1<<31-1)
	payload = append(payload, byte(len(record)<<3), 0, 0)
	payload = append(payload, record...)
	for range 3 << 13 {
		header := uint32(1<<1 | (128<<10)<<3)
		payload = append(payload, byte(header), byte(header>>8), byte(header>>16), 0)
	}
	payload = append(payload, 1, 0, 0)
	b := withPayload(craftBatch(1), Zstd, payload)
	rules := DefaultRules()
	var s Scratch
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v := CheckCompressed(b, &rules, craftedTime, &s)
	runtime.ReadMemStats(&after)
	if v.Code != MESSAGE_TOO_LARGE {
		t.Errorf("%d bytes that expand to 3 GiB: %v", len(b), v.Code)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16<<20 {
		t.Errorf("%d bytes were allocated", allocated)
	}
}

// TestScratchReuse uses one Scratch for sound and broken batches in turn, and several at the same time.
func TestScratchReuse(t *testing.T) {
	rules := DefaultRules()
	var users sync.WaitGroup
	for user := range 3 {
		users.Go(func() {
			r := rand.New(rand.NewSource(int64(user)))
			var s Scratch
			for range 200 {
				codec := codecs[1+r.Intn(4)]
				payload := compress(craftBatch(100).Payload(), codec)
				if codec == Zstd && r.Intn(4) == 0 {
					payload = zstdAt(craftBatch(100).Payload(), zstd.WithWindowSize(16<<20))
				}
				broken := bytes.Clone(payload)
				broken = broken[:r.Intn(len(broken))]
				CheckCompressed(withPayload(craftBatch(100), codec, broken), &rules, craftedTime, &s)
				if v := CheckCompressed(withPayload(craftBatch(100), codec, payload), &rules, craftedTime, &s); v.Code != NONE || v.MaxTimestamp != craftedTime+99 {
					t.Errorf("%v after a broken batch: %+v", codec, v)
					return
				}
			}
		})
	}
	users.Wait()
}

// TestCheckCompressedAllocation keeps an eye on what a pooled Scratch saves.
func TestCheckCompressedAllocation(t *testing.T) {
	rules := DefaultRules()
	for _, codec := range codecs[1:] {
		b := compressed(craftBatch(200), codec)
		var s Scratch
		CheckCompressed(b, &rules, craftedTime, &s)
		allocated := testing.AllocsPerRun(50, func() { CheckCompressed(b, &rules, craftedTime, &s) })
		if allocated > 8 {
			t.Errorf("%v: %v allocations a batch", codec, allocated)
		}
	}
}

// FuzzSnappy compares our streaming reader with the whole-block decoder.
func FuzzSnappy(f *testing.F) {
	for _, p := range corpus() {
		f.Add(snappy.Encode(nil, p[:min(len(p), 5000)]))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, block []byte) {
		if hasXerialHeader(block) {
			return
		}
		var s snappyReader
		err := s.reset(block)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(io.LimitReader(&s, 1<<20))
		}
		if n, lenErr := snappy.DecodedLen(block); lenErr != nil || n > 1<<20 {
			return
		}
		want, theirErr := snappy.Decode(nil, block)
		if (err == nil) != (theirErr == nil) {
			t.Fatalf("we say %v, snappy %v", err, theirErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("we read %x, snappy %x", got, want)
		}
	})
}

// FuzzLZ4 compares our frame reader with the library's, where both read the frame.
func FuzzLZ4(f *testing.F) {
	for _, p := range corpus() {
		f.Add(lz4Frame(p[:min(len(p), 3000)]))
		f.Add(lz4Frame(p[:min(len(p), 3000)], lz4.BlockChecksumOption(true), lz4.ChecksumOption(true)))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var l lz4Reader
		err := l.reset(frame)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(io.LimitReader(&l, 1<<20))
		}
		want, theirErr := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(frame)), 1<<20))
		if err == nil && theirErr == nil && !bytes.Equal(got, want) && len(want) < 1<<20 {
			if !bytes.HasPrefix(want, got) { // the library goes on with a second frame
				t.Fatalf("we read %x, the library %x", got, want)
			}
		}
	})
}
