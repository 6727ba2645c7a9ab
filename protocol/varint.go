package protocol

// Variable-length integers: seven bits a byte, the lowest first, the top bit set on all but
// the last byte. Signed ones are zigzag coded: 0, -1, 1, -2, 2, ...
// At most 5 bytes make 32 bits and 10 bytes 64; a longer one is an error. Bits that
// do not fit are dropped, as Kafka's ByteUtils drops them, so an encoding need not be the shortest.

// Uvarint decodes a 32-bit unsigned varint from the front of b and returns it and the number of
// bytes it took: 0 if b ends too soon, -1 if the varint is too long.
func Uvarint(b []byte) (uint32, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), 1
	}
	var v uint32
	for i := 0; i < len(b) && i < 5; i++ {
		v |= uint32(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	if len(b) < 5 {
		return 0, 0
	}
	return 0, -1
}

// Uvarlong is Uvarint for 64 bits.
func Uvarlong(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	var v uint64
	for i := 0; i < len(b) && i < 10; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	if len(b) < 10 {
		return 0, 0
	}
	return 0, -1
}

// Varint decodes a zigzag 32-bit varint; the count is as Uvarint's.
func Varint(b []byte) (int32, int) {
	v, n := Uvarint(b)
	return unzigzag32(v), n
}

// Varlong decodes a zigzag 64-bit varint; the count is as Uvarint's.
func Varlong(b []byte) (int64, int) {
	v, n := Uvarlong(b)
	return unzigzag64(v), n
}

func unzigzag32(v uint32) int32 { return int32(v>>1) ^ -int32(v&1) }
func unzigzag64(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func zigzag32(v int32) uint32 { return uint32(v<<1) ^ uint32(v>>31) }
func zigzag64(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// uvarintBytes returns how many bytes AppendUvarint appends.
func uvarintBytes(v uint32) int { return uvarlongBytes(uint64(v)) }

func uvarlongBytes(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func varintBytes(v int32) int  { return uvarlongBytes(uint64(zigzag32(v))) }
func varlongBytes(v int64) int { return uvarlongBytes(zigzag64(v)) }
