package clients

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math/rand"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// badFrames are bytes that are no request of ours. Each is sent on a connection of its own.
func badFrames() map[string][]byte {
	be := binary.BigEndian
	length := func(n uint32, rest ...byte) []byte { return append(be.AppendUint32(nil, n), rest...) }
	random := make([]byte, 4096)
	rand.New(rand.NewSource(1)).Read(random)
	metadata := harness.Encode(metadataFor(), 1)
	flexible := metadataFor()
	flexible.SetVersion(12)
	return map[string][]byte{
		"length -1":                      length(0xffffffff, 1, 2, 3, 4),
		"length 0":                       length(0),
		"length -2147483648":             length(0x80000000),
		"length 2 GiB - 1":               length(0x7fffffff, harness.Header(3, 1, 1)...),
		"length over the limit":          length(100<<20+1, harness.Header(3, 1, 1)...),
		"length 3":                       length(3, 0, 3, 0),
		"length 7":                       length(7, 0, 3, 0, 1, 0, 0, 0),
		"a truncated frame":              metadata[:len(metadata)-2],
		"a truncated length":             {0, 0},
		"random bytes":                   random,
		"random bytes in a frame":        harness.Frame(random),
		"an HTTP request":                []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"a TLS hello":                    {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8},
		"unknown key 9999":               harness.Frame(harness.Header(9999, 0, 5)),
		"negative key":                   harness.Frame(harness.Header(-1, 0, 5)),
		"Metadata version 99":            harness.Frame(harness.Header(3, 99, 5)),
		"Metadata version -1":            harness.Frame(harness.Header(3, -1, 5)),
		"Produce version 2":              harness.Frame(harness.Header(0, 2, 5, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0)),
		"Fetch version 3":                harness.Frame(harness.Header(1, 3, 5)),
		"LeaderAndIsr, gone since 4.0":   harness.Frame(harness.Header(4, 0, 5)),
		"Metadata without a body":        harness.Frame(harness.Header(3, 1, 5)),
		"Metadata with 2^31-1 topics":    harness.Frame(harness.Header(3, 1, 5, 0x7f, 0xff, 0xff, 0xff)),
		"Metadata with a long name":      harness.Frame(harness.Header(3, 1, 5, 0, 0, 0, 1, 0x7f, 0xff, 'a')),
		"a client id longer than it is":  harness.Frame([]byte{0, 3, 0, 1, 0, 0, 0, 5, 0x7f, 0xff, 'x'}),
		"a null client id":               harness.Frame([]byte{0, 3, 0, 1, 0, 0, 0, 5, 0xff, 0xff, 0, 0, 0, 0}),
		"flexible Metadata, cut":         cut(harness.Encode(flexible, 5), 4),
		"Metadata 9 with 2^32 topics":    harness.Frame(harness.Header(3, 9, 5, 0, 0xff, 0xff, 0xff, 0xff, 0xf)),
		"Metadata 9 with endless varint": harness.Frame(harness.Header(3, 9, 5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
		"Metadata 9 with 2^31 tags":      harness.Frame(harness.Header(3, 9, 5, 0xff, 0xff, 0xff, 0xff, 7)),
		"Produce with 2^31-1 topics":     harness.Frame(harness.Header(0, 7, 5, 0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff)),
		"Fetch with 2^31-1 topics":       harness.Frame(harness.Header(1, 4, 5, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x7f, 0xff, 0xff, 0xff)),
		"CreateTopics with -9 topics":    harness.Frame(harness.Header(19, 2, 5, 0xff, 0xff, 0xff, 0xf7)),
		"ApiVersions 3, garbage body":    harness.Frame(harness.Header(18, 3, 5, 0, 0xff, 0xff)),
	}
}

// cut shortens a frame by n bytes and makes its length agree.
func cut(frame []byte, n int) []byte { return harness.Frame(frame[4 : len(frame)-n]) }

func scriptBadFrames(s *script) {
	frames := badFrames()
	for _, name := range sortedNames(frames) {
		s.raw(name, frames[name], nil)
	}
	// ApiVersions in a version from the future is answered in version 0, so that the client learns what there is.
	s.raw("ApiVersions version 99", harness.Frame(harness.Header(18, 99, 5, 0, 2, 'x', 2, 'y', 0)), func(body []byte) any {
		req := kmsg.NewPtrApiVersionsRequest()
		req.SetVersion(0)
		resp, err := harness.Decode(req, 5, body)
		if err != nil {
			return err.Error()
		}
		r := resp.(*kmsg.ApiVersionsResponse)
		if len(r.ApiKeys) == 0 {
			return "no keys"
		}
		return map[string]any{"ErrorCode": r.ErrorCode}
	})
}

// badBatches are record batches that no sound producer sends.
func badBatches() map[string][]byte {
	change := func(f func(b *harness.Batch)) []byte {
		b := harness.NewBatch("one", "two", "three")
		f(&b)
		return b.Bytes()
	}
	patch := func(at int, value ...byte) []byte { // past the CRC nothing: these bytes precede it
		b := harness.NewBatch("one", "two", "three").Bytes()
		copy(b[at:], value)
		return b
	}
	compressed := func(codec int16, payload []byte, count int) []byte {
		b := harness.NewBatch(make([]string, count)...)
		b.Payload, b.Attributes = payload, codec
		return b.Bytes()
	}
	sound := harness.NewBatch("one", "two", "three")
	return map[string][]byte{
		"wrong CRC":                         change(func(b *harness.Batch) { b.BreakCRC = true }),
		"length one too long":               change(func(b *harness.Batch) { b.LengthDelta = 1 }),
		"length one too short":              change(func(b *harness.Batch) { b.LengthDelta = -1 }),
		"length 2^31-1":                     patch(8, 0x7f, 0xff, 0xff, 0xff),
		"length -1":                         patch(8, 0xff, 0xff, 0xff, 0xff),
		"length 0":                          patch(8, 0, 0, 0, 0),
		"length 10":                         patch(8, 0, 0, 0, 10),
		"magic 0":                           change(func(b *harness.Batch) { b.Magic = 0 }),
		"magic 1":                           change(func(b *harness.Batch) { b.Magic = 1 }),
		"magic 3":                           patch(16, 3),
		"magic -1":                          patch(16, 0xff),
		"a count of one more":               change(func(b *harness.Batch) { b.CountDelta = 1 }),
		"a count and last offset of 1 more": change(func(b *harness.Batch) { b.CountDelta, b.LastDeltaDelta = 1, 1 }),
		"a count and last offset of 1 less": change(func(b *harness.Batch) { b.CountDelta, b.LastDeltaDelta = -1, -1 }),
		"a count of 2^31-1":                 change(func(b *harness.Batch) { b.CountDelta, b.LastDeltaDelta = 1<<31-4, 1<<31-4 }),
		"a negative count":                  change(func(b *harness.Batch) { b.CountDelta = -8 }),
		"no records":                        change(func(b *harness.Batch) { b.Values = nil }),
		"a last offset of one more":         change(func(b *harness.Batch) { b.LastDeltaDelta = 1 }),
		"a negative last offset":            change(func(b *harness.Batch) { b.LastDeltaDelta = -7 }),
		"a control batch":                   change(func(b *harness.Batch) { b.Attributes = 0x20 }),
		"a transactional batch":             change(func(b *harness.Batch) { b.Attributes, b.ProducerID, b.Epoch, b.Sequence = 0x10, 77, 0, 0 }),
		"an unknown codec":                  change(func(b *harness.Batch) { b.Attributes = 6 }),
		"a base offset that is not 0":       patch(0, 0, 0, 0, 0, 0, 0, 1, 0),
		"half a batch":                      sound.Bytes()[:40],
		"a batch and half another":          append(sound.Bytes(), sound.Bytes()[:30]...),
		"ten bytes":                         sound.Bytes()[:10],
		"random bytes":                      randomBytes(500),
		"gzip of garbage":                   compressed(1, randomBytes(100), 3),
		"gzip, sound":                       compressed(1, gzipped(sound.Records()), 3),
		"gzip, cut short":                   compressed(1, gzipped(sound.Records())[:20], 3),
		"gzip, with a lying count":          compressed(1, gzipped(sound.Records()), 4),
		"gzip, followed by garbage":         compressed(1, append(gzipped(sound.Records()), randomBytes(20)...), 3),
		"snappy of garbage":                 compressed(2, randomBytes(100), 3),
		"lz4 of garbage":                    compressed(3, randomBytes(100), 3),
		"zstd of garbage":                   compressed(4, randomBytes(100), 3),
		"a record longer than the batch":    change(func(b *harness.Batch) { b.Payload = append(binary.AppendVarint(nil, 1<<20), b.Records()[1:]...) }),
		"a record of negative length":       change(func(b *harness.Batch) { b.Payload = append(binary.AppendVarint(nil, -5), b.Records()[1:]...) }),
		"records, then garbage":             change(func(b *harness.Batch) { b.Payload = append(b.Records(), 1, 2, 3) }),
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// scriptBadBatches produces each to a partition and afterwards asks where the partition ends: refused means not there.
func scriptBadBatches(s *script) {
	id := s.topic("bad", 1, "retention.ms", "-1")
	batches := badBatches()
	for _, name := range sortedNames(batches) {
		s.ask(name, 9, harness.Produce(9, "bad", id, 0, -1, batches[name]))
		s.ask(fmt.Sprintf("%s: the end", name), 7, listOffsets("bad", -1, -1, 0))
	}
	// What is left must be readable as if nothing had been.
	req := fetchRequest(12, "bad", id, 0, 0)
	s.ask("what is there", 12, req)
}
