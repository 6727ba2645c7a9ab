package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Kafka's flexible encoding, as metadata records use it:
//
//	int8..int64, float64   big endian
//	uvarint                7 bits a byte, low group first, top bit: more follows
//	string, bytes          uvarint length+1 (0: null), then the bytes
//	array                  uvarint count+1 (0: null), then the elements
//	uuid                   16 bytes
//	tagged fields          uvarint count, then count x { uvarint tag, uvarint size, size bytes }
//	                       by rising tag, at the end of every structure

// Tag is a tagged field that this program does not know. It is kept so that a
// record read from a newer Kafka's log is written back byte for byte.
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
)

// maxString is the longest string that Kafka reads back, in bytes.
const maxString = 0x7fff

// codec walks a record's fields in schema order. One walk serves both
// directions, so that what is written and what is read cannot drift apart:
// writing, buf grows; reading, buf is what is left.
type codec struct {
	buf     []byte
	reading bool
	err     error
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

func (c *codec) bool(v *bool) {
	if !c.reading {
		n := byte(0)
		if *v {
			n = 1
		}
		c.buf = append(c.buf, n)
	} else if b := c.take(1); b != nil {
		*v = b[0] != 0
	}
}

func (c *codec) int16(v *int16) {
	u := uint16(*v)
	c.uint16(&u)
	*v = int16(u)
}

func (c *codec) uint16(v *uint16) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint16(c.buf, *v)
	} else if b := c.take(2); b != nil {
		*v = binary.BigEndian.Uint16(b)
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

func (c *codec) float64(v *float64) {
	u := int64(math.Float64bits(*v))
	c.int64(&u)
	*v = math.Float64frombits(uint64(u))
}

func (c *codec) uuid(v *UUID) {
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

// length walks a compact length: n, or -1 for null. A length that is read is
// checked against what is left, at unit bytes an element.
func (c *codec) length(n, unit int) int {
	u := uint32(n + 1)
	c.uvarint(&u)
	if !c.reading {
		return n
	}
	if c.err != nil {
		return -1
	}
	n = int(u) - 1
	if n > len(c.buf)/unit {
		c.fail(errLength)
		return -1
	}
	return n
}

func (c *codec) string(v *string) {
	p := v
	c.nullableString(&p)
	switch {
	case c.err != nil:
	case p == nil:
		c.fail(errNull)
	default:
		*v = *p
	}
}

func (c *codec) nullableString(v **string) {
	n := -1
	if *v != nil {
		n = len(**v)
	}
	n = c.length(n, 1)
	if !c.reading {
		if n > 0 {
			c.buf = append(c.buf, **v...)
		}
		return
	}
	if n > maxString {
		c.fail(errString)
	}
	*v = nil
	if c.err == nil && n >= 0 {
		s := string(c.take(n))
		*v = &s
	}
}

func (c *codec) bytes(v *[]byte) {
	n := c.length(len(*v), 1)
	switch {
	case !c.reading:
		c.buf = append(c.buf, *v...)
	case c.err != nil:
	case n < 0:
		c.fail(errNull)
	default:
		*v = append([]byte{}, c.take(n)...)
	}
}

// array walks a list that cannot be null (a nil slice is written as empty).
// unit is the least size of an element in bytes: a count that is read is held
// against what is left before anything is allocated for it.
func array[T any](c *codec, v *[]T, unit int, elem func(*codec, *T)) {
	n := c.length(len(*v), unit)
	if c.reading && c.err == nil && n < 0 {
		c.fail(errNull)
	}
	elements(c, v, n, elem)
}

// nullableArray walks a list in which nil and empty differ.
func nullableArray[T any](c *codec, v *[]T, unit int, elem func(*codec, *T)) {
	n := len(*v)
	if *v == nil {
		n = -1
	}
	elements(c, v, c.length(n, unit), elem)
}

func elements[T any](c *codec, v *[]T, n int, elem func(*codec, *T)) {
	if c.reading {
		*v = nil
		if c.err != nil || n < 0 {
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

func (c *codec) int32s(v *[]int32)         { array(c, v, 4, (*codec).int32) }
func (c *codec) nullableInt32s(v *[]int32) { nullableArray(c, v, 4, (*codec).int32) }
func (c *codec) uuids(v *[]UUID)           { array(c, v, 16, (*codec).uuid) }
func (c *codec) nullableUUIDs(v *[]UUID)   { nullableArray(c, v, 16, (*codec).uuid) }
func (c *codec) strings(v *[]string)       { array(c, v, 1, (*codec).string) }

// optional is a tagged field of the record's own schema. It is written when it
// is set, that is when it differs from its default, and the record's version
// has it; read in a version that lacks it, the tag is an unknown one.
type optional struct {
	tag   uint32
	valid bool
	set   bool
	walk  func(*codec)
}

// tags walks the tagged fields at the end of a structure: the schema's own, by
// rising tag, and those that are unknown.
func (c *codec) tags(unknown *[]Tag, fields ...optional) {
	if c.reading {
		c.readTags(unknown, fields)
	} else {
		c.writeTags(*unknown, fields)
	}
}

func (c *codec) writeTags(unknown []Tag, fields []optional) {
	n := uint32(len(unknown))
	for _, f := range fields {
		if f.valid && f.set {
			n++
		}
	}
	c.uvarint(&n)
	for _, f := range fields {
		for len(unknown) > 0 && unknown[0].Key < f.tag {
			c.writeTag(unknown[0].Key, unknown[0].Value)
			unknown = unknown[1:]
		}
		if f.valid && f.set {
			w := codec{}
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
		if f.tag != key || !f.valid {
			continue
		}
		r := codec{buf: value, reading: true}
		f.walk(&r)
		if r.err == nil && len(r.buf) != 0 {
			r.err = errTagSize
		}
		if r.err != nil {
			c.fail(fmt.Errorf("tagged field %d: %w", key, r.err))
		}
		return
	}
	*unknown = append(*unknown, Tag{Key: key, Value: append([]byte{}, value...)})
}
