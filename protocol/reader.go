package protocol

import (
	"encoding/binary"
	"errors"
)

// What can be wrong with bytes from the wire. A request with one of these is malformed:
// Kafka closes the connection.
var (
	ErrShort  = errors.New("protocol: message ends before its last field")
	ErrLength = errors.New("protocol: negative or null length where none is allowed")
	ErrVarint = errors.New("protocol: variable-length integer is too long")
	// ErrVersion: a version of the message that is not served.
	ErrVersion = errors.New("protocol: version not served")
)

// Reader reads the primitive types of Kafka's protocol from bytes it does not own. The first
// error sticks: from then on every read returns zero or nil, so a decoder may read all its fields
// and ask Err once. What it returns aliases those bytes. The zero Reader is empty.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a Reader over b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err returns the first error, ErrShort, ErrLength or ErrVarint, or nil.
func (r *Reader) Err() error { return r.err }

// Len returns the number of bytes not read yet; 0 after an error.
func (r *Reader) Len() int { return len(r.b) }

// Rest returns the bytes not read yet, without reading them; nil after an error.
func (r *Reader) Rest() []byte { return r.b }

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// Take returns the next n bytes. A negative n is ErrLength.
func (r *Reader) Take(n int) []byte {
	if uint(n) > uint(len(r.b)) {
		if n < 0 {
			r.fail(ErrLength)
		} else {
			r.fail(ErrShort)
		}
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

// Bool reads one byte; anything but 0 is true.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if len(r.b) < 1 {
		r.fail(ErrShort)
		return 0
	}
	v := int8(r.b[0])
	r.b = r.b[1:]
	return v
}

// Int16 reads two bytes, big-endian, as all fixed-width integers here.
func (r *Reader) Int16() int16 {
	if len(r.b) < 2 {
		r.fail(ErrShort)
		return 0
	}
	v := int16(binary.BigEndian.Uint16(r.b))
	r.b = r.b[2:]
	return v
}

// Int32 reads four bytes.
func (r *Reader) Int32() int32 {
	if len(r.b) < 4 {
		r.fail(ErrShort)
		return 0
	}
	v := int32(binary.BigEndian.Uint32(r.b))
	r.b = r.b[4:]
	return v
}

// Int64 reads eight bytes.
func (r *Reader) Int64() int64 {
	if len(r.b) < 8 {
		r.fail(ErrShort)
		return 0
	}
	v := int64(binary.BigEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

// UUID reads sixteen bytes.
func (r *Reader) UUID() (u UUID) {
	copy(u[:], r.Take(len(u)))
	return u
}

// Uvarint reads a variable-length unsigned integer of at most 5 bytes. Bits past the 32nd are
// dropped, as Kafka drops them.
func (r *Reader) Uvarint() uint32 {
	v, n := Uvarint(r.b)
	if n <= 0 {
		r.failVarint(n)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads a zigzag variable-length integer of at most 5 bytes.
func (r *Reader) Varint() int32 { return unzigzag32(r.Uvarint()) }

// Varlong reads a zigzag variable-length integer of at most 10 bytes.
func (r *Reader) Varlong() int64 {
	v, n := Uvarlong(r.b)
	if n <= 0 {
		r.failVarint(n)
		return 0
	}
	r.b = r.b[n:]
	return unzigzag64(v)
}

func (r *Reader) failVarint(n int) {
	if n < 0 {
		r.fail(ErrVarint)
	} else {
		r.fail(ErrShort)
	}
}

// String reads an int16 length and that many bytes. Null is ErrLength.
func (r *Reader) String() []byte { return r.Take(int(r.Int16())) }

// NullableString is String where null is allowed and returned as nil. Null is written as -1; Kafka takes every
// negative length for it, here and below. An empty string is empty but not nil.
func (r *Reader) NullableString() []byte {
	n := r.Int16()
	if n < 0 {
		return nil
	}
	return r.Take(int(n))
}

// Bytes reads an int32 length and that many bytes. Null is ErrLength.
func (r *Reader) Bytes() []byte { return r.Take(int(r.Int32())) }

// NullableBytes is Bytes where null is allowed and returned as nil.
func (r *Reader) NullableBytes() []byte {
	n := r.Int32()
	if n < 0 {
		return nil
	}
	return r.Take(int(n))
}

// CompactString reads a length, as an unsigned varint that is one too high, and
// that many bytes. Null (0) is ErrLength. Compact bytes have the same form.
func (r *Reader) CompactString() []byte { return r.Take(r.compactLength()) }

// CompactNullableString is CompactString where null (0) is allowed and returned as nil.
func (r *Reader) CompactNullableString() []byte {
	n := r.compactLength()
	if n < 0 {
		return nil
	}
	return r.Take(n)
}

// compactLength reads an unsigned varint that is one too high; -1 is null. After an error it is 0, so
// that the caller takes nothing. Kafka reads the varint as a Java int: past 2^31 a length is negative.
func (r *Reader) compactLength() int {
	v := r.Uvarint()
	if r.err != nil {
		return 0
	}
	return int(int32(v) - 1)
}

// ArrayLength reads an int32 count of elements that each take at least elementBytes (> 0) bytes; a
// count for which there are not enough bytes left is ErrShort, so the count can be believed. Null is -1.
func (r *Reader) ArrayLength(elementBytes int) int {
	return r.checkCount(int(r.Int32()), elementBytes)
}

// CompactArrayLength is ArrayLength with the count as an unsigned varint that is one too high.
func (r *Reader) CompactArrayLength(elementBytes int) int {
	return r.checkCount(r.compactLength(), elementBytes)
}

func (r *Reader) checkCount(n, elementBytes int) int {
	if n > len(r.b)/elementBytes {
		r.fail(ErrShort)
		return 0
	}
	return max(n, -1)
}

// SkipTags reads tagged fields and forgets them.
func (r *Reader) SkipTags() {
	for n := r.Uvarint(); n > 0 && r.err == nil; n-- {
		r.Tag()
	}
}

// Tag reads one tagged field, a tag, a size and that many bytes, after Uvarint has read how many
// there are. The field's bytes are returned as a Reader of their own.
func (r *Reader) Tag() (tag uint32, field Reader) {
	tag = r.Uvarint()
	size := int(int32(r.Uvarint()))
	return tag, Reader{b: r.Take(size), err: r.err}
}

// arrayLength reads the count of an array that must not be null, in the form that the message's version has.
func (r *Reader) arrayLength(flexible bool, elementBytes int) int {
	var n int
	if flexible {
		n = r.CompactArrayLength(elementBytes)
	} else {
		n = r.ArrayLength(elementBytes)
	}
	if n < 0 {
		r.fail(ErrLength)
		return 0
	}
	return n
}
