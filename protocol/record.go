package protocol

// A record, inside a batch. Lengths, deltas and counts are zigzag varints:
//
//	+--------+------------+-----------------+--------------+-----------+-------------+---------+
//	| length | attributes | timestamp delta | offset delta | key       | value       | headers |
//	| varint | int8, 0    | varlong, ms     | varint       | length -1 | length -1   | count   |
//	|        |            |                 |              | for null  | for null    | varint  |
//	+--------+------------+-----------------+--------------+-----------+-------------+---------+
//	headers: count x | key length, key | value length (-1: null), value |
//
// length counts from the attributes to the end of the headers.

// RecordHeader is one header of a record. A nil Value is null; a nil Key is empty, for a header's key
// cannot be null.
type RecordHeader struct {
	Key, Value []byte
}

// Record is one record of a batch, with deltas resolved.
type Record struct {
	Offset     int64
	Timestamp  int64  // ms
	Key, Value []byte // nil: null
	Headers    []RecordHeader
}

// recordBytes is the size of a record without its own length.
func recordBytes(timestampDelta int64, offsetDelta int32, r *Record) int {
	n := 1 + varlongBytes(timestampDelta) + varintBytes(offsetDelta) + nullableBytes(r.Key) + nullableBytes(r.Value)
	n += varintBytes(int32(len(r.Headers)))
	for i := range r.Headers {
		n += varintBytes(int32(len(r.Headers[i].Key))) + len(r.Headers[i].Key) + nullableBytes(r.Headers[i].Value)
	}
	return n
}

func nullableBytes(p []byte) int {
	if p == nil {
		return 1
	}
	return varintBytes(int32(len(p))) + len(p)
}

func appendNullable(b, p []byte) []byte {
	if p == nil {
		return AppendVarint(b, -1)
	}
	return append(AppendVarint(b, int32(len(p))), p...)
}

// appendRecord appends a record; its own Offset and Timestamp are not looked at.
func appendRecord(b []byte, timestampDelta int64, offsetDelta int32, r *Record) []byte {
	b = AppendVarint(b, int32(recordBytes(timestampDelta, offsetDelta, r)))
	b = append(b, 0)
	b = AppendVarlong(b, timestampDelta)
	b = AppendVarint(b, offsetDelta)
	b = appendNullable(b, r.Key)
	b = appendNullable(b, r.Value)
	b = AppendVarint(b, int32(len(r.Headers)))
	for i := range r.Headers {
		b = AppendVarint(b, int32(len(r.Headers[i].Key)))
		b = append(b, r.Headers[i].Key...)
		b = appendNullable(b, r.Headers[i].Value)
	}
	return b
}
