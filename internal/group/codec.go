package group

import (
	"encoding/binary"
	"errors"
	"math"

	"slipstream/protocol"
)

// Kafka's two encodings, as the records of __consumer_offsets use them. Keys and
// old values are plain, newer values are flexible:
//
//	            plain                                flexible
//	int8..64    big endian                           the same
//	string      int16 length (-1: null), bytes       uvarint length+1 (0: null), bytes
//	bytes       int32 length (-1: null), bytes       uvarint length+1 (0: null), bytes
//	array       int32 count (-1: null), elements     uvarint count+1 (0: null), elements
//	uuid        16 bytes                             the same
//	structure   its fields                           its fields, then tagged fields:
//	                                                 uvarint count, count x { uvarint tag, uvarint size, size bytes }

// Tag is a tagged field that this program does not know. It is kept, so that a
// record that a newer Kafka wrote is written back byte for byte.
type Tag struct {
	Key   uint32
	Value []byte
}

var (
	errShort    = errors.New("the record ends inside a field")
	errVarint   = errors.New("a varint is longer than 5 bytes or out of range")
	errNull     = errors.New("a field that cannot be null is null")
	errLength   = errors.New("a length is larger than what is left of the record")
	errTagOrder = errors.New("tagged fields are repeated or out of order")
	errTagSize  = errors.New("a tagged field does not have the size it states")
	errString   = errors.New("a string is longer than 32767 bytes")
	errLeft     = errors.New("bytes are left over")
)

// maxString is the longest string of either encoding that Kafka reads, in bytes.
const maxString = 0x7fff

// codec walks a record's fields in schema order. One walk serves both
// directions, so that what is written and what is read cannot drift apart:
// writing, buf grows; reading, buf is what is left.
type codec struct {
	buf      []byte
	reading  bool
	flexible bool
	err      error
}

// fail keeps the first error and stops the walk from reading on.
func (c *codec) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.buf = nil
}

// take returns the next n bytes of what is read, or nil after an error.
func (c *codec) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n < 0 || n > len(c.buf) {
		c.fail(errShort)
		return nil
	}
	b := c.buf[:n:n]
	c.buf = c.buf[n:]
	return b
}

func (c *codec) int8(v *int8) {
	if !c.reading {
		c.buf = append(c.buf, byte(*v))
	} else if b := c.take(1); b != nil {
		*v = int8(b[0])
	}
}

func (c *codec) int16(v *int16) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(*v))
	} else if b := c.take(2); b != nil {
		*v = int16(binary.BigEndian.Uint16(b))
	}
}

func (c *codec) int32(v *int32) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(*v))
	} else if b := c.take(4); b != nil {
		*v = int32(binary.BigEndian.Uint32(b))
	}
}

func (c *codec) int64(v *int64) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(*v))
	} else if b := c.take(8); b != nil {
		*v = int64(binary.BigEndian.Uint64(b))
	}
}

func (c *codec) uuid(v *protocol.UUID) {
	if !c.reading {
		c.buf = append(c.buf, v[:]...)
	} else if b := c.take(16); b != nil {
		copy(v[:], b)
	}
}

func (c *codec) uvarint(v *uint32) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, uint64(*v))
		return
	}
	u, n := binary.Uvarint(c.buf)
	switch {
	case c.err != nil:
	case n == 0:
		c.fail(errShort)
	case n < 0 || n > 5 || u > math.MaxInt32:
		c.fail(errVarint)
	default:
		c.buf, *v = c.buf[n:], uint32(u)
	}
}

// length walks a count or length: n, or -1 for null. A length that is read is
// held against what is left, at unit bytes an element, before it is believed.
func (c *codec) length(n, unit int, wide bool) int {
	switch {
	case c.flexible:
		u := uint32(n + 1)
		c.uvarint(&u)
		n = int(u) - 1
	case wide:
		u := int32(n)
		c.int32(&u)
		n = int(u)
	default:
		u := int16(n)
		c.int16(&u)
		n = int(u)
	}
	if !c.reading {
		return n
	}
	if c.err == nil && (n < -1 || n > len(c.buf)/unit) {
		c.fail(errLength)
	}
	if c.err != nil {
		return -1
	}
	return n
}

func (c *codec) string(v *string) {
	if !c.reading {
		c.length(len(*v), 1, false)
		c.buf = append(c.buf, *v...)
		return
	}
	n := c.length(0, 1, false)
	if n > maxString {
		c.fail(errString)
	}
	if n < 0 {
		c.fail(errNull)
	}
	*v = string(c.take(n))
}

func (c *codec) nullableString(v **string) {
	if !c.reading {
		if *v == nil {
			c.length(-1, 1, false)
			return
		}
		c.string(*v)
		return
	}
	*v = nil
	n := c.length(0, 1, false)
	if n > maxString {
		c.fail(errString)
	}
	if c.err == nil && n >= 0 {
		s := string(c.take(n))
		*v = &s
	}
}

// bytes walks a byte string that cannot be null. What is read is a copy.
func (c *codec) bytes(v *[]byte) {
	if !c.reading {
		c.length(len(*v), 1, true)
		c.buf = append(c.buf, *v...)
		return
	}
	n := c.length(0, 1, true)
	if n < 0 {
		c.fail(errNull)
	}
	if b := c.take(n); c.err == nil {
		*v = append([]byte{}, b...)
	}
}

// array walks a list that cannot be null (a nil slice is written as empty).
// unit is the least size of an element in bytes.
func array[T any](c *codec, v *[]T, unit int, elem func(*codec, *T)) {
	n := c.length(len(*v), unit, true)
	if c.reading {
		*v = nil
		if n < 0 {
			c.fail(errNull)
		}
		if c.err != nil {
			return
		}
		*v = make([]T, n)
	}
	for i := range *v {
		if elem(c, &(*v)[i]); c.err != nil {
			return
		}
	}
}

// nullableInt32s walks a list in which nil and empty differ.
func (c *codec) nullableInt32s(v *[]int32) {
	if !c.reading && *v == nil {
		c.length(-1, 4, true)
		return
	}
	if !c.reading {
		c.int32s(v)
		return
	}
	n := c.length(0, 4, true)
	*v = nil
	if c.err != nil || n < 0 {
		return
	}
	*v = make([]int32, n)
	for i := range *v {
		c.int32(&(*v)[i])
	}
}

func (c *codec) int32s(v *[]int32) {
	n := c.length(len(*v), 4, true)
	if c.reading {
		*v = nil
		if n < 0 {
			c.fail(errNull)
		}
		if c.err != nil {
			return
		}
		*v = make([]int32, n)
	}
	for i := range *v {
		c.int32(&(*v)[i])
	}
}

func (c *codec) strings(v *[]string) { array(c, v, 1, (*codec).string) }

// optional is a tagged field of a value's own schema. It is written when it is
// set, that is when it differs from its default.
type optional struct {
	tag  uint32
	set  bool
	walk func(*codec)
}

// tags walks the tagged fields at the end of a flexible structure: the schema's
// own, by rising tag, and those that are unknown. A plain structure has none.
func (c *codec) tags(unknown *[]Tag, fields ...optional) {
	switch {
	case !c.flexible:
	case c.reading:
		c.readTags(unknown, fields)
	default:
		c.writeTags(*unknown, fields)
	}
}

// noTags is tags for a structure whose schema has no tagged field, without the
// cost of looking for any.
func (c *codec) noTags(unknown *[]Tag) {
	if c.flexible && !c.reading && len(*unknown) == 0 {
		c.buf = append(c.buf, 0)
		return
	}
	c.tags(unknown)
}

func (c *codec) writeTags(unknown []Tag, fields []optional) {
	n := uint32(len(unknown))
	for _, f := range fields {
		if f.set {
			n++
		}
	}
	c.uvarint(&n)
	for _, f := range fields {
		for len(unknown) > 0 && unknown[0].Key < f.tag {
			c.writeTag(unknown[0].Key, unknown[0].Value)
			unknown = unknown[1:]
		}
		if f.set {
			w := codec{flexible: true}
			f.walk(&w)
			c.writeTag(f.tag, w.buf)
		}
	}
	for _, t := range unknown {
		c.writeTag(t.Key, t.Value)
	}
}

func (c *codec) writeTag(key uint32, value []byte) {
	size := uint32(len(value))
	c.uvarint(&key)
	c.uvarint(&size)
	c.buf = append(c.buf, value...)
}

func (c *codec) readTags(unknown *[]Tag, fields []optional) {
	var n uint32
	c.uvarint(&n)
	last := int64(-1)
	for ; n > 0 && c.err == nil; n-- {
		var key, size uint32
		c.uvarint(&key)
		c.uvarint(&size)
		value := c.take(int(size))
		if c.err != nil {
			return
		}
		if int64(key) <= last {
			c.fail(errTagOrder)
			return
		}
		last = int64(key)
		c.readTag(key, value, unknown, fields)
	}
}

func (c *codec) readTag(key uint32, value []byte, unknown *[]Tag, fields []optional) {
	for _, f := range fields {
		if f.tag != key {
			continue
		}
		r := codec{buf: value, reading: true, flexible: true}
		f.walk(&r)
		if r.err == nil && len(r.buf) != 0 {
			r.err = errTagSize
		}
		if r.err != nil {
			c.fail(r.err)
		}
		return
	}
	*unknown = append(*unknown, Tag{Key: key, Value: append([]byte{}, value...)})
}
