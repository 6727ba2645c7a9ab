package protocol

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const craftedTime = int64(1_700_000_000_000)

// craftBatch is a sound batch of n small records with keys, uncompressed.
func craftBatch(n int) Batch {
	return craftRecords(n, func(i int, r *Record) {})
}

func craftRecords(n int, edit func(int, *Record)) Batch {
	var bl Builder
	bl.Begin(nil, NewBatchInfo(0, -1))
	for i := range n {
		r := Record{Timestamp: craftedTime + int64(i), Key: []byte{'k', byte('0' + i%10)}, Value: []byte("value of a record")}
		if i%3 == 1 {
			r.Headers = []RecordHeader{{Key: []byte("h"), Value: []byte("v")}, {Key: []byte("n")}}
		}
		edit(i, &r)
		bl.Append(&r)
	}
	_, b := bl.Finish()
	return b
}

// edited returns b with bytes put at a place, and the CRC put right.
func edited(b Batch, at int, with ...byte) Batch {
	c := Batch(bytes.Clone(b))
	copy(c[at:], with)
	c.setCRC()
	return c
}

func edited32(b Batch, at int, v int32) Batch {
	return edited(b, at, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func edited64(b Batch, at int, v int64) Batch {
	return edited(b, at, binary.BigEndian.AppendUint64(nil, uint64(v))...)
}

// withPayload returns b with other bytes for its records, and length and CRC put right.
func withPayload(b Batch, codec Codec, payload []byte) Batch {
	c := Batch(append(bytes.Clone(b[:HeaderBytes]), payload...))
	binary.BigEndian.PutUint32(c[8:], uint32(len(c)-LogOverhead))
	c[22] = c[22]&^AttrCodec | byte(codec)
	c.setCRC()
	return c
}

// compressed returns b with its records in another codec.
func compressed(b Batch, codec Codec) Batch {
	return withPayload(b, codec, compress(b.Payload(), codec))
}

func compress(p []byte, codec Codec) []byte {
	var out bytes.Buffer
	switch codec {
	case None:
		return p
	case Gzip:
		w := gzip.NewWriter(&out)
		w.Write(p)
		w.Close()
	case Snappy:
		return xerial(p, 1<<15)
	case LZ4:
		return lz4Frame(p)
	case Zstd:
		w, _ := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		w.Write(p)
		w.Close()
	}
	return out.Bytes()
}

func lz4Frame(p []byte, options ...lz4.Option) []byte {
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	w.Apply(append([]lz4.Option{lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)}, options...)...)
	w.Write(p)
	w.Close()
	return out.Bytes()
}

// xerial is snappy as snappy-java frames it, in chunks of at most chunk bytes.
func xerial(p []byte, chunk int) []byte {
	out := append([]byte(nil), xerialMagic[:]...)
	out = append(out, 0, 0, 0, 1, 0, 0, 0, 1)
	for len(p) > 0 {
		n := min(chunk, len(p))
		block := snappy.Encode(nil, p[:n])
		out = binary.BigEndian.AppendUint32(out, uint32(len(block)))
		out = append(out, block...)
		p = p[n:]
	}
	return out
}

// rawRecord is a record of which every field can be a lie.
type rawRecord struct {
	attributes                 byte
	timestampDelta             int64
	offsetDelta                int32
	keyLength, valueLength     int32
	key, value                 string
	headerCount                int32
	headers                    []byte
	length                     int32 // 0: the truth
	addLength                  int32
	lengthBytes, trailing      []byte
	keyLengthBytes, countBytes []byte
}

func (r rawRecord) append(b []byte) []byte {
	body := []byte{r.attributes}
	body = AppendVarlong(body, r.timestampDelta)
	body = AppendVarint(body, r.offsetDelta)
	if r.keyLengthBytes != nil {
		body = append(body, r.keyLengthBytes...)
	} else {
		body = AppendVarint(body, r.keyLength)
	}
	body = append(body, r.key...)
	body = AppendVarint(body, r.valueLength)
	body = append(body, r.value...)
	if r.countBytes != nil {
		body = append(body, r.countBytes...)
	} else {
		body = AppendVarint(body, r.headerCount)
	}
	body = append(body, r.headers...)
	body = append(body, r.trailing...)
	if r.lengthBytes != nil {
		return append(append(b, r.lengthBytes...), body...)
	}
	length := r.length
	if length == 0 {
		length = int32(len(body)) + r.addLength
	}
	return append(AppendVarint(b, length), body...)
}

func sound(i int32) rawRecord {
	return rawRecord{offsetDelta: i, keyLength: 1, key: "k", valueLength: 5, value: "value"}
}

// rawBatch is a batch of raw records whose header tells the truth.
func rawBatch(codec Codec, records ...rawRecord) Batch {
	b := craftBatch(1)
	var payload []byte
	for _, r := range records {
		payload = r.append(payload)
	}
	b = edited32(edited32(b, 57, int32(len(records))), 23, int32(len(records)-1))
	return withPayload(b, codec, compress(payload, codec))
}

// craftedRecords are batches with something odd about one of their records, in a codec.
func craftedRecords(codec Codec) map[string]Batch {
	edit := func(f func(*rawRecord)) Batch {
		r := sound(1)
		f(&r)
		return rawBatch(codec, sound(0), r, sound(2))
	}
	last := func(f func(*rawRecord)) Batch {
		r := sound(2)
		f(&r)
		return rawBatch(codec, sound(0), sound(1), r)
	}
	long := []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x01}
	return map[string]Batch{
		"sound":                         rawBatch(codec, sound(0), sound(1), sound(2)),
		"record length too small":       edit(func(r *rawRecord) { r.addLength = -1 }),
		"record length too large":       edit(func(r *rawRecord) { r.addLength = 1 }),
		"record length zero":            edit(func(r *rawRecord) { r.lengthBytes = []byte{0} }),
		"record length negative":        edit(func(r *rawRecord) { r.length = -5 }),
		"record length huge":            edit(func(r *rawRecord) { r.length = 1 << 30 }),
		"record length varint too long": edit(func(r *rawRecord) { r.lengthBytes = long }),
		"last record length too large":  last(func(r *rawRecord) { r.addLength = 1 }),
		"last record length too small":  last(func(r *rawRecord) { r.addLength = -1 }),
		"record attributes set":         edit(func(r *rawRecord) { r.attributes = 0x7f }),
		"key length beyond record":      edit(func(r *rawRecord) { r.keyLength = 100 }),
		"key length huge":               edit(func(r *rawRecord) { r.keyLength = 1<<31 - 1 }),
		"key length -2":                 edit(func(r *rawRecord) { r.keyLength, r.key = -2, "" }),
		"key length min":                edit(func(r *rawRecord) { r.keyLength, r.key = -1<<31, "" }),
		"key length varint too long":    edit(func(r *rawRecord) { r.keyLengthBytes = long }),
		"value length beyond record":    edit(func(r *rawRecord) { r.valueLength = 1000 }),
		"value length -2":               edit(func(r *rawRecord) { r.valueLength, r.value = -2, "" }),
		"null key and value":            edit(func(r *rawRecord) { r.keyLength, r.key, r.valueLength, r.value = -1, "", -1, "" }),
		"header count negative":         edit(func(r *rawRecord) { r.headerCount = -1 }),
		"header count too large":        edit(func(r *rawRecord) { r.headerCount = 1000 }),
		"header count huge":             edit(func(r *rawRecord) { r.headerCount = 1<<31 - 1 }),
		"header key null":               edit(func(r *rawRecord) { r.headerCount, r.headers = 1, []byte{1, 1} }),
		"header value null":             edit(func(r *rawRecord) { r.headerCount, r.headers = 1, []byte{2, 'h', 1} }),
		"header value -2":               edit(func(r *rawRecord) { r.headerCount, r.headers = 1, []byte{2, 'h', 3} }),
		"header key too long":           edit(func(r *rawRecord) { r.headerCount, r.headers = 1, []byte{100, 'h', 1} }),
		"bytes after record":            edit(func(r *rawRecord) { r.trailing = []byte{0, 0} }),
		"bytes after last record":       withTail(rawBatch(codec, sound(0), sound(1)), codec),
		"offset delta repeated":         edit(func(r *rawRecord) { r.offsetDelta = 0 }),
		"offset delta skips":            edit(func(r *rawRecord) { r.offsetDelta = 7 }),
		"offset delta negative":         edit(func(r *rawRecord) { r.offsetDelta = -1 }),
		"timestamp delta wraps":         edit(func(r *rawRecord) { r.timestampDelta = 1<<63 - 1 }),
		"count one too many":            edited32(edited32(rawBatch(codec, sound(0), sound(1)), 57, 3), 23, 2),
		"count one too few":             edited32(edited32(rawBatch(codec, sound(0), sound(1), sound(2)), 57, 2), 23, 1),
		"count enormous":                edited32(edited32(rawBatch(codec, sound(0)), 57, 1<<31-1), 23, 1<<31-2),
		"no payload":                    withPayload(rawBatch(None, sound(0)), codec, nil),
		"no records in payload":         withPayload(rawBatch(None, sound(0)), codec, compress(nil, codec)),
	}
}

func withTail(b Batch, codec Codec) Batch {
	payload := append(rawBatch(None, sound(0), sound(1)).Payload(), 1, 2, 3)
	return withPayload(b, codec, compress(payload, codec))
}

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// craftedBatches are the records fields that a real Kafka is asked about, without its answers.
func craftedBatches() []oracleAnswer {
	var all []oracleAnswer
	add := func(topic string, version int16, name string, records []byte) {
		all = append(all, oracleAnswer{Name: name, Topic: topic, Version: version, Records: records})
	}
	for _, codec := range codecs {
		batches := craftedRecords(codec)
		for _, name := range sortedNames(batches) {
			add("plain", 9, codec.String()+": "+name, batches[name])
		}
		for _, version := range []int16{3, 6, 7, 13} {
			add("plain", version, codec.String()+": sound, version "+itoa(version), compressed(craftBatch(3), codec))
		}
		craftedTimestamps(codec, add)
	}
	craftedHeaders(add)
	craftedCompression(add)
	return all
}

func craftedTimestamps(codec Codec, add func(string, int16, string, []byte)) {
	stamp := func(ts ...int64) Batch {
		return compressed(craftRecords(len(ts), func(i int, r *Record) { r.Timestamp = ts[i] }), codec)
	}
	at := func(topic, name string, b Batch) {
		add(topic, 9, codec.String()+": "+topic+": "+name, b)
	}
	future := int64(4_102_444_800_000)
	for _, topic := range []string{"plain", "append"} {
		at(topic, "timestamp -1", stamp(-1, -1))
		at(topic, "timestamp -1 and good", stamp(-1, craftedTime))
		at(topic, "timestamp -2", stamp(-2))
		at(topic, "timestamp 0", stamp(0))
		at(topic, "timestamps in the future", stamp(craftedTime, future, craftedTime, future+1))
		at(topic, "max timestamp too small", edited64(stamp(craftedTime, craftedTime+9), 35, craftedTime))
		at(topic, "max timestamp too large", edited64(stamp(craftedTime, craftedTime+9), 35, craftedTime+99))
		at(topic, "max timestamp -1", edited64(stamp(craftedTime), 35, -1))
		at(topic, "log append time", edited(stamp(craftedTime, craftedTime+1), 22, byte(codec)|AttrLogAppendTime))
		at(topic, "log append time, timestamp -1", edited(stamp(-1, -1), 22, byte(codec)|AttrLogAppendTime))
		at(topic, "log append time, future", edited(stamp(future), 22, byte(codec)|AttrLogAppendTime))
		at(topic, "log append time, null key", edited(rawBatch(codec, rawRecord{keyLength: -1, valueLength: -1}), 22, byte(codec)|AttrLogAppendTime))
		at(topic, "delete horizon", edited(stamp(craftedTime), 22, byte(codec)|AttrDeleteHorizon))
		at(topic, "unused attributes", edited(stamp(craftedTime), 21, 0xff, byte(codec)|0x80))
		at(topic, "null keys", rawBatch(codec, rawRecord{keyLength: -1, valueLength: -1}))
	}
	at("before", "timestamps too old", stamp(craftedTime, craftedTime+1, craftedTime+2, craftedTime+3, craftedTime+4))
	at("before", "timestamp 0", stamp(0))
	keyless := func(without ...int) Batch {
		return compressed(craftRecords(6, func(i int, r *Record) {
			for _, w := range without {
				if i == w {
					r.Key = nil
				}
			}
		}), codec)
	}
	at("compact", "keys", keyless())
	at("compact", "one key missing", keyless(2))
	at("compact", "five keys missing", keyless(0, 1, 3, 4, 5))
	at("compact", "key missing and future", compressed(craftRecords(3, func(i int, r *Record) {
		if i == 1 {
			r.Timestamp = future
		} else {
			r.Key = nil
		}
	}), codec))
}

func craftedHeaders(add func(string, int16, string, []byte)) {
	b := craftBatch(3)
	put := func(name string, records []byte) { add("plain", 9, name, records) }
	put("null records", nil)
	put("empty records", []byte{})
	for _, n := range []int{1, 11, 12, 16, 17, 60, 61, len(b) - 1} {
		put("cut to "+itoa(n), b[:n])
	}
	for _, n := range []int{1, 11, 12, 16, 17, 40} {
		put("followed by "+itoa(n)+" bytes of another", append(bytes.Clone(b), b[:n]...))
	}
	put("followed by zeros", append(bytes.Clone(b), make([]byte, 20)...))
	put("followed by 0xff", append(bytes.Clone(b), bytes.Repeat([]byte{0xff}, 20)...))
	put("followed by a magic 1 header", append(bytes.Clone(b), append(b[:16:16], 1)...))
	put("followed by a magic 3 header", append(bytes.Clone(b), append(b[:16:16], 3)...))
	put("two batches", append(bytes.Clone(b), b...))
	crc := bytes.Clone(b)
	crc[18] ^= 1
	put("wrong CRC", crc)
	for _, n := range []int32{-1, 0, 13, 14, 20, 48, 49, 1 << 30} {
		put("length "+itoa(n), edited32(b, 8, n))
	}
	put("length one too small", edited32(b, 8, b.Length()-1))
	put("length one too large", edited32(b, 8, b.Length()+1))
	for _, m := range []byte{0, 1, 3, 0xff} {
		for _, version := range []int16{3, 9, 13} {
			add("plain", version, "magic "+itoa(m)+", version "+itoa(version), edited(b, 16, m))
		}
	}
	add("plain", 3, "a message set of magic 0", legacyMessage(0))
	add("plain", 3, "a message set of magic 1", legacyMessage(1))
	put("base offset 1", edited64(b, 0, 1))
	put("base offset -1", edited64(b, 0, -1))
	put("leader epoch 7", edited32(b, 12, 7))
	for _, n := range []int32{-1, 0, 2, 4, 1<<31 - 1, -1 << 31} {
		put("count "+itoa(n), edited32(b, 57, n))
		put("last offset delta "+itoa(n), edited32(b, 23, n))
		put("both "+itoa(n), edited32(edited32(b, 57, n), 23, n-1))
	}
	put("control", edited(b, 22, AttrControl))
	put("control, transactional", edited(b, 22, AttrControl|AttrTransactional))
	put("transactional without a producer", edited(b, 22, AttrTransactional))
	put("producer without a sequence", edited64(b, 43, 4000))
	put("producer id -2", edited64(b, 43, -2))
	put("producer epoch without a producer", edited(b, 51, 0, 1))
	put("sequence without a producer", edited32(b, 53, 7))
	for codec := byte(5); codec < 8; codec++ {
		put("codec "+itoa(codec), edited(b, 22, codec))
	}
	put("gzip said, none meant", edited(b, 22, byte(Gzip)))
	put("snappy said, none meant", edited(b, 22, byte(Snappy)))
	put("lz4 said, none meant", edited(b, 22, byte(LZ4)))
	put("zstd said, none meant", edited(b, 22, byte(Zstd)))
	put("none said, gzip meant", edited(compressed(b, Gzip), 22, 0))
	add("small", 9, "too large", craftBatch(20))
	add("small", 9, "too large and wrong CRC", append(crc[:len(crc):len(crc)], craftBatch(20)...))
	big := bytes.Clone(craftBatch(20))
	big[18] ^= 1
	add("small", 9, "too large with a wrong CRC", big)
	add("small", 9, "too large and control", edited(craftBatch(20), 22, AttrControl))
	offset := edited64(craftBatch(20), 0, 5)
	add("small", 9, "too large with a base offset", offset)
	add("plain", 9, "wrong CRC and control", wrongCRC(edited(b, 22, AttrControl)))
	add("plain", 9, "wrong CRC and base offset", wrongCRC(edited64(b, 0, 5)))
	add("plain", 9, "wrong CRC and count", wrongCRC(edited32(b, 57, 9)))
	add("plain", 6, "wrong CRC and zstd", wrongCRC(compressed(b, Zstd)))
}

func wrongCRC(b Batch) Batch {
	c := Batch(bytes.Clone(b))
	c[17] ^= 0x80
	return c
}

// craftedCompression are batches whose compressed stream itself is odd.
func craftedCompression(add func(string, int16, string, []byte)) {
	b := craftBatch(200)
	p := b.Payload()
	put := func(name string, codec Codec, payload []byte) { add("plain", 9, name, withPayload(b, codec, payload)) }
	for _, codec := range codecs[1:] {
		whole := compress(p, codec)
		put(codec.String()+": cut in the middle", codec, whole[:len(whole)/2])
		put(codec.String()+": cut by one byte", codec, whole[:len(whole)-1])
		put(codec.String()+": cut to 5", codec, whole[:5])
		put(codec.String()+": followed by junk", codec, append(bytes.Clone(whole), "junk"...))
		put(codec.String()+": two streams", codec, append(compress(p[:1000], codec), compress(p[1000:], codec)...))
		put(codec.String()+": a second, empty stream", codec, append(bytes.Clone(whole), compress(nil, codec)...))
		broken := bytes.Clone(whole)
		broken[len(broken)/2] ^= 0x55
		put(codec.String()+": broken in the middle", codec, broken)
		broken = bytes.Clone(whole)
		broken[0] ^= 0x55
		put(codec.String()+": broken magic", codec, broken)
		put(codec.String()+": zeros", codec, make([]byte, 64))
	}
	craftedSnappy(put, p)
	craftedLZ4(put, p)
	craftedZstd(put, p)
}

func craftedSnappy(put func(string, Codec, []byte), p []byte) {
	raw := snappy.Encode(nil, p)
	put("snappy: raw block", Snappy, raw)
	put("snappy: raw block cut", Snappy, raw[:len(raw)-3])
	put("snappy: raw block followed by junk", Snappy, append(bytes.Clone(raw), 0, 'x'))
	put("snappy: small chunks", Snappy, xerial(p, 100))
	put("snappy: length says more", Snappy, append(AppendUvarint(nil, uint32(len(p)+1)), raw[2:]...))
	put("snappy: length says less", Snappy, append(AppendUvarint(nil, uint32(len(p)-1)), raw[2:]...))
	odd := xerial(p, 1<<15)
	odd[11] = 9
	put("snappy: xerial version 9", Snappy, odd)
	odd = xerial(p, 1<<15)
	odd[15] = 9
	put("snappy: xerial compatible version 9", Snappy, odd)
	put("snappy: xerial header alone", Snappy, xerial(nil, 1))
	put("snappy: empty chunk", Snappy, append(xerial(p, 1<<15), 0, 0, 0, 1, 0))
	put("snappy: chunk of no bytes", Snappy, append(xerial(p, 1<<15), 0, 0, 0, 0))
	put("snappy: xerial twice", Snappy, append(xerial(p[:1000], 1<<15), xerial(p[1000:], 1<<15)...))
	put("snappy: chunk length negative", Snappy, append(xerial(p, 1<<15), 0xff, 0xff, 0xff, 0xff, 0))
	put("snappy: partial chunk length", Snappy, append(xerial(p, 1<<15), 0, 0))
}

func craftedLZ4(put func(string, Codec, []byte), p []byte) {
	put("lz4: content checksum", LZ4, lz4Frame(p, lz4.ChecksumOption(true)))
	wrong := lz4Frame(p, lz4.ChecksumOption(true))
	wrong[len(wrong)-1] ^= 1
	put("lz4: wrong content checksum", LZ4, wrong)
	put("lz4: content checksum missing", LZ4, wrong[:len(wrong)-4])
	sums := lz4Frame(p, lz4.BlockChecksumOption(true))
	put("lz4: block checksum", LZ4, sums)
	sums = bytes.Clone(sums)
	sums[len(sums)-6] ^= 1
	put("lz4: wrong block checksum", LZ4, sums)
	put("lz4: content size", LZ4, lz4Frame(p, lz4.SizeOption(uint64(len(p)))))
	put("lz4: blocks of 4 MiB", LZ4, lz4Frame(p, lz4.BlockSizeOption(lz4.Block4Mb)))
	header := func(edit func(h []byte)) []byte {
		f := bytes.Clone(lz4Frame(p))
		edit(f)
		f[6] = byte(xxHash32(f[4:6]) >> 8)
		return f
	}
	put("lz4: wrong header checksum", LZ4, func() []byte { f := bytes.Clone(lz4Frame(p)); f[6] ^= 1; return f }())
	put("lz4: dependent blocks", LZ4, header(func(h []byte) { h[4] &^= lz4Independent }))
	put("lz4: reserved flag", LZ4, header(func(h []byte) { h[4] |= 2 }))
	put("lz4: dictionary flag", LZ4, header(func(h []byte) { h[4] |= 1 }))
	put("lz4: version 2", LZ4, header(func(h []byte) { h[4] ^= 0xc0 }))
	put("lz4: reserved block bits", LZ4, header(func(h []byte) { h[5] |= 1 }))
	put("lz4: reserved block top bit", LZ4, header(func(h []byte) { h[5] |= 0x80 }))
	put("lz4: block size 3", LZ4, header(func(h []byte) { h[5] = 3 << 4 }))
	put("lz4: no end mark", LZ4, lz4Frame(p)[:len(lz4Frame(p))-4])
}

func craftedZstd(put func(string, Codec, []byte), p []byte) {
	enc := func(o ...zstd.EOption) []byte {
		e, _ := zstd.NewWriter(nil, append(o, zstd.WithEncoderConcurrency(1))...)
		return e.EncodeAll(p, nil)
	}
	put("zstd: single segment", Zstd, enc(zstd.WithSingleSegment(true)))
	put("zstd: no checksum", Zstd, enc(zstd.WithEncoderCRC(false)))
	wrong := enc()
	wrong[len(wrong)-1] ^= 1
	put("zstd: wrong checksum", Zstd, wrong)
	// frame header: magic, descriptor 0, window descriptor; a raw last block follows
	frame := func(window byte) []byte {
		f := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, window}
		f = append(f, byte(1|len(p)<<3), byte(len(p)>>5), byte(len(p)>>13))
		return append(f, p...)
	}
	put("zstd: window of 8 MiB", Zstd, frame(13<<3))
	put("zstd: window of 128 MiB", Zstd, frame(17<<3))
	put("zstd: window of 256 MiB", Zstd, frame(18<<3))
	put("zstd: window of 1 KiB", Zstd, frame(0))
	put("zstd: skippable frame first", Zstd, append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}, frame(13<<3)...))
}

// legacyMessage is a message set of one message of magic 0 or 1.
func legacyMessage(magic byte) []byte {
	body := []byte{magic, 0}
	if magic == 1 {
		body = AppendInt64(body, craftedTime)
	}
	body = AppendBytes(AppendBytes(body, []byte("k")), []byte("v"))
	set := AppendInt64(nil, 0)
	set = AppendInt32(set, int32(4+len(body)))
	set = AppendInt32(set, int32(crcIEEE(body)))
	return append(set, body...)
}

// TestCraftBatch makes sure that what the crafted batches start from is accepted.
func TestCraftBatch(t *testing.T) {
	rules := DefaultRules()
	for _, codec := range codecs {
		b, code := CheckProduced(compressed(craftBatch(50), codec), 9, &rules)
		if code != NONE {
			t.Fatalf("%v: %v", codec, code)
		}
		if v := CheckCompressed(b, &rules, craftedTime, new(Scratch)); v.Code != NONE || v.MaxTimestamp != craftedTime+49 || v.MaxTimestampDelta != 49 {
			t.Errorf("%v: %+v", codec, v)
		}
	}
}
